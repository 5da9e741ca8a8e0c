//! Stopping: waits until the old instances are gone, then the rollout has succeeded.

use super::scene::{Scene, active, is_healthy, wanted};
use freehold_model::Verdict;
use freehold_reconcile::Decision;

pub(super) fn decide(mut scene: Scene<'_>) -> Decision {
    let going = scene.reap();
    let late = scene.stopped_by();
    if going > 0 && scene.now < late {
        let on = scene.stopping();
        return scene.wait_for(on, late, None);
    }
    scene.env.spec.release = Some(scene.target.id);
    scene.txn.put_spec(&scene.env);
    let reason = reason(&scene, going);
    scene.finish(Verdict::Succeeded, None, reason)
}

/// `v3 runs: web 2 of 2 healthy`, and what is not as it should be.
fn reason(scene: &Scene<'_>, going: usize) -> String {
    let processes: Vec<String> = wanted(&scene.target.spec)
        .map(|wanted| {
            let all = active(&scene.instances).filter(|it| it.spec.process == *wanted.process);
            let healthy = all.filter(|instance| is_healthy(instance)).count();
            format!("{} {healthy} of {} healthy", wanted.process, wanted.count)
        })
        .collect();
    let mut reason = format!("v{} runs: {}", scene.target.spec.number, processes.join(", "));
    for endpoint in &scene.endpoints {
        if let Some(message) = &endpoint.status.message {
            reason += &format!("; endpoint {} is not open: {message}", endpoint.name);
        }
    }
    if going > 0 {
        reason += &format!("; {going} old not stopped yet: their node does not answer");
    }
    reason
}
