//! Why an instance is not as wanted, in a sentence for people; `None` when it is well.
//!
//! Invariants: what is on a node that nobody hears is not known to be well; a process without a check is never
//! said to fail one.

use freehold_model::{
    Desired, Instance, Node, NodeId, NodeSpec, Phase, TaskState, Volume, VolumeAction, VolumeId, VolumeSpec,
};
use freehold_reconcile::{StoreError, View, ViewExt};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// What ends so often in a row, and has run for less than this since, is in a loop.
const IN_A_ROW: u32 = 2;
const RECOVERED: SignedDuration = SignedDuration::from_secs(60);

/// What an instance depends on beside itself, as of one view.
pub struct Surroundings {
    nodes: BTreeMap<NodeId, Node>,
    volumes: BTreeMap<VolumeId, Volume>,
    now: Timestamp,
    /// Whether nodes are called by their names.
    named: bool,
}

impl Surroundings {
    /// As of `view`, at `now`.
    ///
    /// # Errors
    /// When the view fails.
    pub fn load(view: &dyn View, now: Timestamp) -> Result<Surroundings, StoreError> {
        let nodes = view.all::<NodeSpec>(None)?.into_iter().map(|node| (node.id, node)).collect();
        let volumes = view.all::<VolumeSpec>(None)?.into_iter().map(|volume| (volume.id, volume)).collect();
        Ok(Surroundings { nodes, volumes, now, named: true })
    }

    /// The same for somebody who may not see nodes, unless they are `named`.
    pub fn naming(self, named: bool) -> Surroundings {
        Surroundings { named, ..self }
    }

    /// The name of a node, if it is still there and may be told.
    pub fn node(&self, id: NodeId) -> Option<&str> {
        self.nodes.get(&id).filter(|_| self.named).map(|node| node.name.as_str())
    }

    /// `node attic`, or `its node`.
    pub(super) fn called(&self, node: &Node) -> String {
        if self.named { format!("node {}", node.name) } else { "its node".into() }
    }

    /// Whether a node is there and answers.
    pub fn answers(&self, id: NodeId) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.status.away().is_none())
    }

    /// Why `instance` is not as wanted.
    pub fn ailment(&self, instance: &Instance) -> Option<String> {
        if instance.spec.desired == Desired::Stopped {
            return ailment(instance);
        }
        self.silent(instance).or_else(|| self.restoring(instance)).or_else(|| {
            let looping = self.looping(instance);
            ailment(instance).or(looping)
        })
    }

    /// Nothing is heard of its node.
    fn silent(&self, instance: &Instance) -> Option<String> {
        let Some(node) = self.nodes.get(&instance.spec.node) else {
            return Some("Its node is not there any more.".into());
        };
        let since = node.status.away()?;
        let then = match instance.spec.volumes.is_empty() {
            true => "it is replaced elsewhere when that lasts (`lost_after`), where there is a place",
            false => "its volume is there, so it waits for the node",
        };
        let silent = SignedDuration::from_secs(self.now.duration_since(since).as_secs().max(0));
        let called = self.called(node);
        Some(format!("Nothing has been heard of {called} for {silent:#}; {then}."))
    }

    /// The bytes of its volume are being replaced.
    fn restoring(&self, instance: &Instance) -> Option<String> {
        let volumes = instance.spec.volumes.values().filter_map(|id| self.volumes.get(id));
        let mut under_way = volumes.filter_map(|volume| {
            let task = volume.spec.task.as_ref()?;
            let done = volume.status.task.as_ref();
            let ended = done.is_some_and(|it| it.id == task.id && it.state != TaskState::Running);
            match &task.action {
                VolumeAction::Restore(snapshot) if !ended => Some((volume, snapshot)),
                _ => None,
            }
        });
        let (volume, snapshot) = under_way.next()?;
        Some(format!("Its volume {} is being restored from {snapshot}.", volume.name))
    }

    /// It ends again and again, and no check shows it.
    fn looping(&self, instance: &Instance) -> Option<String> {
        let (status, exit) = (&instance.status, instance.status.last_exit.as_ref()?);
        // An end that nobody saw is the machine's, as a power cut: it says nothing of the program.
        if (exit.code, exit.signal) == (None, None) && exit.disk.is_none() && exit.unhealthy.is_none() {
            return None;
        }
        let run = self.now.duration_since(status.started?);
        let loops = status.failures >= IN_A_ROW && run < RECOVERED;
        let times = status.failures;
        loops.then(|| {
            format!("It {exit}, {times} times in a row; it has run again for {}s.", run.as_secs().max(0))
        })
    }
}

/// Why `instance` is not as wanted, as far as its node says.
pub fn ailment(instance: &Instance) -> Option<String> {
    let status = &instance.status;
    let said = status.message.as_deref();
    if let (Desired::Stopped, Some(preempted)) = (instance.spec.desired, &instance.spec.placed.preempted) {
        return Some(match status.phase {
            Phase::Stopped => format!("Pending: {preempted}. It comes back where and when there is room."),
            _ => format!("It is being stopped: {preempted}."),
        });
    }
    if instance.spec.desired == Desired::Stopped {
        return (status.phase != Phase::Stopped).then(|| "It is being stopped.".into());
    }
    let generic = match status.phase {
        Phase::Running if status.healthy => return None,
        Phase::Running if instance.spec.template.check.is_none() => {
            "It has just started, and counts as healthy once it has run for a second.".to_owned()
        }
        Phase::Running => "It runs but does not pass its check yet.".to_owned(),
        Phase::Pending => "Its node has not begun with it.".to_owned(),
        Phase::Pulling => "Its node fetches the image.".to_owned(),
        Phase::Backoff => match &status.last_exit {
            Some(exit) => format!("It {exit}; its node waits before it starts it again."),
            None => "It ended; its node waits before it starts it again.".to_owned(),
        },
        Phase::Failed => "It cannot be started.".to_owned(),
        Phase::Stopping | Phase::Stopped => "It stops although it should run.".to_owned(),
    };
    Some(said.map_or(generic, str::to_owned))
}
