//! Restoring: the release failed, so its instances stop. What ran before was never touched.

use super::{
    scene::{Scene, fresh, stop},
    start::Failure,
    steps,
};
use crate::cancel;
use freehold_model::{Code, Instance, ReleaseSpec, RolloutPhase, Verdict};
use freehold_reconcile::{Decision, ViewExt};
use serde_json::json;

/// Gives the release up.
pub(super) fn begin(mut scene: Scene<'_>, failure: Failure) -> Decision {
    let new: Vec<Instance> = fresh(&scene.instances).cloned().collect();
    for instance in &new {
        stop(&mut scene.txn, instance);
    }
    let shown = scene.instances.iter().find(|instance| Some(instance.id) == failure.instance);
    scene.receipt.status.log_tail = shown.map(|it| it.status.log_tail.clone()).unwrap_or_default();
    scene.receipt.status.code = Some(failure.code);
    let before = match previous(&scene) {
        Some(number) => format!("v{number} goes on"),
        None => "nothing ran before".into(),
    };
    let detail = format!("stop {}; {before}", steps::instances(new.len()));
    steps::open(&mut scene.receipt, "restore", detail, scene.now);
    scene.txn.event(scene.rollout.id, "rollout.failing", json!({ "reason": failure.reason }));
    scene.rollout.status.failure = Some(failure.reason);
    scene.enter(RolloutPhase::Restoring);
    scene.commit(None)
}

pub(super) fn decide(mut scene: Scene<'_>) -> Decision {
    let going = scene.reap();
    let late = scene.stopped_by();
    if going > 0 && scene.now < late {
        let on = scene.stopping();
        return scene.wait_for(on, late, None);
    }
    let reason = scene.rollout.status.failure.clone().unwrap_or_else(|| "the release failed".into());
    // It is called off if that is why it is taken back, not if it failed before anybody asked.
    let called_off = scene.rollout.spec.cancelled_by.as_ref().is_some_and(|by| reason == cancel::reason(by));
    let verdict = if called_off { Verdict::Cancelled } else { Verdict::Failed };
    let code = scene.receipt.status.code.unwrap_or(Code::Unhealthy);
    scene.finish(verdict, Some(code), reason)
}

/// The number of the release that goes on.
fn previous(scene: &Scene<'_>) -> Option<u32> {
    let id = scene.env.spec.release?;
    scene.view.find::<ReleaseSpec>(id).ok().flatten().map(|release| release.spec.number)
}
