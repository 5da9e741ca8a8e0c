//! Where an env is at home: the node on which its processes run together.
//!
//! Instances of different nodes don't reach each other, so the processes of an env rather share a node; what the
//! manifest says (`spread`, `affinity`) goes before. Asked by plans and by the code that makes instances, over the same
//! view: both have the same answer. Pure.

use freehold_model::{AnyId, Bytes, Desired, Instance, Millicores, NodeId, ReleaseSpec, Volume};
use freehold_schedule::{Fleet, Request, place_all};
use std::{cmp::Reverse, collections::BTreeMap};

/// The node where `release` of `env` is at home: where its volumes are, else where most of the env runs, else one
/// that holds all of it; `None` where there is no such node.
pub(crate) fn home(
    fleet: &Fleet,
    env: Option<AnyId>,
    release: &ReleaseSpec,
    volumes: &[Volume],
    instances: &[Instance],
) -> Option<NodeId> {
    let takes = |id: &NodeId| {
        let node = fleet.nodes().iter().find(|node| node.id == *id);
        node.is_some_and(|node| !(node.cordoned || node.draining || node.away))
    };
    let bytes = volumes.iter().map(|volume| volume.spec.node).find(takes);
    bytes.or_else(|| present(env, instances, takes)).or_else(|| roomy(fleet, env, release))
}

/// Where most of the env runs now.
fn present(env: Option<AnyId>, instances: &[Instance], takes: impl Fn(&NodeId) -> bool) -> Option<NodeId> {
    let mut counts: BTreeMap<NodeId, u32> = BTreeMap::new();
    let ours = instances.iter().filter(|it| env.is_some() && it.parent == env);
    for instance in ours.filter(|it| it.spec.desired == Desired::Running) {
        *counts.entry(instance.spec.node).or_default() += 1;
    }
    let most = counts
        .into_iter()
        .filter(|(node, _)| takes(node))
        .min_by_key(|(node, count)| (Reverse(*count), *node));
    most.map(|(node, _)| node)
}

/// A node that holds all instances together, chosen as one instance of their size would be.
fn roomy(fleet: &Fleet, env: Option<AnyId>, release: &ReleaseSpec) -> Option<NodeId> {
    let largest = release.templates.iter().max_by_key(|(_, template)| template.memory)?;
    let mut all = Request::new(env, largest.0, largest.1, 0);
    all.rules = Default::default();
    (all.memory, all.cpu) = (Bytes(0), Millicores(0));
    for (name, template) in &release.templates {
        let count = u64::from(crate::templates::count(release, name));
        all.memory = Bytes(all.memory.0.saturating_add(template.memory.0.saturating_mul(count)));
        all.cpu = all.cpu.max(template.cpu);
        all.egress |= !template.egress.is_empty();
        // What one of them must have, the node of all of them must have.
        all.rules.affinity.require.extend(template.rules.affinity.require.clone());
        all.rules.tolerate.extend(template.rules.tolerate.iter().cloned());
    }
    let chosen = place_all(&mut fleet.clone(), &all, 1).ok()?;
    chosen.first().filter(|it| it.displaces.is_empty()).map(|it| it.node)
}
