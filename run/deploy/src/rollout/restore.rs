//! Restoring: the release failed, so its instances stop. What ran before was never touched,
//! save what had to make room for a new writer of its volume: that is made again.

use super::{
    create::Creator,
    displace, judge, opening,
    scene::{Scene, active, fresh, is_healthy, matching, stop, wanted},
    start::Failure,
    steps,
};
use crate::{cancel, lookup::current_release};
use freehold_model::{Code, Instance, RolloutPhase, Verdict};
use freehold_reconcile::{Decision, Ids, StoreError};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

/// What is started again may take so long to be healthy before the verdict no longer waits for it.
const PATIENCE: SignedDuration = SignedDuration::from_secs(60);

/// Gives the release up.
pub(super) fn begin(mut scene: Scene<'_>, failure: Failure) -> Decision {
    let new: Vec<Instance> = fresh(&scene.instances).cloned().collect();
    for instance in &new {
        stop(&mut scene.txn, instance);
    }
    let mut txn = scene.txn.clone();
    let closed = opening::close(&scene, &mut txn);
    scene.txn = txn;
    let shown = scene.instances.iter().find(|instance| Some(instance.id) == failure.instance);
    scene.receipt.status.log_tail = shown.map(|it| it.status.log_tail.clone()).unwrap_or_default();
    scene.receipt.status.code = Some(failure.code);
    let before = match previous(&scene) {
        Some(number) => format!("v{number} goes on"),
        None => "nothing ran before".into(),
    };
    let ports = if closed.is_empty() { String::new() } else { format!(", close {}", closed.join(", ")) };
    let detail = format!("stop {}{ports}; {before}", steps::instances(new.len()));
    steps::open(&mut scene.receipt, "restore", detail, scene.now);
    scene.txn.event(scene.rollout.id, "rollout.failing", json!({ "reason": failure.reason }));
    scene.rollout.status.failure = Some(failure.reason);
    scene.enter(RolloutPhase::Restoring);
    scene.commit(None)
}

pub(super) fn decide(mut scene: Scene<'_>, ids: &mut dyn Ids) -> Result<Decision, StoreError> {
    let now = scene.now;
    let going = scene.reap();
    let late = scene.stopped_by();
    if going > 0 && now < late {
        let on = scene.stopping();
        return Ok(scene.wait_for(on, late, None));
    }
    if !scene.txn.is_empty() {
        // What was reaped gives its volumes back first.
        return Ok(scene.wait(Some(now)));
    }
    let reason = scene.rollout.status.failure.clone().unwrap_or_else(|| "the release failed".into());
    // It is called off if that is why it is taken back, not if it failed before anybody asked.
    let called_off = scene.rollout.spec.cancelled_by.as_ref().is_some_and(|by| reason == cancel::reason(by));
    let verdict = if called_off { Verdict::Cancelled } else { Verdict::Failed };
    let code = scene.receipt.status.code.unwrap_or(Code::Unhealthy);
    match again(&mut scene, ids)? {
        Again::Begun => Ok(scene.commit(Some(now))),
        Again::Waiting(on, until) => Ok(scene.wait_for(on, until, None)),
        Again::Nothing => Ok(scene.finish(verdict, Some(code), reason)),
        Again::Impossible(why) => Ok(scene.finish(verdict, Some(code), format!("{reason}; {why}"))),
    }
}

/// How far what had to go for its volume is back.
enum Again {
    Nothing,
    Begun,
    Waiting(String, Timestamp),
    Impossible(String),
}

/// Makes the instances of the previous release again that were stopped because a volume has one writer.
fn again(scene: &mut Scene<'_>, ids: &mut dyn Ids) -> Result<Again, StoreError> {
    let Some(previous) = current_release(scene.view, &scene.env)? else { return Ok(Again::Nothing) };
    let mut creator = Creator::new(scene.view, &scene.env, &previous, true, scene.now)?;
    let (mut txn, mut begun, mut waiting) = (scene.txn.clone(), vec![], None);
    for wanted in wanted(&previous.spec).filter(|wanted| !wanted.template.mounts.is_empty()) {
        let there = matching(active(&scene.instances), &wanted);
        let patience = |it: &&Instance| it.created.saturating_add(PATIENCE).unwrap_or(Timestamp::MAX);
        let new = |it: &&&Instance| it.created >= scene.since() && !is_healthy(it);
        if let Some(new) = there.iter().filter(new).find(|it| scene.now < patience(it)) {
            waiting = Some(Again::Waiting(judge::pending(new), patience(new)));
        }
        if there.len() >= wanted.count {
            continue;
        }
        match creator.create(&mut txn, &wanted, wanted.count - there.len(), ids) {
            Ok(()) => begun.push(wanted.process.to_string()),
            Err(why) => {
                let number = previous.spec.number;
                return Ok(Again::Impossible(format!(
                    "{} of v{number} cannot be started again yet: {why}",
                    wanted.process
                )));
            }
        }
    }
    if begun.is_empty() {
        return Ok(waiting.unwrap_or(Again::Nothing));
    }
    scene.txn = txn;
    let displaced = displace::told(&creator.displaced);
    let detail = format!("{} of v{}{displaced}", begun.join(", "), previous.spec.number);
    steps::open(&mut scene.receipt, "start again", detail, scene.now);
    Ok(Again::Begun)
}

/// The number of the release that goes on.
fn previous(scene: &Scene<'_>) -> Option<u32> {
    current_release(scene.view, &scene.env).ok().flatten().map(|release| release.spec.number)
}
