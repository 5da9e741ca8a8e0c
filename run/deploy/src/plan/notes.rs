//! The notes of a plan: what its reader should know beside what changes and what stops it.

use crate::templates::{after, is_other};
use freehold_model::{
    AnyId, InstanceSpec, Name, NodeId, NodeSpec, ReleaseSpec,
    plan::{Action, Change, Placement},
};
use freehold_reconcile::{StoreError, View, ViewExt};
use std::collections::{BTreeMap, BTreeSet};

/// The sentences, if there are any.
pub(super) fn notes(
    view: &dyn View,
    env: Option<AnyId>,
    wanted: &ReleaseSpec,
    changes: &[Change],
    placement: &[Placement],
) -> Result<Vec<String>, StoreError> {
    let mut notes = apart(view, env, wanted, placement)?;
    notes.extend(far_ports(view, wanted, changes, placement)?);
    Ok(notes)
}

/// Instances of different nodes don't reach each other: who comes after another one is warned of, else the env.
fn apart(
    view: &dyn View,
    env: Option<AnyId>,
    wanted: &ReleaseSpec,
    placement: &[Placement],
) -> Result<Vec<String>, StoreError> {
    let mut places: BTreeMap<&Name, BTreeSet<String>> = BTreeMap::new();
    for one in placement {
        places.entry(&one.process).or_default().insert(one.node_name.clone());
    }
    let instances = if env.is_some() { view.all::<InstanceSpec>(env)? } else { vec![] };
    for instance in instances.iter().filter(|it| it.spec.serving && !is_other(wanted, it)) {
        if let Some(node) = view.find::<NodeSpec>(instance.spec.node)? {
            places.entry(&instance.spec.process).or_default().insert(node.name);
        }
    }
    const ALONE: &str = "instances of different nodes do not reach each other yet";
    let list = |nodes: &BTreeSet<String>| nodes.iter().cloned().collect::<Vec<_>>().join(", ");
    let mut notes = vec![];
    for (process, here) in &places {
        for before in after(wanted, process) {
            let Some(there) = places.get(before).filter(|there| *there != here || there.len() > 1) else {
                continue;
            };
            notes.push(format!(
                "{process} comes after {before} and would be on {}, {before} on {}: {ALONE}; `affinity.require` keeps both on one node",
                list(here),
                list(there)
            ));
        }
    }
    let all: BTreeSet<String> = places.values().flatten().cloned().collect();
    if notes.is_empty() && all.len() > 1 && places.len() > 1 {
        notes.push(format!("its processes would be on {}: {ALONE}", list(&all)));
    }
    Ok(notes)
}

/// A new port is tried beside the control plane when the plan is made; elsewhere nobody can ask for that.
fn far_ports(
    view: &dyn View,
    wanted: &ReleaseSpec,
    changes: &[Change],
    placement: &[Placement],
) -> Result<Vec<String>, StoreError> {
    let nodes = view.all::<NodeSpec>(None)?;
    let far = |id: NodeId| nodes.iter().any(|node| node.id == id && node.status.remote);
    let new = |name: &str| {
        changes.iter().any(|it| it.kind == "endpoint" && it.name == name && it.action == Action::Add)
    };
    let mut notes = vec![];
    for endpoint in &wanted.manifest.endpoint {
        let name = crate::claims::port(endpoint.protocol, endpoint.listen);
        let there = placement.iter().filter(|it| it.process == endpoint.process && far(it.node));
        let there: BTreeSet<&str> = there.map(|it| it.node_name.as_str()).collect();
        if new(&name) && !there.is_empty() {
            let there = there.into_iter().collect::<Vec<_>>().join(", ");
            notes.push(format!(
                "port {name} is tried on {there} only when the deploy begins: nothing is given up for it before it is open"
            ));
        }
    }
    Ok(notes)
}
