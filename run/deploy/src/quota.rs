//! Quotas: what a project and its org may use together, what they use, and what a change would pass.
//!
//! Plans ask for blockers; whoever applies one, or makes a volume, also calls [`admit`]. Invariant: two changes
//! under one quota never both count on the same room, because each writes the project (or the org) that the
//! other expects as it was.

use crate::{
    Asker, ChangeError,
    lookup::{Place, occupied},
    templates::priority,
    volumes::Home,
};
use freehold_model::{
    AnyId, App, AppSpec, Bytes, Code, EnvSpec, Millicores, Name, Org, OrgId, OrgSpec, Problem, Project,
    ProjectId, ProjectSpec, Quota, ReleaseSpec, Txn, Usage, VolumeSpec, manifest::Process, quota::Excess,
};
use freehold_reconcile::{StoreError, View, ViewExt};
use jiff::Timestamp;

/// What the instances of a release may use, and the volumes that are still to be made for them.
fn of_release(view: &dyn View, home: &Home, release: &ReleaseSpec) -> Result<Usage, StoreError> {
    let mut sum = release.manifest.process.values().fold(Usage::default(), |sum, process| {
        let cpu = Millicores(process.cpu.0.saturating_mul(process.count));
        let memory = Bytes(process.memory.0.saturating_mul(process.count.into()));
        sum.plus(Usage { cpu, memory, instances: process.count, ..Usage::default() })
    });
    for volume in &release.manifest.volume {
        if home.find(view, &volume.name)?.is_none() {
            sum = sum.plus(of_volume(volume.size));
        }
    }
    Ok(sum)
}

fn of_volume(size: Bytes) -> Usage {
    Usage { volumes: 1, bytes: size, ..Usage::default() }
}

/// What a project uses: the release that runs, or is about to, in each of its envs, and its volumes.
///
/// # Errors
/// When the view fails; likewise below.
pub fn of_project(view: &dyn View, project: &Project) -> Result<Usage, StoreError> {
    let mut sum = Usage::default();
    for app in view.all::<AppSpec>(Some(project.any_id()))? {
        for env in view.all::<EnvSpec>(Some(app.any_id()))? {
            let Some(home) = Home::of(view, &env)? else { continue };
            let place = occupied(view, project.clone(), None::<App>, Some(env))?;
            if let Some(release) = place.current {
                sum = sum.plus(of_release(view, &home, &release.spec)?);
            }
        }
    }
    let volumes = view.all::<VolumeSpec>(Some(project.any_id()))?;
    Ok(volumes.iter().fold(sum, |sum, volume| sum.plus(of_volume(volume.spec.size))))
}

/// What all projects of an org use.
///
/// # Errors
/// When the view fails.
pub fn of_org(view: &dyn View, org: &Org) -> Result<Usage, StoreError> {
    let projects = view.all::<ProjectSpec>(Some(org.any_id()))?;
    projects.iter().try_fold(Usage::default(), |sum, project| Ok(sum.plus(of_project(view, project)?)))
}

/// The limits that running `wanted` at `place` would pass.
pub(crate) fn blockers(
    view: &dyn View,
    place: &Place,
    home: &Home,
    wanted: &ReleaseSpec,
) -> Result<Vec<Problem>, StoreError> {
    let bounds = Bounds::of(view, &place.project)?;
    let mut problems = bounds.too_important(place.current.as_ref().map(|it| &it.spec), wanted);
    if bounds.is_free() {
        return Ok(problems);
    }
    let before = match &place.current {
        Some(release) => of_release(view, home, &release.spec)?,
        None => Usage::default(),
    };
    let after = of_release(view, home, wanted)?;
    problems.extend(bounds.passed(view, before, after)?);
    Ok(problems)
}

/// The limits that one more volume would pass.
pub(crate) fn volume_blocker(
    view: &dyn View,
    project: &Project,
    size: Bytes,
) -> Result<Option<Problem>, StoreError> {
    let passed = Bounds::of(view, project)?.passed(view, Usage::default(), of_volume(size))?;
    Ok(passed.into_iter().next())
}

/// Notes in `txn` that something was let in under the quotas of `project`, if it has any.
pub(crate) fn admit(
    txn: &mut Txn,
    view: &dyn View,
    project: &Project,
    now: Timestamp,
) -> Result<(), StoreError> {
    let bounds = Bounds::of(view, project)?;
    if !bounds.project.spec.quota.is_empty() {
        let mut project = bounds.project;
        project.status.admitted = Some(now);
        txn.put_status(&project);
    }
    if let Some(mut org) = bounds.org.filter(|org| !org.spec.quota.is_empty()) {
        org.status.admitted = Some(now);
        txn.put_status(&org);
    }
    Ok(())
}

