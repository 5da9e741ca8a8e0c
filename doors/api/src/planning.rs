//! From a change as a caller asks for it to its plan.
//!
//! Called by the plans and operations routes. What takes time or may fail by itself (the manifest,
//! the images' digests) is done once, by [`prepare`]; planning over a view is then pure and repeatable.

use crate::{
    error::{Answer, Failure},
    routes::{images, oidc, operations::failure},
    state::Api,
    who::Who,
};
use freehold_deploy::retention::KEPT;
use freehold_deploy::{
    PlanError, Request, blocked_by, manifest_demands, plan_demands, plan_deploy, plan_remove, plan_renewal,
    plan_rollback,
};
use freehold_identity::{Access, Action, oidc::client_id};
use freehold_image::{ImageError, Reference};
use freehold_model::{Code, ImageRef, Manifest, Name, Plan, Problem, api::Change};
use freehold_reconcile::View;
use futures::future::join_all;
use std::collections::BTreeMap;

mod ports;

/// A change that can be planned, with what was seen outside the store.
#[derive(Clone)]
pub(crate) struct Prepared {
    wanted: Wanted,
    /// The ports that it adds and that can't be had here, by the names of their endpoints.
    closed: Vec<(String, Problem)>,
}

/// What is to be planned.
#[derive(Clone)]
enum Wanted {
    Deploy {
        project: Name,
        env: Name,
        manifest: Box<Manifest>,
        images: BTreeMap<Name, ImageRef>,
        restart: bool,
    },
    Rollback {
        project: Name,
        app: Name,
        env: Name,
        to: Option<u32>,
        /// Images that were there once, and what is wrong with them now.
        missing: Vec<(ImageRef, Problem)>,
    },
    Renew {
        project: Name,
        app: Name,
        env: Name,
    },
    Remove {
        project: Name,
        app: Name,
    },
}

/// Sees whether `who` may do it, parses the manifest and asks what its images mean now.
///
/// # Errors
/// Everything that is wrong with the manifest, or else with its images.
pub(crate) async fn prepare(api: &Api, who: &Who, action: Action, change: Change) -> Answer<Prepared> {
    may(api, who, action, &change).await?;
    let wanted = match change {
        Change::Deploy { manifest, file, env, project, restart } => {
            let (project, env) = (or_default(project), or_prod(env));
            let mut manifest = Manifest::parse(&file, &manifest, &env).map_err(|wrong| wrong.problem())?;
            if manifest.sign_in.is_some() {
                let client = client_id(&project, &manifest.app, &env);
                manifest.name_issuer(oidc::issuer(api)?.as_str(), &client);
            }
            allowed(api, who, (&project, &env), &manifest).await?;
            let images = resolve(api, &manifest).await?;
            Wanted::Deploy { project, env, manifest: Box::new(manifest), images, restart }
        }
        Change::Rollback { app, env, project, to } => {
            let (project, env) = (or_default(project), or_prod(env));
            let mut wanted = Wanted::Rollback { project, app, env, to, missing: vec![] };
            let found = preflight(api, &wanted).await?;
            if let Wanted::Rollback { missing, .. } = &mut wanted {
                *missing = found;
            }
            wanted
        }
        Change::Renew { app, env, project } => {
            Wanted::Renew { project: or_default(project), app, env: or_prod(env) }
        }
        Change::Remove { app, project } => Wanted::Remove { project: or_default(project), app },
    };
    let closed = ports::closed(api, wanted.clone()).await?;
    Ok(Prepared { wanted, closed })
}

/// Goes on if `who` may do such a thing where it would be done.
///
/// # Errors
/// As [`Who::in_project`].
pub(crate) async fn may(api: &Api, who: &Who, action: Action, change: &Change) -> Answer<()> {
    let (Change::Deploy { project, .. }
    | Change::Rollback { project, .. }
    | Change::Renew { project, .. }
    | Change::Remove { project, .. }) = change;
    let (asker, project) = (who.clone(), or_default(project.clone()));
    api.read(move |view| asker.in_project(view, action, &project)).await
}

/// What a manifest asks for beyond its project: images of others, and what it takes a right for.
async fn allowed(api: &Api, who: &Who, (project, env): (&Name, &Name), manifest: &Manifest) -> Answer<()> {
    if who.principal.is_root() {
        return Ok(());
    }
    let images: Vec<(Name, String)> =
        manifest.process.iter().map(|(name, process)| (name.clone(), process.image.clone())).collect();
    let (who, project, env, manifest) = (who.clone(), project.clone(), env.clone(), manifest.clone());
    let elsewhere = api.controls.elsewhere();
    let look = move |view: &dyn View| {
        who.in_project(view, Action::Read, &project)?;
        who.meets(manifest_demands(view, &project, &env, &manifest)?)?;
        for (name, image) in &images {
            who.may_ask(image)
                .map_err(|problem| problem.detail(format!("process.{name}.image: `{image}`")))?;
            match who.image(view, Action::PullImage, image)? {
                Access::Granted => {}
                // As an image that is not there.
                _ => return Err(unresolved(&[(name, ImageError::absent(image))], elsewhere.clone())),
            }
        }
        Ok(())
    };
    api.read(look).await
}

