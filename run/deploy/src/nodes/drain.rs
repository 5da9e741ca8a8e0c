//! The reconciler of drains: moves the envs of a node elsewhere, one at a time, and says what does not move.
//!
//! A subject is a node. Invariant: at most one env moves off a node at a time, and only by a rollout, which
//! takes nothing away before its replacement serves.

use super::{env, moves, moving, there, title};
use freehold_model::{
    Actor, AnyId, Desired, Env, Event, Instance, Kind, Moving, Node, NodeDrain, NodeId, NodeSpec,
    ReceiptSpec, RolloutId, RolloutSpec, Stuck, Txn, VolumeSpec,
};
use freehold_reconcile::{Decision, Ids, Reconciler, StoreError, View, ViewExt};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// How soon to look again for what may have become possible.
const RETRY: SignedDuration = SignedDuration::from_secs(15);

/// Empties the nodes that are to be drained.
#[derive(Debug, Clone, Copy, Default)]
pub struct DrainReconciler;

impl Reconciler for DrainReconciler {
    fn name(&self) -> &'static str {
        "drain"
    }

    fn concerns(&self, event: &Event, view: &dyn View) -> Result<Vec<AnyId>, StoreError> {
        Ok(match event.subject.kind {
            Kind::Node => vec![event.subject],
            Kind::Rollout => {
                let id = RolloutId::try_from(event.subject).ok();
                let rollout = id.map(|id| view.find::<RolloutSpec>(id)).transpose()?.flatten();
                rollout.and_then(|it| it.spec.leaves).map(AnyId::from).into_iter().collect()
            }
            _ => vec![],
        })
    }

    fn subjects(&self, view: &dyn View) -> Result<Vec<AnyId>, StoreError> {
        let nodes = view.all::<NodeSpec>(None)?;
        Ok(nodes.iter().filter(|node| node.spec.draining.is_some()).map(|node| node.id.into()).collect())
    }

    fn decide(
        &self,
        subject: AnyId,
        view: &dyn View,
        now: Timestamp,
        ids: &mut dyn Ids,
    ) -> Result<Decision, StoreError> {
        let Ok(id) = NodeId::try_from(subject) else { return Ok(Decision::default()) };
        let Some(node) = view.find::<NodeSpec>(id)?.filter(|it| it.spec.draining.is_some()) else {
            return Ok(Decision::default());
        };
        let wake = now.saturating_add(RETRY).ok();
        if !moves(view, id)?.is_empty() {
            return Ok(Decision { txn: None, wake });
        }
        let mut left = false;
        for (env, instances) in by_env(view, there(view, id)?)? {
            if env.deleting.is_some() || !instances.iter().any(|it| moving::moves(it, id)) {
                continue;
            }
            left = true;
            if moving::obstacle(view, &env, &node, now)?.is_none() {
                let actor = Actor::Controller("drain".into());
                let txn = Txn::new(actor, format!("drain node {}", node.name), id.to_string());
                let txn = moving::begin(view, txn, &env, &node, now, ids)?;
                return Ok(Decision { txn, wake });
            }
        }
        Ok(Decision { txn: None, wake: wake.filter(|_| left) })
    }
}

/// How far the drain of a node is.
///
/// # Errors
/// When the view fails.
pub fn drain_progress(view: &dyn View, node: &Node, now: Timestamp) -> Result<NodeDrain, StoreError> {
    let instances = there(view, node.id)?;
    let mut progress = NodeDrain {
        since: node.spec.draining,
        instances: instances.len() as u32,
        drained: instances.is_empty(),
        moving: None,
        stuck: vec![],
    };
    let under_way = moves(view, node.id)?;
    if let Some(rollout) = under_way.first() {
        progress.moving = match rollout.parent.map(|id| env(view, id)).transpose()?.flatten() {
            Some(env) => {
                let receipt = view.find::<ReceiptSpec>(rollout.spec.receipt)?;
                let step = receipt.and_then(|it| it.status.steps.last().cloned());
                let step = step.map(|step| format!("{} {}", step.name, step.detail)).unwrap_or_default();
                Some(Moving { env: title(view, &env)?, receipt: rollout.spec.receipt, step })
            }
            None => None,
        };
    }
    for (env, instances) in by_env(view, instances)? {
        let title = title(view, &env)?;
        let running = instances.iter().filter(|it| it.spec.desired == Desired::Running);
        let (pinned, movable): (Vec<_>, Vec<_>) = running.partition(|it| !it.spec.volumes.is_empty());
        if !pinned.is_empty() {
            progress.stuck.push(Stuck {
                env: title.clone(),
                instances: pinned.len() as u32,
                why: pinned_by(view, &pinned, node)?,
                waits: false,
            });
        }
        let moves = under_way.iter().any(|rollout| rollout.parent == Some(env.any_id()));
        if movable.is_empty() || moves || node.spec.draining.is_none() {
            continue;
        }
        if let Some(obstacle) = moving::obstacle(view, &env, node, now)? {
            let (instances, waits) = (movable.len() as u32, obstacle.again.is_some());
            progress.stuck.push(Stuck { env: title, instances, why: obstacle.why, waits });
        }
    }
    Ok(progress)
}

fn by_env(view: &dyn View, instances: Vec<Instance>) -> Result<Vec<(Env, Vec<Instance>)>, StoreError> {
    let mut found: BTreeMap<AnyId, Vec<Instance>> = BTreeMap::new();
    for instance in instances {
        found.entry(instance.parent.unwrap_or(instance.any_id())).or_default().push(instance);
    }
    let mut envs = vec![];
    for (id, instances) in found {
        envs.extend(env(view, id)?.map(|env| (env, instances)));
    }
    Ok(envs)
}

/// What keeps instances where their volumes are, and what a person can do.
fn pinned_by(view: &dyn View, pinned: &[&Instance], node: &Node) -> Result<String, StoreError> {
    let mut names = vec![];
    for id in pinned.iter().flat_map(|it| it.spec.volumes.values()) {
        names.extend(view.find::<VolumeSpec>(*id)?.map(|volume| volume.name));
    }
    Ok(format!(
        "volume {} is on {name}, and bytes are not moved between nodes: `freehold node drain {name} --force` \
         stops its instance until the node takes instances again (the volume stays), or deploy the process \
         with count = 0",
        names.join(", "),
        name = node.name
    ))
}