/// Who limits a project.
struct Bounds {
    project: Project,
    org: Option<Org>,
}

impl Bounds {
    fn of(view: &dyn View, project: &Project) -> Result<Bounds, StoreError> {
        let org = match project.parent.and_then(|parent| OrgId::try_from(parent).ok()) {
            Some(org) => view.find::<OrgSpec>(org)?,
            None => None,
        };
        Ok(Bounds { project: project.clone(), org })
    }

    fn is_free(&self) -> bool {
        self.project.spec.quota.is_empty() && self.org.as_ref().is_none_or(|org| org.spec.quota.is_empty())
    }

    /// The processes that would have a higher priority than the project, or its org, may give them. What has it
    /// already keeps it.
    fn too_important(&self, before: Option<&ReleaseSpec>, after: &ReleaseSpec) -> Vec<Problem> {
        let project = ("project", &self.project.name, self.project.spec.quota.priority.unwrap_or(0));
        let org = self.org.as_ref().map(|org| {
            let any = if org.name == OrgSpec::HOUSE { i32::MAX } else { 0 };
            ("org", &org.name, org.spec.quota.priority.unwrap_or(any))
        });
        let owners = [Some(project), org];
        let narrowest = owners.into_iter().flatten().min_by_key(|(.., limit)| *limit);
        let Some((owner, name, limit)) = narrowest else { return vec![] };
        let had = |process| before.map_or(i32::MIN, |release| priority(release, process));
        let higher = after.manifest.process.iter().filter(|(_, it)| it.priority > limit);
        let problem = |(process, it): (&Name, &Process)| {
            let title = format!(
                "priority {} of {process}: {owner} `{name}` may go up to {limit}, for others make room for it",
                it.priority
            );
            Problem::new(Code::OverQuota, title).hint(format!(
                "ask for less, or have an admin of {} allow more: `freehold quota set --{owner} {name} --priority {}`",
                if owner == "org" { "the house" } else { "the org" },
                it.priority
            ))
        };
        higher.filter(|(process, it)| it.priority > had(process)).map(problem).collect()
    }

    /// What a change from `before` to `after` would pass.
    fn passed(&self, view: &dyn View, before: Usage, after: Usage) -> Result<Vec<Problem>, StoreError> {
        let mut problems = vec![];
        let mut check = |owner: &str, name: &str, quota: &Quota, used: Usage| {
            let then = used.minus(before).plus(after);
            problems.extend(used.excess(&then, quota).iter().map(|it| over(owner, name, it)));
        };
        if !self.project.spec.quota.is_empty() {
            let used = of_project(view, &self.project)?;
            check("project", &self.project.name, &self.project.spec.quota, used);
        }
        if let Some(org) = self.org.as_ref().filter(|org| !org.spec.quota.is_empty()) {
            check("org", &org.name, &org.spec.quota, of_org(view, org)?);
        }
        Ok(problems)
    }
}

fn over(owner: &str, name: &str, excess: &Excess) -> Problem {
    let Excess { what, limit, now, then } = excess;
    let title = format!("{what}: {owner} `{name}` would use {then}, and its quota is {limit}");
    Problem::new(Code::OverQuota, title).detail(format!("it uses {now} now")).hint(format!(
        "ask for less, remove what is not needed, or have an admin of the org raise it: \
         `freehold quota set --{owner} {name} …`"
    ))
}

/// Gives a project or an org another quota. What runs stays, even if that is more.
///
/// # Errors
/// When there is none of that id.
pub fn set_quota(view: &dyn View, id: AnyId, quota: Quota, asker: &Asker) -> Result<Txn, ChangeError> {
    let mut txn = Txn::new(asker.actor.clone(), "set a quota", asker.request.clone());
    match (ProjectId::try_from(id), OrgId::try_from(id)) {
        (Ok(id), _) => {
            let mut project = view.find::<ProjectSpec>(id)?.ok_or_else(|| missing(id.into()))?;
            project.spec.quota = quota;
            txn.put_spec(&project);
        }
        (_, Ok(id)) => {
            let mut org = view.find::<OrgSpec>(id)?.ok_or_else(|| missing(id.into()))?;
            org.spec.quota = quota;
            txn.put_spec(&org);
        }
        _ => return Err(missing(id).into()),
    }
    Ok(txn)
}

fn missing(id: AnyId) -> Problem {
    Problem::new(Code::NotFound, format!("there is no project or org {id}"))
        .hint("`freehold project list` and `freehold org list` show those that there are")
}
