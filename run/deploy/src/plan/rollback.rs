//! The plan of a rollback: an earlier release runs again, whole.

use super::{
    deploy::{Target, plan_release},
    seal,
};
use crate::{
    error::PlanError,
    lookup::{Place, current_release, find_project, occupied, require_app, require_env},
};
use freehold_model::{AnyId, Name, Operation, Plan, Receipt, ReceiptSpec, ReleaseSpec, Verdict};
use freehold_reconcile::{StoreError, View, ViewExt};

/// What running release `to` again would change. By default it is the release before the one that runs;
/// while a rollout is under way, the one that ran before it.
///
/// # Errors
/// When what is named does not exist, no earlier release ran, the app is being removed, or the view fails.
pub fn plan_rollback(
    view: &dyn View,
    project: &Name,
    app: &Name,
    env: &Name,
    to: Option<u32>,
) -> Result<Plan, PlanError> {
    let found_project = find_project(view, project)?;
    let found_app = require_app(view, &found_project, app)?;
    if found_app.deleting.is_some() {
        return Err(PlanError::Removing { app: app.clone() });
    }
    let found_env = require_env(view, &found_app, env)?;
    let id = found_env.id;
    let place = occupied(view, found_project, Some(found_app), Some(found_env))?;
    let number = match to {
        Some(number) => number,
        None => default_target(view, &place)?
            .ok_or_else(|| PlanError::NothingEarlier { app: app.clone(), env: env.clone() })?,
    };
    let release = view
        .named::<ReleaseSpec>(Some(id.into()), &format!("v{number}"))?
        .ok_or_else(|| PlanError::NoRelease { app: app.clone(), env: env.clone(), number })?;
    let target = Target { operation: Operation::Rollback, project, env, wanted: release.spec };
    Ok(seal(plan_release(view, &place, target)?))
}

/// The number of the release that is meant when none is named.
fn default_target(view: &dyn View, place: &Place) -> Result<Option<u32>, StoreError> {
    let Some(env) = &place.env else { return Ok(None) };
    let before = current_release(view, env)?.map(|release| release.spec.number);
    if place.rollout.is_some() {
        return Ok(before);
    }
    ran_before(view, env.id.into(), before)
}

/// The number of the release that ran well before `current` did. Told by the receipts: each success adds
/// its release, and a rollback takes away what was rolled away from, so that the next one goes further
/// back and never to and fro.
fn ran_before(view: &dyn View, env: AnyId, current: Option<u32>) -> Result<Option<u32>, StoreError> {
    let mut receipts = view.all::<ReceiptSpec>(Some(env))?;
    receipts.retain(|receipt| receipt.status.verdict == Some(Verdict::Succeeded));
    receipts.sort_by_key(|receipt| (receipt.status.finished, receipt.id));
    let trail = trail(&receipts);
    let end = trail.iter().rposition(|number| Some(*number) == current).unwrap_or(trail.len());
    Ok(trail[..end].last().copied())
}

/// The releases that a person going back would pass, the oldest first.
fn trail(receipts: &[Receipt]) -> Vec<u32> {
    let mut trail: Vec<u32> = vec![];
    for spec in receipts.iter().map(|receipt| &receipt.spec) {
        let Some(number) = spec.release_number else { continue };
        if spec.operation == Operation::Rollback
            && let Some(at) = trail.iter().rposition(|passed| *passed == number)
        {
            trail.truncate(at + 1);
        }
        if trail.last() != Some(&number) {
            trail.push(number);
        }
    }
    trail
}
