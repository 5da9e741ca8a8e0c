//! The queue of an env: at most one operation waits while a rollout is under way.
//!
//! The waiting operation is its receipt, which holds the claim [`claims::WAITING`] and carries what it
//! wants. A newer operation takes its place, a cancellation or a removal ends it, and when the rollout
//! has ended it is planned again against what is there then. Called by [`crate::apply()`], the
//! reconcilers and [`crate::cancel()`]. Invariants: whatever waits gets a verdict, by its deadline at
//! the latest; what ended while it waited has changed nothing.

use crate::{
    apply, claims,
    error::PlanError,
    plan::{Request, plan_deploy, plan_renewal, plan_rollback},
    rollout::{controller, steps},
    verdict::{conclude, fail},
};
use freehold_model::manifest::Demand;
use freehold_model::{
    Code, Env, Manifest, Name, Operation, Plan, Problem, Queued, Receipt, ReceiptId, ReceiptSpec, Txn,
    Verdict, Waiting, Wish,
};
use freehold_reconcile::{Decision, Ids, StoreError, View};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::collections::BTreeSet;

/// Whatever is in front has deadlines of its own; this one is for what nobody thought of.
pub(crate) const PATIENCE: SignedDuration = SignedDuration::from_hours(1);

/// Makes `receipt`, which is not stored yet, wait behind `front` for what `plan` says.
pub(crate) fn enter(
    receipt: &mut Receipt,
    plan: &Plan,
    front: ReceiptId,
    pinned: bool,
    now: Timestamp,
) -> Result<(), PlanError> {
    let wish = match plan.operation {
        Operation::Rollback => Wish::Rollback { to: plan.release.ok_or(PlanError::Stale)? },
        _ if plan.renew => Wish::Renew,
        _ => Wish::Deploy {
            manifest: Box::new(plan.manifest.clone().ok_or(PlanError::Stale)?),
            images: plan.images.clone(),
            restart: plan.restart,
        },
    };
    let deadline = now.saturating_add(PATIENCE).unwrap_or(Timestamp::MAX);
    let plan_hash = pinned.then(|| plan.hash.clone());
    let demands = plan.manifest.as_ref().map(Manifest::demands).unwrap_or_default();
    let queued = Queued { project: plan.project.clone(), wish, plan_hash, deadline, demands };
    receipt.spec.queued = Some(Box::new(queued));
    // Which release it becomes is decided when its turn comes.
    let spec = &mut receipt.spec;
    (spec.release, spec.release_number, spec.previous, spec.previous_number) = (None, None, None, None);
    receipt.status.behind = Some(front);
    steps::open(receipt, "queue", format!("behind {front}"), now);
    let on = format!("{front} is under way in the same env");
    steps::waits(receipt, Waiting { on, since: now, deadline: Some(deadline) });
    Ok(())
}

/// Ends the waiting `old` because `new` takes its place.
pub(crate) fn supersede(txn: &mut Txn, mut old: Receipt, new: &mut Receipt, now: Timestamp) {
    let verb = match new.spec.operation {
        Operation::Deploy => "deploy",
        Operation::Rollback => "rollback",
        Operation::Remove => "removal",
        Operation::Move => "move",
    };
    let reason = format!("a newer {verb} by {} took its place while it waited: {}", new.spec.actor, new.id);
    old.status.superseded_by = Some(new.id);
    new.status.supersedes = Some(old.id);
    conclude(&mut old, Verdict::Superseded, Some(Code::Conflict), reason, now);
    leave(txn, &old);
    txn.event(old.id, "receipt.superseded", json!({ "by": new.id }));
}

/// Ends the waiting `receipt` because somebody called it off.
pub(crate) fn call_off(txn: &mut Txn, receipt: &mut Receipt, reason: &str, now: Timestamp) {
    conclude(receipt, Verdict::Cancelled, Some(Code::Conflict), reason, now);
    leave(txn, receipt);
    txn.event(receipt.id, "receipt.cancelled", json!({ "reason": reason }));
}

