//! Finds what a request names: project, app, env, the release that runs, and what is under way.

use crate::{claims, error::PlanError};
use freehold_model::{
    AnyId, App, AppSpec, Env, EnvSpec, Kind, Name, Project, ProjectSpec, Receipt, Release, ReleaseSpec,
    Resource, Rollout, RolloutPhase, Spec,
};
use freehold_reconcile::{StoreError, View, ViewExt};

/// What a request names, as far as it exists.
pub(crate) struct Place {
    /// Always there.
    pub(crate) project: Project,
    /// Made by the first deploy.
    pub(crate) app: Option<App>,
    /// Made by the first deploy.
    pub(crate) env: Option<Env>,
    /// What runs, or will once the rollout under way has ended well: what plans start from.
    pub(crate) current: Option<Release>,
    /// The rollout under way.
    pub(crate) rollout: Option<Rollout>,
    /// The operation that waits for it.
    pub(crate) waiting: Option<Receipt>,
}

/// Finds `project`, and `app` and `env` in it if they exist.
pub(crate) fn place(view: &dyn View, project: &Name, app: &Name, env: &Name) -> Result<Place, PlanError> {
    let project = find_project(view, project)?;
    let app = view.named::<AppSpec>(Some(project.id.into()), app.as_str())?;
    let env = match &app {
        Some(app) => view.named::<EnvSpec>(Some(app.id.into()), env.as_str())?,
        None => None,
    };
    Ok(occupied(view, project, app, env)?)
}

/// The same, when project, app and env are found already.
pub(crate) fn occupied(
    view: &dyn View,
    project: Project,
    app: Option<App>,
    env: Option<Env>,
) -> Result<Place, StoreError> {
    let Some(found) = &env else {
        return Ok(Place { project, app, env, current: None, rollout: None, waiting: None });
    };
    let rollout = claims::active_rollout(view, found.id)?;
    let waiting = claims::waiting(view, found.id)?;
    let current = match rollout.as_ref().filter(|rollout| goes_forward(rollout)) {
        Some(rollout) => view.find::<ReleaseSpec>(rollout.spec.release)?,
        None => current_release(view, found)?,
    };
    Ok(Place { project, app, env, current, rollout, waiting })
}

/// Whether a rollout still means to reach its release.
fn goes_forward(rollout: &Rollout) -> bool {
    let phase = rollout.status.phase;
    rollout.spec.cancelled_by.is_none() && phase != RolloutPhase::Restoring && phase != RolloutPhase::Failed
}

/// The release that runs in `env` when no rollout is active.
pub(crate) fn current_release(view: &dyn View, env: &Env) -> Result<Option<Release>, StoreError> {
    env.spec.release.map_or(Ok(None), |id| view.find::<ReleaseSpec>(id))
}

/// The project of that name.
pub(crate) fn find_project(view: &dyn View, name: &Name) -> Result<Project, PlanError> {
    // The org is not named in requests: there is one.
    let all = view.all::<ProjectSpec>(None)?;
    match all.iter().find(|project| project.name == name.as_str()) {
        Some(project) => Ok(project.clone()),
        None => Err(not_found(Kind::Project, name, &all)),
    }
}

/// The app of that name; an error names the nearest.
pub(crate) fn require_app(view: &dyn View, project: &Project, name: &Name) -> Result<App, PlanError> {
    require::<AppSpec>(view, project.id.into(), name)
}

/// The env of that name; an error names the nearest.
pub(crate) fn require_env(view: &dyn View, app: &App, name: &Name) -> Result<Env, PlanError> {
    require::<EnvSpec>(view, app.id.into(), name)
}

fn require<S: Spec>(view: &dyn View, parent: AnyId, name: &Name) -> Result<Resource<S>, PlanError> {
    match view.named::<S>(Some(parent), name.as_str())? {
        Some(found) => Ok(found),
        None => Err(not_found(S::KIND, name, &view.all::<S>(Some(parent))?)),
    }
}

fn not_found<S: Spec>(kind: Kind, name: &Name, all: &[Resource<S>]) -> PlanError {
    let near = |other: &&Resource<S>| strsim::jaro_winkler(&other.name, name.as_str()) > 0.75;
    let closeness = |other: &&Resource<S>| (strsim::jaro_winkler(&other.name, name.as_str()) * 1e6) as u64;
    let nearest = all.iter().filter(near).max_by_key(closeness).map(|other| other.name.clone());
    PlanError::NotFound { kind, name: name.to_string(), nearest }
}
