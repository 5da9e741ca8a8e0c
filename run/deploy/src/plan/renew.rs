//! The plan of a renewal: the present release again, with the present version of each of its secrets.

use super::{
    deploy::{Target, plan_release, unless_noop},
    seal,
};
use crate::{
    error::PlanError,
    lookup::{place, require_app, require_env},
    secrets,
};
use freehold_model::{Name, Operation, Plan, ReleaseSpec};
use freehold_reconcile::View;

/// What running the present release with the present versions of its secrets would change.
///
/// # Errors
/// When what is named does not exist, nothing runs there, the app is being removed, or the view fails.
pub fn plan_renewal(view: &dyn View, project: &Name, app: &Name, env: &Name) -> Result<Plan, PlanError> {
    let place = place(view, project, app, env)?;
    let (found_app, found_env) = match (&place.app, &place.env) {
        (Some(app), Some(env)) => (app, env),
        // The one that is missing is named, with the nearest there is.
        _ => {
            let found = require_app(view, &place.project, app)?;
            return Err(require_env(view, &found, env).map_or_else(|error| error, |_| PlanError::Stale));
        }
    };
    if found_app.deleting.is_some() {
        return Err(PlanError::Removing { app: app.clone() });
    }
    let current = place.current.as_ref();
    let current = current.ok_or_else(|| PlanError::NothingRuns { app: app.clone(), env: env.clone() })?;
    let pins = secrets::pins(view, Some(found_env), &current.spec.manifest)?;
    let mut wanted = ReleaseSpec { number: found_env.spec.last_number + 1, ..current.spec.clone() };
    for secret in wanted.templates.values_mut().flat_map(|template| &mut template.secrets) {
        secret.version = pins.get(&secret.name).copied().unwrap_or(secrets::NO_VERSION);
    }
    let target = Target { operation: Operation::Deploy, project, env, wanted };
    let mut plan = plan_release(view, &place, target)?;
    plan.renew = true;
    Ok(seal(unless_noop(plan)))
}