/// Writes the verdict of what waited, and gives its place back.
fn leave(txn: &mut Txn, receipt: &Receipt) {
    txn.put_status(receipt);
    if let Some(env) = receipt.parent {
        txn.release(claims::WAITING, env);
    }
}

/// What to do about `receipt`, which waits while a rollout is under way: `Err` is when to look again.
pub(crate) fn while_waiting(
    env: &Env,
    mut receipt: Receipt,
    now: Timestamp,
) -> Result<Decision, Option<Timestamp>> {
    let deadline = receipt.spec.queued.as_ref().map(|queued| queued.deadline);
    if deadline.is_none_or(|deadline| now < deadline) {
        return Err(deadline);
    }
    let waited = receipt.spec.accepted.duration_until(now);
    let problem = Problem::new(Code::Timeout, format!("its turn did not come within {waited:#}"));
    let mut txn = begin(env, &receipt, "gave up waiting");
    fail(&mut receipt, &problem, now);
    leave(&mut txn, &receipt);
    Ok(Decision { txn: Some(txn), wake: None })
}

/// No rollout is under way: the turn of `receipt` has come. Plans again, and begins or says why not.
pub(crate) fn turn(
    view: &dyn View,
    env: &Env,
    mut receipt: Receipt,
    now: Timestamp,
    ids: &mut dyn Ids,
) -> Result<Decision, StoreError> {
    let mut txn = begin(env, &receipt, "its turn has come");
    let mut place = txn.clone();
    place.release(claims::WAITING, env.id);
    let begun = plan_again(view, &receipt)
        .and_then(|plan| apply::resume(view, &plan, receipt.clone(), now, ids, place));
    let problem = match begun {
        Ok(txn) => return Ok(Decision { txn: Some(txn), wake: None }),
        Err(PlanError::Store(error)) => return Err(error),
        Err(error) => error.problem(),
    };
    fail(&mut receipt, &problem, now);
    leave(&mut txn, &receipt);
    txn.event(receipt.id, "receipt.failed", json!({ "reason": problem.title }));
    Ok(Decision { txn: Some(txn), wake: None })
}

fn begin(env: &Env, receipt: &Receipt, why: &str) -> Txn {
    let mut txn = Txn::new(controller(), why, receipt.id.to_string());
    txn.expect(env.id, env.version).expect(receipt.id, receipt.version);
    txn
}

/// The plan of what waited, as of now.
fn plan_again(view: &dyn View, receipt: &Receipt) -> Result<Plan, PlanError> {
    let (spec, queued) = (&receipt.spec, receipt.spec.queued.as_deref().ok_or(PlanError::Stale)?);
    let plan = match queued.wish.clone() {
        Wish::Deploy { manifest, images, restart } => {
            let (project, env, manifest) = (&queued.project, &spec.env, *manifest);
            plan_deploy(view, &Request { project, env, manifest, images, restart })?
        }
        Wish::Renew => renewal(view, &queued.project, spec, &queued.demands)?,
        Wish::Rollback { to } => plan_rollback(view, &queued.project, &spec.app, &spec.env, Some(to))?,
    };
    match &queued.plan_hash {
        Some(hash) if *hash != plan.hash => Err(PlanError::Stale),
        _ => Ok(plan),
    }
}

/// What runs now may be another release than the one whose renewal was asked for: it must not ask for rights
/// that nobody looked at then.
fn renewal(
    view: &dyn View,
    project: &Name,
    spec: &ReceiptSpec,
    seen: &BTreeSet<Demand>,
) -> Result<Plan, PlanError> {
    let plan = plan_renewal(view, project, &spec.app, &spec.env)?;
    let demands = plan.manifest.as_ref().map(Manifest::demands).unwrap_or_default();
    match demands.difference(seen).next() {
        Some(demand) => Err(PlanError::Demands(*demand)),
        None => Ok(plan),
    }
}
