//! The plan of a removal: an app, all its envs and everything in them goes.

use super::{cost, diff, seal, volumes};
use crate::{
    error::PlanError,
    lookup::{current_release, find_project, require_app},
};
use freehold_model::{
    Digest, EnvSpec, Name, Operation, Plan, Release,
    plan::{Action, Change, Cost},
};
use freehold_reconcile::{View, ViewExt};
use std::collections::BTreeMap;

/// What removing the app would change.
///
/// # Errors
/// When the project or the app does not exist, it is being removed already, or the view fails.
pub fn plan_remove(view: &dyn View, project: &Name, app: &Name) -> Result<Plan, PlanError> {
    let found_project = find_project(view, project)?;
    let found = require_app(view, &found_project, app)?;
    if found.deleting.is_some() {
        return Err(PlanError::Removing { app: app.clone() });
    }
    let envs = view.all::<EnvSpec>(Some(found.id.into()))?;
    let mut changes = vec![removed(app)];
    let mut total = Cost::default();
    let mut only: Option<Release> = None;
    for env in &envs {
        let Some(release) = current_release(view, env)? else { continue };
        let prefix = if envs.len() > 1 { format!("{}/", env.name) } else { String::new() };
        changes.extend(
            diff::removals(&release.spec)
                .into_iter()
                .map(|change| Change { name: format!("{prefix}{}", change.name), ..change }),
        );
        let one = cost(Some(&release.spec), None);
        total.cpu_before.0 += one.cpu_before.0;
        total.memory_before.0 += one.memory_before.0;
        total.disk_before.0 += one.disk_before.0;
        only = Some(release);
    }
    changes.extend(volumes::kept(view, found_project.id.into(), app)?);
    let current = only.filter(|_| envs.len() == 1).map(|release| release.spec.number);
    Ok(seal(Plan {
        operation: Operation::Remove,
        project: project.clone(),
        app: app.clone(),
        env: env_name(envs.first().map(|env| env.name.as_str())),
        release: None,
        current,
        manifest: None,
        manifest_hash: None,
        images: BTreeMap::new(),
        revisions: BTreeMap::new(),
        secrets: BTreeMap::new(),
        changes,
        placement: vec![],
        cost: total,
        blockers: vec![],
        restart: false,
        renew: false,
        hash: Digest::of(b""),
        behind: None,
        notes: vec![],
        supersedes: None,
    }))
}

fn removed(app: &Name) -> Change {
    let (kind, name) = ("app".into(), app.to_string());
    Change { action: Action::Remove, kind, name, start: 0, keep: 0, stop: 0, fields: vec![] }
}

/// A removal concerns all envs; the plan names the first.
fn env_name(first: Option<&str>) -> Name {
    let name = first.and_then(|name| name.parse().ok());
    name.unwrap_or_else(|| "prod".parse().expect("`prod` is a name"))
}