impl Prepared {
    /// The plan over `view`, if `who` may bring about what its release asks of the node: whichever release
    /// that is, and whatever asked for it.
    ///
    /// # Errors
    /// When what is named does not exist, they may not, or the view fails.
    pub(crate) fn plan(&self, view: &dyn View, who: &Who) -> Answer<Plan> {
        let plan = self.wanted.plan(view).map_err(failure)?;
        who.meets(plan_demands(view, &plan)?)?;
        let new = ports::added(view, &plan).map_err(failure)?;
        let closed = self.closed.iter().filter(|(name, _)| new.iter().any(|(added, ..)| added == name));
        let problems: Vec<Problem> = closed.map(|(_, problem)| problem.clone()).collect();
        Ok(if problems.is_empty() { plan } else { blocked_by(plan, problems) })
    }
}

impl Wanted {
    /// The plan over `view`, as far as the store tells.
    fn plan(&self, view: &dyn View) -> Result<Plan, PlanError> {
        match self.clone() {
            Wanted::Deploy { project, env, manifest, images, restart } => {
                let manifest = *manifest;
                plan_deploy(view, &Request { project: &project, env: &env, manifest, images, restart })
            }
            Wanted::Rollback { project, app, env, to, missing } => {
                let plan = plan_rollback(view, &project, &app, &env, to)?;
                let wanted =
                    missing.into_iter().filter(|(image, _)| plan.images.values().any(|it| it == image));
                let problems: Vec<Problem> = wanted.map(|(_, problem)| problem).collect();
                Ok(if problems.is_empty() { plan } else { blocked_by(plan, problems) })
            }
            Wanted::Renew { project, app, env } => plan_renewal(view, &project, &app, &env),
            Wanted::Remove { project, app } => plan_remove(view, &project, &app),
        }
    }
}

/// The project that is meant when none is named.
pub(crate) fn or_default(project: Option<Name>) -> Name {
    project.unwrap_or_else(|| "default".parse().expect("a name"))
}

/// The env that is meant when none is named.
pub(crate) fn or_prod(env: Option<Name>) -> Name {
    env.unwrap_or_else(|| "prod".parse().expect("a name"))
}

/// The images of the release that is to run again which are not in the built-in registry any more. What
/// came from another registry is fetched from there, by its digest, if it must be.
async fn preflight(api: &Api, wanted: &Wanted) -> Answer<Vec<(ImageRef, Problem)>> {
    let wanted = wanted.clone();
    // What is wrong with the request itself is said when it is planned.
    let images =
        api.read(move |view| Ok(wanted.plan(view).map(|plan| plan.images).unwrap_or_default())).await?;
    let mut missing: Vec<(ImageRef, Problem)> = vec![];
    for image in images.into_values() {
        let is_ours = image.reference.parse::<Reference>().is_ok_and(|it| it.host().is_none());
        if !is_ours || missing.iter().any(|(other, _)| *other == image) {
            continue;
        }
        if let Err(error) = api.images.ensure(&image).await {
            let title = format!("image {} ({}) is not there any more", image.reference, image.digest.short());
            let problem = Problem::new(Code::NotFound, title)
                .detail(error.to_string())
                .hint(format!(
                    "garbage collection keeps the images of the {KEPT} newest releases of an env: push the same image again, or roll \
                     back to another release"
                ));
            missing.push((image, problem));
        }
    }
    Ok(missing)
}

/// The digest of every process's image; all that fail are named at once.
async fn resolve(api: &Api, manifest: &Manifest) -> Answer<BTreeMap<Name, ImageRef>> {
    let asked =
        manifest.process.iter().map(async |(name, process)| (name, api.images.resolve(&process.image).await));
    let (mut images, mut failed) = (BTreeMap::new(), vec![]);
    for (name, answer) in join_all(asked).await {
        match answer {
            Ok(image) => drop(images.insert(name.clone(), image)),
            Err(error) => failed.push((name, error)),
        }
    }
    if failed.is_empty() { Ok(images) } else { Err(unresolved(&failed, api.controls.elsewhere())) }
}

fn unresolved(failed: &[(&Name, ImageError)], elsewhere: Option<String>) -> Failure {
    let first = images::failure(&failed[0].1);
    if first.0.code == Code::Internal {
        return first;
    }
    let mut lines: Vec<String> =
        failed.iter().map(|(name, error)| format!("process.{name}.image: {error}")).collect();
    lines.extend(elsewhere.filter(|_| first.0.code == Code::NotFound));
    let title = match failed.len() {
        1 => "An image cannot be had.".to_owned(),
        many => format!("{many} images cannot be had."),
    };
    let problem = Problem::new(first.0.code, title).detail(lines.join("\n"));
    Failure(match first.0.hint {
        Some(hint) => problem.hint(hint),
        None => problem,
    })
}
