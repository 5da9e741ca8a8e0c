//! Draining: waits until the edge sends everything to the new instances and the old ones have finished
//! their connections, or have had the manifest's `drain_timeout` for it, then tells the old ones to stop.

use super::{
    opening::{self, Opening},
    scene::{Scene, active, fresh, is_healthy, stop, wanted},
    steps,
};
use freehold_model::{Endpoint, Instance, InstanceId, Millis, Name, RolloutPhase};
use freehold_reconcile::Decision;
use std::collections::BTreeMap;

pub(super) fn decide(mut scene: Scene<'_>) -> Decision {
    let patience = scene.target.spec.manifest.deploy.drain_timeout;
    let cut = scene.after(patience.signed());
    let pending = pending(&scene);
    if let Some(on) = pending.clone().filter(|_| scene.now < cut) {
        return scene.wait_for(on, cut, None);
    }
    // Whoever was not active at the shift, and still should run, is an old one.
    let old: Vec<Instance> = fresh(&scene.instances).cloned().collect();
    let deadline = scene.rollout.spec.deadline.max(cut);
    match witnesses(&scene, &old) {
        Some(witnesses) => {
            for witness in &witnesses {
                scene.away.rely_on(&mut scene.txn, witness);
            }
        }
        // The new ones fell ill: the old ones are not given up before they recover, or for ever.
        None if scene.now < deadline => {
            let on = "no new instance is healthy any more: the old ones are kept meanwhile".to_owned();
            return scene.wait_for(on, deadline, None);
        }
        None => {}
    }
    if let Some(on) = pending {
        steps::add(&mut scene.receipt, &left(&scene.endpoints, &old, &on, patience));
    }
    for instance in &old {
        stop(&mut scene.txn, instance);
    }
    // What had a port that is not wanted any more was waited for: the port can go.
    for endpoint in scene.endpoints.iter().filter(|endpoint| endpoint.deleting.is_some()) {
        scene.txn.delete(endpoint.id);
    }
    steps::open(&mut scene.receipt, "stop", steps::instances(old.len()), scene.now);
    scene.enter(RolloutPhase::Stopping);
    scene.commit(None)
}

/// What is waited for: an endpoint that does not route as of the shift yet, or is not open, or connections
/// to old instances. `None`: it is drained.
fn pending(scene: &Scene<'_>) -> Option<String> {
    // Nothing writes to the rollout between the shift and the next phase.
    let behind = |endpoint: &&Endpoint| endpoint.status.applied < scene.rollout.version;
    if let Some(endpoint) = scene.endpoints.iter().find(behind) {
        return Some(format!("endpoint {} has not taken the new instances up yet", endpoint.name));
    }
    match opening::state(scene) {
        Opening::Open => {}
        Opening::Unheard(why) | Opening::Closed(why) => return Some(why),
    }
    let old: Vec<Instance> = fresh(&scene.instances).cloned().collect();
    let open = connections(&scene.endpoints, &old);
    let (first, _) = open.first_key_value()?;
    let of = scene.instances.iter().find(|instance| instance.id == *first);
    let of = of.map(|it| it.spec.process.to_string());
    let all = counted(open.values().sum());
    let more = match open.len() {
        1 => String::new(),
        many => format!(" and {} more", many - 1),
    };
    Some(format!("{all} to {first} of {}{more} to end", of.unwrap_or_default()))
}

/// The open connections of each old instance that has any, and those of endpoints that go, of any instance.
fn connections(endpoints: &[Endpoint], old: &[Instance]) -> BTreeMap<InstanceId, u32> {
    let mut open = BTreeMap::new();
    for endpoint in endpoints {
        for (id, count) in &endpoint.status.draining {
            let leaves = endpoint.deleting.is_some() || old.iter().any(|instance| instance.id == *id);
            if *count > 0 && leaves {
                *open.entry(*id).or_insert(0) += count;
            }
        }
    }
    open
}

/// What was not waited for any longer.
fn left(endpoints: &[Endpoint], old: &[Instance], on: &str, patience: Millis) -> String {
    match connections(endpoints, old).values().sum() {
        0 => format!("; not waited for beyond {patience}: {on}"),
        cut => format!("; {} cut after {patience}", counted(cut)),
    }
}

fn counted(connections: u32) -> String {
    format!("{connections} connection{}", if connections == 1 { "" } else { "s" })
}

/// For each process that loses instances and should go on, one healthy instance that is active; `None` if
/// one of them has none.
fn witnesses(scene: &Scene<'_>, old: &[Instance]) -> Option<Vec<Instance>> {
    let loses = |process: &Name| old.iter().any(|instance| instance.spec.process == *process);
    let goes_on = wanted(&scene.target.spec).filter(|wanted| wanted.count > 0 && loses(wanted.process));
    goes_on
        .map(|wanted| {
            let mut all = active(&scene.instances).filter(|it| it.spec.process == *wanted.process);
            all.find(|instance| is_healthy(instance)).cloned()
        })
        .collect()
}
