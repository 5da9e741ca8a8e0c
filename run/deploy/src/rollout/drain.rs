//! Draining: waits until the edge sends everything to the new instances and the old ones have finished
//! their connections, then tells the old ones to stop.

use super::{
    scene::{Scene, active, fresh, is_healthy, stop, wanted},
    steps,
};
use freehold_model::{Endpoint, Instance, InstanceId, Name, RolloutPhase};
use freehold_reconcile::Decision;
use jiff::SignedDuration;
use std::collections::BTreeSet;

/// Connections that last longer are cut.
const PATIENCE: SignedDuration = SignedDuration::from_secs(10);

pub(super) fn decide(mut scene: Scene<'_>) -> Decision {
    let cut = scene.after(PATIENCE);
    if !drained(&scene) && scene.now < cut {
        return scene.wait(Some(cut));
    }
    // Whoever was not active at the shift, and still should run, is an old one.
    let old: Vec<Instance> = fresh(&scene.instances).cloned().collect();
    let deadline = scene.rollout.spec.deadline.max(cut);
    match witnesses(&scene, &old) {
        Some(witnesses) => {
            for (id, version) in witnesses {
                scene.txn.expect(id, version);
            }
        }
        // The new ones fell ill: the old ones are not given up before they recover, or for ever.
        None if scene.now < deadline => return scene.wait(Some(deadline)),
        None => {}
    }
    for instance in &old {
        stop(&mut scene.txn, instance);
    }
    steps::open(&mut scene.receipt, "stop", steps::instances(old.len()), scene.now);
    scene.enter(RolloutPhase::Stopping);
    scene.commit(None)
}

/// Whether every endpoint routes as of the shift, and no old instance has connections there.
fn drained(scene: &Scene<'_>) -> bool {
    let old: BTreeSet<InstanceId> = fresh(&scene.instances).map(|instance| instance.id).collect();
    let quiet = |endpoint: &Endpoint| {
        let open = |(id, connections): (&InstanceId, &u32)| *connections > 0 && old.contains(id);
        !endpoint.status.draining.iter().any(open)
    };
    let applied = |endpoint: &Endpoint| endpoint.status.applied >= scene.rollout.version;
    scene.endpoints.iter().all(|endpoint| applied(endpoint) && quiet(endpoint))
}

/// For each process that loses instances and should go on, one healthy instance that is active, with
/// its version; `None` if one of them has none.
fn witnesses(scene: &Scene<'_>, old: &[Instance]) -> Option<Vec<(InstanceId, u64)>> {
    let loses = |process: &Name| old.iter().any(|instance| instance.spec.process == *process);
    let goes_on = wanted(&scene.target.spec).filter(|wanted| wanted.count > 0 && loses(wanted.process));
    goes_on
        .map(|wanted| {
            let mut all = active(&scene.instances).filter(|it| it.spec.process == *wanted.process);
            all.find(|instance| is_healthy(instance)).map(|instance| (instance.id, instance.version))
        })
        .collect()
}
