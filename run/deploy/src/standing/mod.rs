//! What is so about an env: what is wanted of each process against what is there, why what lacks lacks, and what
//! serves. The one place that says so.
//!
//! Asked by the API's summaries and descriptions, and by rollouts for their receipts. Pure: one view in, a value
//! out. Invariant: the count of what is wanted comes from the release, never from what is there.

mod ailment;

pub use ailment::{Surroundings, ailment};

use crate::{
    claims,
    lookup::current_release,
    rollout::{active, closed},
    templates::count,
    volumes::Home,
};
use freehold_model::{
    Desired, Endpoint, EndpointSpec, Env, Instance, InstanceSpec, Name, NodeSpec, Release, ReleaseSpec,
    RolloutPhase, Template, api::ProcessSummary,
};
use freehold_reconcile::{StoreError, View, ViewExt};
use std::collections::BTreeSet;

/// How an env stands.
pub struct Standing {
    /// The release that runs, or that a rollout has shifted to; the first one while it starts.
    pub release: Option<Release>,
    /// Every process that is wanted, by name.
    pub processes: Vec<ProcessSummary>,
    /// Every instance there is, and why it is not as wanted.
    pub instances: Vec<(Instance, Option<String>)>,
    /// The endpoints that are not open, each with why.
    pub closed: Vec<String>,
}

/// How `env` stands.
///
/// # Errors
/// When the view fails.
pub fn standing(view: &dyn View, env: &Env, around: &Surroundings) -> Result<Standing, StoreError> {
    let parent = Some(env.any_id());
    let (instances, endpoints) = (view.all::<InstanceSpec>(parent)?, view.all::<EndpointSpec>(parent)?);
    of(view, env, wanted(view, env)?, instances, &endpoints, around)
}

/// How an env stands of which `release` is wanted.
pub(crate) fn of(
    view: &dyn View,
    env: &Env,
    release: Option<Release>,
    instances: Vec<Instance>,
    endpoints: &[Endpoint],
    around: &Surroundings,
) -> Result<Standing, StoreError> {
    let serving: BTreeSet<_> = active(&instances).map(|it| it.id).collect();
    let judged: Vec<_> = instances
        .into_iter()
        .map(|it| {
            let ailment = around.ailment(&it);
            (it, ailment)
        })
        .collect();
    let mut processes = vec![];
    for (process, template) in release.iter().flat_map(|release| &release.spec.templates) {
        let wanted = release.as_ref().map_or(0, |release| count(&release.spec, process));
        let ours = || judged.iter().filter(|(it, _)| it.spec.process == *process && serving.contains(&it.id));
        let healthy =
            u32::try_from(ours().filter(|(_, ailment)| ailment.is_none()).count()).unwrap_or(u32::MAX);
        let there = u32::try_from(ours().count()).unwrap_or(u32::MAX);
        let starts = |it: &Instance| {
            let is_ours = release.as_ref().is_some_and(|release| release.id == it.spec.release);
            is_ours && it.spec.process == *process && it.spec.desired == Desired::Running
        };
        let starting = judged.iter().filter(|(it, _)| starts(it) && !serving.contains(&it.id)).count();
        let starting = u32::try_from(starting).unwrap_or(u32::MAX);
        let lacking = wanted.saturating_sub(there);
        let missing = match lacking {
            0 => None,
            1 if starting >= 1 => Some(format!("1 of {wanted} {process} does not serve yet")),
            _ if starting >= lacking => Some(format!("{lacking} of {wanted} {process} do not serve yet")),
            _ => Some(missing(view, env, around, (process, template), (lacking - starting, wanted))?),
        };
        processes.push(ProcessSummary {
            process: process.clone(),
            wanted,
            healthy: healthy.min(wanted),
            missing,
        });
    }
    Ok(Standing { release, processes, instances: judged, closed: closed(endpoints).collect() })
}

/// The release that should run now.
fn wanted(view: &dyn View, env: &Env) -> Result<Option<Release>, StoreError> {
    let current = current_release(view, env)?;
    let Some(rollout) = claims::active_rollout(view, env.id)? else { return Ok(current) };
    let shifted = matches!(rollout.status.phase, RolloutPhase::Draining | RolloutPhase::Stopping);
    match shifted || current.is_none() {
        true => view.find::<ReleaseSpec>(rollout.spec.release),
        false => Ok(current),
    }
}

/// Why instances that are wanted are not there, as far as it can be seen.
fn missing(
    view: &dyn View,
    env: &Env,
    around: &Surroundings,
    (process, template): (&Name, &Template),
    (lacking, wanted): (u32, u32),
) -> Result<String, StoreError> {
    let lacks =
        format!("{lacking} of {wanted} {process} {} not there", if lacking == 1 { "is" } else { "are" });
    let volumes = Home::of(view, env)?.map(|home| home.existing(view, template)).transpose()?;
    for volume in volumes.into_iter().flatten() {
        let Some(node) = view.find::<NodeSpec>(volume.spec.node)? else { continue };
        let why = match (node.spec.draining.is_some(), node.spec.cordoned, node.status.away().is_some()) {
            (true, ..) => "which is being drained",
            (_, true, _) => "which is cordoned",
            (.., true) => "which does not answer",
            _ => continue,
        };
        return Ok(format!("{lacks}: its volume {} is on {}, {why}", volume.name, around.called(&node)));
    }
    Ok(lacks)
}

impl Standing {
    /// How many instances are wanted, and how many of them are well.
    pub fn counts(&self) -> (u32, u32) {
        let sum = |of: fn(&ProcessSummary) -> u32| self.processes.iter().map(of).sum();
        (sum(|it| it.wanted), sum(|it| it.healthy))
    }

    /// What serves, in a sentence without an end: `v1 serves: web 1 of 1 healthy`.
    pub fn serves(&self) -> String {
        let Some(release) = &self.release else {
            return match self.instances.len() {
                0 => "nothing runs".into(),
                left => format!("no release runs, {left} of its instances are not gone yet"),
            };
        };
        let number = release.spec.number;
        let (wanted, healthy) = self.counts();
        let parts: Vec<String> = self
            .processes
            .iter()
            .map(|it| format!("{} {} of {} healthy", it.process, it.healthy, it.wanted))
            .collect();
        let serves = if healthy > 0 || wanted == 0 { "serves" } else { "should run and does not" };
        let closed: String = self.closed.iter().map(|closed| format!("; {closed}")).collect();
        format!("v{number} {serves}: {}{closed}", parts.join(", "))
    }

    /// The first thing that is not as wanted.
    pub fn first_trouble(&self) -> Option<String> {
        let ill = self
            .instances
            .iter()
            .find_map(|(it, why)| Some(format!("{} ({}): {}", it.spec.process, it.id, why.as_ref()?)));
        ill.or_else(|| self.processes.iter().find_map(|it| it.missing.clone()))
    }
}
