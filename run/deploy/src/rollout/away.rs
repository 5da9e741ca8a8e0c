//! Nodes of which nothing is heard: what is there is not known to be healthy, and after a grace (the
//! manifest's `lost_after`) it is lost, and replaced elsewhere.
//!
//! Used by rollouts and between them. Invariant: what has a volume is never lost, for its bytes are there;
//! it waits for its node.

use freehold_model::{
    Desired, Instance, Millis, Node, NodeId, NodeSpec, Phase, ReleaseSpec, Seq, Txn, manifest::DEFAULT_LOST,
};
use freehold_reconcile::{StoreError, View, ViewExt};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// The nodes as of one view: since when each has been silent.
pub(super) struct Away {
    now: Timestamp,
    nodes: BTreeMap<NodeId, Seen>,
}

struct Seen {
    version: Seq,
    away: Option<Timestamp>,
    /// It has registered, and its agent is the control plane's own.
    near: bool,
}

impl Away {
    pub(super) fn load(view: &dyn View, now: Timestamp) -> Result<Away, StoreError> {
        let nodes = view.all::<NodeSpec>(None)?;
        let seen = |node: &Node| {
            let near = node.status.has_registered() && !node.status.remote;
            (node.id, Seen { version: node.version, away: node.status.away(), near })
        };
        Ok(Away { now, nodes: nodes.iter().map(seen).collect() })
    }

    /// Whether `instance` is on a node that does not answer, or is no more.
    pub(super) fn is_away(&self, instance: &Instance) -> bool {
        self.nodes.get(&instance.spec.node).is_none_or(|seen| seen.away.is_some())
    }

    /// Whether `node` is there and answers.
    pub(super) fn answers(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|seen| seen.away.is_none())
    }

    /// The nodes beside a control plane: their edges serve every endpoint.
    pub(super) fn near(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.nodes.iter().filter(|(_, seen)| seen.near).map(|(node, _)| *node)
    }

    /// Whether `instance` is to be replaced elsewhere.
    pub(super) fn is_lost(&self, instance: &Instance, release: &ReleaseSpec) -> bool {
        let late = match self.nodes.get(&instance.spec.node) {
            None => true,
            Some(seen) => seen.away.is_some_and(|since| self.now >= until(since, instance, release)),
        };
        late && instance.spec.volumes.is_empty()
    }

    /// When the next of `instances` will be lost.
    pub(super) fn next(&self, instances: &[Instance], release: &ReleaseSpec) -> Option<Timestamp> {
        let running = instances.iter().filter(|it| it.spec.desired == Desired::Running);
        let movable = running.filter(|it| it.spec.volumes.is_empty());
        let times = movable.filter_map(|it| Some(until(self.nodes.get(&it.spec.node)?.away?, it, release)));
        times.filter(|time| *time > self.now).min()
    }

    /// Requires that `instance` is as it was seen, and that its node answers as it did: who relies on its
    /// health relies on both.
    pub(super) fn rely_on(&self, txn: &mut Txn, instance: &Instance) {
        txn.expect(instance.id, instance.version);
        if let Some(seen) = self.nodes.get(&instance.spec.node) {
            txn.expect(instance.spec.node, seen.version);
        }
    }

    /// The instances as far as is known: those that should run on a node that does not answer may not.
    pub(super) fn veiled(&self, mut instances: Vec<Instance>) -> Vec<Instance> {
        for instance in &mut instances {
            if instance.spec.desired == Desired::Running && self.is_away(instance) {
                instance.status.healthy = false;
                instance.status.phase = Phase::Pending;
            }
        }
        instances
    }
}

fn until(since: Timestamp, instance: &Instance, release: &ReleaseSpec) -> Timestamp {
    let process = release.manifest.process.get(&instance.spec.process);
    let grace: Millis = process.map_or(DEFAULT_LOST, |process| process.lost_after);
    since.saturating_add(grace.signed()).unwrap_or(Timestamp::MAX)
}
