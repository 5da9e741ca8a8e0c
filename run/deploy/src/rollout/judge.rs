//! How one instance does while a rollout waits for it: the rules by which a release fails.

use super::scene::is_healthy;
use freehold_model::{
    Exit, Instance, Millis, Phase,
    manifest::{Check, Probe},
};
use jiff::Timestamp;

/// It has had its chances when it ended so often. An end counts once it is being started again: before
/// that, a node does not tell a first end from the start after it.
const EXITS: u32 = 2;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Healthy,
    /// Not yet; if nothing happens, judge again at that time.
    Waiting(Option<Timestamp>),
    /// It will not become healthy; why, in a sentence.
    Failed(String),
}

/// Judges an instance that a rollout started.
pub(super) fn fresh(instance: &Instance, now: Timestamp) -> Judgement {
    if is_healthy(instance) {
        return Judgement::Healthy;
    }
    let exits = instance.status.restarts;
    if exits >= EXITS {
        return Judgement::Failed(exited(instance, exits));
    }
    kept(instance, Timestamp::MIN, now)
}

/// Judges an instance that ran before the rollout began at `since`: its old restarts do not count.
pub(super) fn kept(instance: &Instance, since: Timestamp, now: Timestamp) -> Judgement {
    let (status, check) = (&instance.status, &instance.spec.template.check);
    if is_healthy(instance) {
        return Judgement::Healthy;
    }
    if status.phase == Phase::Failed {
        return Judgement::Failed(format!("{} cannot be started{}", title(instance), because(instance)));
    }
    match (status.phase, status.started, check) {
        (Phase::Running, Some(started), Some(check)) => {
            let (patience, from) = (patience(check), started.max(since));
            let limit = from.saturating_add(patience.signed()).unwrap_or(Timestamp::MAX);
            if now >= limit {
                return Judgement::Failed(unhealthy(instance, check, patience));
            }
            Judgement::Waiting(Some(limit))
        }
        _ => Judgement::Waiting(None),
    }
}

/// What an instance that is not healthy is at.
pub(super) fn pending(instance: &Instance) -> String {
    let what = match instance.status.phase {
        Phase::Pending => "has not been begun by its node",
        Phase::Pulling => "is pulling its image",
        Phase::Running if instance.spec.template.check.is_none() => "has just started",
        Phase::Running => "does not pass its check yet",
        Phase::Backoff => "waits to be started again",
        Phase::Failed => "cannot be started",
        Phase::Stopping | Phase::Stopped => "is stopping",
    };
    format!("{} {what}{}", title(instance), because(instance))
}

pub(super) fn title(instance: &Instance) -> String {
    format!("{}: instance {}", instance.spec.process, instance.id)
}

fn because(instance: &Instance) -> String {
    instance.status.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default()
}

fn exited(instance: &Instance, exits: u32) -> String {
    let times = if exits == 2 { "twice".into() } else { format!("{exits} times") };
    let (title, before) = (title(instance), "before it became healthy");
    match &instance.status.last_exit {
        Some(Exit { oom: true, .. }) => {
            let limit = instance.spec.template.memory;
            format!("{title} was killed {times} {before}: it used more memory than its limit of {limit}")
        }
        Some(Exit { disk: Some(disk), .. }) => {
            format!("{title} was stopped {times} {before}: it {disk}")
        }
        Some(exit) => format!("{title} {exit} {times} {before}"),
        None => format!("{title} ended {times} {before}"),
    }
}

fn unhealthy(instance: &Instance, check: &Check, patience: Millis) -> String {
    let tried = match &check.probe {
        Probe::Http { path, port } => format!("GET {path} on port {port}"),
        Probe::Tcp { port } => format!("TCP on port {port}"),
        Probe::Command(command) => format!("`{}`", command.join(" ")),
    };
    let (title, because) = (title(instance), because(instance));
    format!("{title} did not pass its check ({tried}) within {patience} of its start{because}")
}

/// How long an instance may run without passing its check.
fn patience(check: &Check) -> Millis {
    let failures = check.every.0.saturating_mul(check.unhealthy_after.into());
    Millis(check.grace.0.saturating_add(failures))
}
