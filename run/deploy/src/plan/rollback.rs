//! The plan of a rollback: an earlier release runs again, whole.

use super::{
    deploy::{Target, plan_release},
    seal,
};
use crate::{
    error::PlanError,
    lookup::{Place, current_release, find_project, require_app, require_env},
};
use freehold_model::{Env, Name, Operation, Plan, Receipt, ReceiptSpec, Release, ReleaseSpec, Verdict};
use freehold_reconcile::{StoreError, View, ViewExt};

/// What running release `to` again would change; by default the last other release that ran well.
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
    let current = current_release(view, &found_env)?;
    let number = match to {
        Some(number) => number,
        None => ran_before(view, &found_env, current.as_ref())?
            .ok_or_else(|| PlanError::NothingEarlier { app: app.clone(), env: env.clone() })?,
    };
    let release = view
        .named::<ReleaseSpec>(Some(found_env.id.into()), &format!("v{number}"))?
        .ok_or_else(|| PlanError::NoRelease { app: app.clone(), env: env.clone(), number })?;
    let place = Place { project: found_project, app: Some(found_app), env: Some(found_env), current };
    let target = Target { operation: Operation::Rollback, project, env, wanted: release.spec };
    Ok(seal(plan_release(view, &place, target)?))
}

/// The number of the last release that ran well and is not `current`, by the receipts.
fn ran_before(view: &dyn View, env: &Env, current: Option<&Release>) -> Result<Option<u32>, StoreError> {
    let mut receipts = view.all::<ReceiptSpec>(Some(env.id.into()))?;
    receipts.sort_by_key(|receipt| (receipt.status.finished, receipt.id));
    let current = current.map(|release| release.spec.number);
    let ran_well = |receipt: &&Receipt| receipt.status.verdict == Some(Verdict::Succeeded);
    let mut numbers =
        receipts.iter().rev().filter(ran_well).filter_map(|receipt| receipt.spec.release_number);
    Ok(numbers.find(|number| Some(*number) != current))
}
