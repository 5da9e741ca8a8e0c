//! The plan of a deploy: a manifest becomes the next release.

use super::{blockers, cost, diff, notes, placing, seal, volumes};
use crate::{
    error::PlanError,
    lookup::{Place, place},
    quota, secrets,
    templates::{revisions, templates},
    volumes::Home,
};
use freehold_model::{Digest, ImageRef, Manifest, Name, Operation, Plan, ReleaseSpec};
use freehold_reconcile::View;
use std::collections::BTreeMap;

/// A deploy that somebody asks for.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Where to; it must exist.
    pub project: &'a Name,
    /// Made if it is new, like the app.
    pub env: &'a Name,
    /// What should run, the env's overrides merged.
    pub manifest: Manifest,
    /// The image of each process, resolved.
    pub images: BTreeMap<Name, ImageRef>,
    /// Replace every instance, even those that could stay.
    pub restart: bool,
}

/// What deploying would change.
///
/// # Errors
/// When the project does not exist, the app is being removed, or the view fails. What merely stops it is
/// in the plan's blockers.
pub fn plan_deploy(view: &dyn View, request: &Request<'_>) -> Result<Plan, PlanError> {
    let place = place(view, request.project, &request.manifest.app, request.env)?;
    if place.app.as_ref().is_some_and(|app| app.deleting.is_some()) {
        return Err(PlanError::Removing { app: request.manifest.app.clone() });
    }
    let revisions = revisions(&request.manifest, place.current.as_ref(), request.restart);
    let pins = secrets::pins(view, place.env.as_ref(), &request.manifest)?;
    let wanted = ReleaseSpec {
        number: place.env.as_ref().map_or(0, |env| env.spec.last_number) + 1,
        manifest_hash: request.manifest.hash(),
        templates: templates(&request.manifest, &request.images, &revisions, &pins)?,
        manifest: request.manifest.clone(),
    };
    let target = Target { operation: Operation::Deploy, project: request.project, env: request.env, wanted };
    let mut plan = plan_release(view, &place, target)?;
    plan.restart = request.restart;
    Ok(seal(unless_noop(plan)))
}

/// A deploy that changes nothing makes no release: the present one stays.
pub(super) fn unless_noop(mut plan: Plan) -> Plan {
    if plan.is_noop() && plan.current.is_some() {
        plan.release = plan.current;
    }
    plan
}

/// The release to be run, and where.
pub(super) struct Target<'a> {
    pub(super) operation: Operation,
    pub(super) project: &'a Name,
    pub(super) env: &'a Name,
    pub(super) wanted: ReleaseSpec,
}

/// The plan that makes `target` run, not sealed yet.
pub(super) fn plan_release(view: &dyn View, place: &Place, target: Target<'_>) -> Result<Plan, PlanError> {
    let Target { operation, project, env, wanted } = target;
    let current = place.current.as_ref().map(|release| &release.spec);
    let home = Home { project: place.project.id.into(), app: wanted.manifest.app.clone(), env: env.clone() };
    let mut changes = diff::changes(current, &wanted);
    volumes::say_how(&mut changes, &wanted);
    changes.extend(volumes::changes(view, &home, current, &wanted)?);
    let (placement, unplaceable) = placing::placement(view, place, &home, &wanted, &changes)?;
    let mut blockers = blockers::blockers(view, place, &wanted)?;
    blockers.extend(volumes::blockers(view, &home, &wanted)?);
    blockers.extend(secrets::blockers(view, place.env.as_ref(), env, &wanted)?);
    blockers.extend(quota::blockers(view, place, &home, &wanted)?);
    blockers.extend(unplaceable);
    let notes =
        notes::notes(view, place.env.as_ref().map(|env| env.any_id()), &wanted, &changes, &placement)?;
    let revision = |(name, template): (&Name, &freehold_model::Template)| (name.clone(), template.revision);
    Ok(Plan {
        operation,
        project: project.clone(),
        app: wanted.manifest.app.clone(),
        env: env.clone(),
        release: Some(wanted.number),
        current: current.map(|release| release.number),
        manifest_hash: Some(wanted.manifest_hash.clone()),
        images: wanted.templates.iter().map(|(name, made)| (name.clone(), made.image.clone())).collect(),
        revisions: wanted.templates.iter().map(revision).filter(|(_, n)| *n > 0).collect(),
        secrets: secrets::pinned(&wanted),
        changes,
        placement,
        cost: cost(current, Some(&wanted)),
        blockers,
        manifest: Some(wanted.manifest),
        restart: false,
        renew: false,
        hash: Digest::of(b""),
        behind: place.rollout.as_ref().map(|rollout| rollout.spec.receipt),
        notes,
        supersedes: place.waiting.as_ref().map(|receipt| receipt.id),
    })
}
