//! What differs between two releases of an env, or between its release and what is observed to run.
//!
//! Called by the API. Pure: one view in, a value out; nothing here decides anything.

use crate::{
    error::PlanError,
    lookup::{current_release, find_project, require_app, require_env},
    plan::diff,
    rollout::{active, is_healthy},
    templates::count,
};
use freehold_model::{
    Endpoint, EndpointSpec, Env, Instance, InstanceSpec, Name, Release, ReleaseSpec, Template,
    api::Diff,
    plan::{Action, Change, Field},
};
use freehold_reconcile::{StoreError, View, ViewExt};
use std::collections::BTreeSet;

/// The env whose releases are compared, by its names.
#[derive(Debug, Clone, Copy)]
pub struct Where<'a> {
    /// The project.
    pub project: &'a Name,
    /// The app.
    pub app: &'a Name,
    /// The env.
    pub env: &'a Name,
}

/// What differs from release `from` to release `to`; `None` is the one that runs.
///
/// # Errors
/// When what is named does not exist, or the view fails.
pub fn diff_releases(
    view: &dyn View,
    place: Where<'_>,
    from: Option<u32>,
    to: Option<u32>,
) -> Result<Diff, PlanError> {
    let env = find(view, place)?;
    let (from, to) = (release(view, place, &env, from)?, release(view, place, &env, to)?);
    let changes = diff::changes(Some(&from.spec), &to.spec);
    Ok(Diff { app: place.app.clone(), env: place.env.clone(), from: from.name, to: to.name, changes })
}

/// What differs from the release that runs to what is observed: the drift.
///
/// # Errors
/// When what is named does not exist, nothing runs, or the view fails.
pub fn drift(view: &dyn View, place: Where<'_>) -> Result<Diff, PlanError> {
    let env = find(view, place)?;
    let wanted = release(view, place, &env, None)?;
    let instances = view.all::<InstanceSpec>(Some(env.any_id()))?;
    let endpoints = view.all::<EndpointSpec>(Some(env.any_id()))?;
    let running = active(&instances).map(|it| &it.spec.process);
    let processes: BTreeSet<&Name> = wanted.spec.templates.keys().chain(running).collect();
    let mut changes: Vec<Change> = processes
        .into_iter()
        .map(|name| process(view, name, &wanted.spec, &instances))
        .collect::<Result<_, _>>()?;
    changes.extend(wanted_endpoints(&wanted.spec, &endpoints));
    let (app, env) = (place.app.clone(), place.env.clone());
    Ok(Diff { app, env, from: wanted.name, to: "observed".into(), changes })
}

fn find(view: &dyn View, place: Where<'_>) -> Result<Env, PlanError> {
    let project = find_project(view, place.project)?;
    let app = require_app(view, &project, place.app)?;
    require_env(view, &app, place.env)
}

fn release(view: &dyn View, place: Where<'_>, env: &Env, number: Option<u32>) -> Result<Release, PlanError> {
    let (app, env_name) = (place.app.clone(), place.env.clone());
    match number {
        Some(number) => view
            .named::<ReleaseSpec>(Some(env.any_id()), &format!("v{number}"))?
            .ok_or(PlanError::NoRelease { app, env: env_name, number }),
        None => current_release(view, env)?.ok_or(PlanError::NothingRuns { app, env: env_name }),
    }
}

/// How the instances of one process are, beside what the release wants.
fn process(
    view: &dyn View,
    name: &Name,
    wanted: &ReleaseSpec,
    instances: &[Instance],
) -> Result<Change, StoreError> {
    let all: Vec<&Instance> = active(instances).filter(|it| it.spec.process == *name).collect();
    let template = wanted.templates.get(name);
    let number = template.map_or(0, |_| count(wanted, name));
    let mut fields = vec![];
    let mut compare = |path: &str, before: String, after: String| {
        if before != after {
            fields.push(Field { path: path.into(), before: Some(before), after: Some(after) });
        }
    };
    compare("instances", number.to_string(), all.len().to_string());
    let healthy = all.iter().filter(|instance| is_healthy(instance)).count();
    compare("healthy", number.to_string(), healthy.to_string());
    if let Some(template) = template {
        for (path, before, after) in unlike(view, template, &all)? {
            compare(&path, before, after);
        }
    }
    let action = match (template.is_some() && number > 0, all.is_empty(), fields.is_empty()) {
        (_, _, true) => Action::Keep,
        (true, true, _) => Action::Remove,
        (false, false, _) => Action::Add,
        _ => Action::Change,
    };
    Ok(Change { action, kind: "process".into(), name: name.to_string(), start: 0, keep: 0, stop: 0, fields })
}

/// What single instances are made of, or started from, that is not what is wanted.
fn unlike(
    view: &dyn View,
    template: &Template,
    all: &[&Instance],
) -> Result<Vec<(String, String, String)>, StoreError> {
    let (mut found, hash) = (vec![], template.hash());
    for instance in all {
        let of = |what: &str| format!("{}.{what}", instance.id);
        if let Some(image) = instance.status.image.as_ref().filter(|image| **image != template.image.digest) {
            found.push((of("image"), template.image.digest.to_string(), image.to_string()));
        }
        if instance.spec.template_hash != hash {
            let made_of = view.find::<ReleaseSpec>(instance.spec.release)?.map(|release| release.name);
            found.push((of("made of"), "this release".into(), made_of.unwrap_or("another".into())));
        }
        if let (false, Some(message)) = (is_healthy(instance), &instance.status.message) {
            found.push((of("state"), "healthy".into(), message.clone()));
        }
    }
    Ok(found)
}

/// Whether what is wanted to be reached is open.
fn wanted_endpoints(wanted: &ReleaseSpec, endpoints: &[Endpoint]) -> Vec<Change> {
    let is_open = |endpoint: &Endpoint| match (endpoint.status.listening, &endpoint.status.message) {
        (true, _) => "open".to_owned(),
        (false, Some(why)) => why.clone(),
        (false, None) => "not open".into(),
    };
    let one = |name: &String| {
        let state = endpoints.iter().find(|endpoint| endpoint.name == *name).map(is_open);
        let action = match state.as_deref() {
            Some("open") => Action::Keep,
            Some(_) => Action::Change,
            None => Action::Remove,
        };
        let fields = match action {
            Action::Change => vec![Field { path: "port".into(), before: Some("open".into()), after: state }],
            _ => vec![],
        };
        Change { action, kind: "endpoint".into(), name: name.clone(), start: 0, keep: 0, stop: 0, fields }
    };
    diff::endpoint_names(wanted).iter().map(one).collect()
}
