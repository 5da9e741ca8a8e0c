//! The shift: one transaction makes the fresh instances active and the old ones not, and moves the
//! endpoints. From here on the new release runs.

use super::{opening::spec, scene::Scene, steps};
use crate::{
    claims,
    templates::{after, priority},
    volumes::Home,
};
use freehold_model::{Endpoint, Instance, InstanceSpec, RolloutPhase, Txn};
use freehold_reconcile::{Decision, StoreError};
use serde_json::json;
use std::collections::BTreeMap;

/// Everything that the release wants is healthy and its ports are open, as of the versions read: shift to it.
pub(super) fn decide(mut scene: Scene<'_>) -> Result<Decision, StoreError> {
    let mut txn = scene.txn.clone();
    let sets = scene.sets();
    for instance in sets.fresh.iter().chain(&sets.kept) {
        // Only what is still as healthy as it was seen may take over.
        scene.away.rely_on(&mut txn, instance);
        activate(&mut txn, &scene, instance);
    }
    for instance in &sets.old {
        let spec = InstanceSpec { serving: false, ..instance.spec.clone() };
        txn.put_spec(&Instance { spec, ..(*instance).clone() });
    }
    let (new, old) = (sets.fresh.len(), sets.old.len());
    let moved = endpoints(&scene, &mut txn);
    sizes(&scene, &mut txn)?;
    let number = scene.target.spec.number;
    let ports = if moved.is_empty() { String::new() } else { format!("; {}", moved.join(", ")) };
    txn.event(scene.rollout.id, "rollout.shifted", json!({ "release": number, "new": new, "old": old }));
    scene.txn = txn;
    steps::open(&mut scene.receipt, "shift", format!("v{number} serves{ports}"), scene.now);
    let leave = if old == 0 { "nothing".into() } else { steps::instances(old) };
    steps::open(&mut scene.receipt, "drain", format!("{leave} to leave"), scene.now);
    scene.enter(RolloutPhase::Draining);
    Ok(scene.commit(None))
}

/// Gives the env's volumes the sizes that the target's manifest says.
fn sizes(scene: &Scene<'_>, txn: &mut Txn) -> Result<(), StoreError> {
    let Some(home) = Home::of(scene.view, &scene.env)? else { return Ok(()) };
    for wanted in &scene.target.spec.manifest.volume {
        let found = home.find(scene.view, &wanted.name)?.filter(|volume| volume.spec.size != wanted.size);
        if let Some(mut volume) = found {
            volume.spec.size = wanted.size;
            txn.put_spec(&volume);
        }
    }
    Ok(())
}

fn activate(txn: &mut Txn, scene: &Scene<'_>, instance: &Instance) {
    let after = after(&scene.target.spec, &instance.spec.process).to_vec();
    let mut spec = InstanceSpec { serving: true, release: scene.target.id, after, ..instance.spec.clone() };
    spec.placed.priority = priority(&scene.target.spec, &spec.process);
    if spec != instance.spec {
        txn.put_spec(&Instance { spec, ..instance.clone() });
    }
}

/// Makes the env's endpoints those of the target's manifest; says which there are. All of them are open already.
/// The others take no new connections, and go when theirs have ended (`drain`).
fn endpoints(scene: &Scene<'_>, txn: &mut Txn) -> Vec<String> {
    let mut stale: BTreeMap<&str, &Endpoint> =
        scene.endpoints.iter().map(|endpoint| (endpoint.name.as_str(), endpoint)).collect();
    let mut names = vec![];
    for wanted in &scene.target.spec.manifest.endpoint {
        let name = claims::port(wanted.protocol, wanted.listen);
        if let Some(found) = stale.remove(name.as_str()) {
            // Only what is still as open as it was seen may take over.
            txn.expect(found.id, found.version);
            if found.spec != spec(wanted) {
                txn.put_spec(&Endpoint { spec: spec(wanted), ..found.clone() });
            }
        }
        names.push(name);
    }
    for endpoint in stale.values() {
        txn.deleting(endpoint.id);
    }
    names
}
