//! Which of a release's [`Demand`]s need a right now: all but the system ports that its env has already.
//!
//! Called by every door of the API that makes a release run, lets somebody into its instances, or changes
//! what they work on. Invariant: a plan that asks for more than its asker may is refused in the very view
//! that it was made over.

use crate::{claims, lookup, plan::port_owner, volumes::Home};
use freehold_model::{
    AnyId, AppSpec, EnvId, EnvSpec, InstanceId, InstanceSpec, Manifest, Name, Plan, ProjectSpec, ReceiptId,
    ReceiptSpec, ReleaseSpec, VolumeId, VolumeSpec, manifest::Demand,
};
use freehold_reconcile::{StoreError, View, ViewExt};
use std::collections::BTreeSet;

/// What `plan` needs rights for. A removal needs none: it gives nothing away.
///
/// # Errors
/// When the view fails.
pub fn plan_demands(view: &dyn View, plan: &Plan) -> Result<BTreeSet<Demand>, StoreError> {
    match &plan.manifest {
        Some(manifest) => manifest_demands(view, &plan.project, &plan.env, manifest),
        None => Ok(BTreeSet::new()),
    }
}

/// What running `manifest` in `env` needs rights for.
///
/// # Errors
/// When the view fails.
pub fn manifest_demands(
    view: &dyn View,
    project: &Name,
    env: &Name,
    manifest: &Manifest,
) -> Result<BTreeSet<Demand>, StoreError> {
    let env = match find_project(view, project)? {
        Some(project) => env_of(view, project, &manifest.app, env)?,
        None => None,
    };
    unheld(view, manifest.demands(), env)
}

/// What a command inside of an instance needs rights for.
///
/// # Errors
/// When the view fails.
pub fn instance_demands(view: &dyn View, id: InstanceId) -> Result<BTreeSet<Demand>, StoreError> {
    Ok(view.find::<InstanceSpec>(id)?.map(|it| it.spec.template.demands()).unwrap_or_default())
}

/// What calling an operation off needs rights for: the release that ran before may be started again.
///
/// # Errors
/// When the view fails.
pub fn cancel_demands(view: &dyn View, id: ReceiptId) -> Result<BTreeSet<Demand>, StoreError> {
    let receipt = view.find::<ReceiptSpec>(id)?.filter(|receipt| receipt.status.behind.is_none());
    let Some(env) = receipt.and_then(|it| EnvId::try_from(it.parent?).ok()) else {
        return Ok(BTreeSet::new());
    };
    let before = match view.find::<EnvSpec>(env)? {
        Some(env) => lookup::current_release(view, &env)?,
        None => None,
    };
    unheld(view, before.map(|release| release.spec.demands()).unwrap_or_default(), Some(env))
}

/// What changing the bytes of a volume needs rights for: those of the processes that find it.
///
/// # Errors
/// When the view fails.
pub fn volume_demands(view: &dyn View, id: VolumeId) -> Result<BTreeSet<Demand>, StoreError> {
    let Some(volume) = view.find::<VolumeSpec>(id)? else { return Ok(BTreeSet::new()) };
    let (Some(project), spec) = (volume.parent, volume.spec) else { return Ok(BTreeSet::new()) };
    home_demands(view, Home { project, app: spec.app, env: spec.env }, &spec.volume)
}

/// The same of a volume that is made for an env, which may be there already.
///
/// # Errors
/// When the view fails.
pub fn new_volume_demands(
    view: &dyn View,
    (project, app, env): (&Name, &Name, &Name),
    volume: &Name,
) -> Result<BTreeSet<Demand>, StoreError> {
    match find_project(view, project)? {
        Some(project) => home_demands(view, Home { project, app: app.clone(), env: env.clone() }, volume),
        None => Ok(BTreeSet::new()),
    }
}

/// Of every release that an instance of the env is of, and of the one that is to run.
fn home_demands(view: &dyn View, home: Home, volume: &Name) -> Result<BTreeSet<Demand>, StoreError> {
    let Some(env) = env_of(view, home.project, &home.app, &home.env)? else { return Ok(BTreeSet::new()) };
    let mut demands = BTreeSet::new();
    let mut of = |template: &freehold_model::Template| {
        if template.mounts.iter().any(|mount| mount.volume == *volume) {
            demands.extend(template.demands());
        }
    };
    view.all::<InstanceSpec>(Some(env.into()))?.iter().for_each(|it| of(&it.spec.template));
    let rollout = claims::active_rollout(view, env)?.map(|rollout| rollout.spec.release);
    let current = view.find::<EnvSpec>(env)?.and_then(|env| env.spec.release);
    for release in [rollout, current].into_iter().flatten() {
        let found = view.find::<ReleaseSpec>(release)?;
        found.iter().flat_map(|it| it.spec.templates.values()).for_each(&mut of);
    }
    Ok(demands)
}

/// `demands` without the ports that `env` has: an admin gave it those once, and it keeps them.
fn unheld(
    view: &dyn View,
    demands: BTreeSet<Demand>,
    env: Option<EnvId>,
) -> Result<BTreeSet<Demand>, StoreError> {
    let mut left = BTreeSet::new();
    for demand in demands {
        let held = match (demand, env) {
            (Demand::LowPort { protocol, port }, Some(env)) => {
                port_owner(view, &claims::port(protocol, port))? == Some(env.into())
            }
            _ => false,
        };
        if !held {
            left.insert(demand);
        }
    }
    Ok(left)
}

fn find_project(view: &dyn View, name: &Name) -> Result<Option<AnyId>, StoreError> {
    let all = view.all::<ProjectSpec>(None)?;
    Ok(all.into_iter().find(|project| project.name == name.as_str()).map(|project| project.any_id()))
}

fn env_of(view: &dyn View, project: AnyId, app: &Name, env: &Name) -> Result<Option<EnvId>, StoreError> {
    let Some(app) = view.named::<AppSpec>(Some(project), app.as_str())? else { return Ok(None) };
    Ok(view.named::<EnvSpec>(Some(app.id.into()), env.as_str())?.map(|env| env.id))
}
