//! Stopping: waits until the old instances are gone, then the rollout has succeeded, if what it runs can be
//! reached.

use super::scene::{Scene, active, is_healthy, wanted};
use freehold_model::{Code, Endpoint, Verdict};
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
    let reachable = closed(&scene.endpoints).next().is_none();
    match reachable {
        true => scene.finish(Verdict::Succeeded, None, reason),
        false => scene.finish(Verdict::Failed, Some(Code::Unhealthy), reason),
    }
}

/// The endpoints that the edge cannot open, each with why.
pub(crate) fn closed(endpoints: &[Endpoint]) -> impl Iterator<Item = String> {
    let closed = endpoints.iter().filter(|it| !it.status.listening && it.deleting.is_none());
    closed.filter_map(|endpoint| {
        let message = endpoint.status.message.as_ref()?;
        Some(format!("endpoint {} is not open: {message}", endpoint.name))
    })
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
    for closed in closed(&scene.endpoints) {
        reason += &format!("; {closed}");
    }
    if going > 0 {
        reason += &format!("; {going} old not stopped yet: their node does not answer");
    }
    reason
}
