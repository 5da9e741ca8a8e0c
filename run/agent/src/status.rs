//! What the worker says of its instance: a pure function of its state.

use crate::{backoff::Memory, health::Health, meter::Usage};
use freehold_model::{CheckAnswer, Digest, DiskUse, InstanceId, InstanceStatus, Millis, Name, Phase};
use freehold_runtime::Lost;
use jiff::Timestamp;

/// Where the worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing runs.
    Waiting,
    /// The image is fetched, the run is being made.
    Preparing,
    /// It runs, since then.
    Running(Timestamp),
    /// It was asked to stop.
    Stopping,
    /// It was stopped because its node stops.
    Halted,
    /// Nothing of it is left.
    Gone,
}

/// All that a status is made of.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    /// Where the worker is.
    pub(crate) stage: Stage,
    /// What happened in earlier runs.
    pub(crate) memory: &'a Memory,
    /// What the checks say.
    pub(crate) health: Health,
    /// Why it cannot be started.
    pub(crate) trouble: Option<&'a str>,
    /// What the run takes.
    pub(crate) usage: Usage,
    /// It was asked to stop because it had written so much.
    pub(crate) excess: Option<DiskUse>,
    /// It was asked to stop because it had failed its check for so long.
    pub(crate) overdue: Option<Millis>,
    /// What its check said last.
    pub(crate) answers: Vec<CheckAnswer>,
    /// For which volume its start waits, and why.
    pub(crate) awaited: Option<&'a str>,
    /// It was asked to stop because it had lost that.
    pub(crate) lost: Option<Lost>,
    /// What must be healthy before it starts.
    pub(crate) lacks: &'a [Name],
    /// Who must be gone before it starts.
    pub(crate) room_of: &'a [InstanceId],
    /// The digest of what was started.
    pub(crate) image: Option<&'a Digest>,
    /// Its last lines.
    pub(crate) tail: &'a [String],
}

/// What to report.
pub(crate) fn status(facts: &Facts<'_>) -> InstanceStatus {
    let phase = phase(facts);
    let healthy = phase == Phase::Running && facts.health.healthy;
    InstanceStatus {
        phase,
        healthy,
        image: facts.image.cloned(),
        started: match facts.stage {
            Stage::Running(since) => Some(since),
            _ => None,
        },
        restarts: facts.memory.restarts,
        last_exit: facts.memory.last_exit.clone(),
        failures: facts.memory.failures,
        message: message(facts, phase),
        disk: facts.usage.disk,
        oom_kills: facts.usage.oom_kills,
        answers: facts.answers.clone(),
        log_tail: if healthy { vec![] } else { facts.tail.to_vec() },
    }
}

/// A restart shows as the wait before it until it has succeeded: no flicker.
fn phase(facts: &Facts<'_>) -> Phase {
    match facts.stage {
        Stage::Running(_) => Phase::Running,
        Stage::Stopping => Phase::Stopping,
        Stage::Gone => Phase::Stopped,
        Stage::Halted => Phase::Backoff,
        Stage::Waiting | Stage::Preparing if facts.trouble.is_some() => Phase::Failed,
        Stage::Waiting | Stage::Preparing if facts.memory.last_exit.is_some() => Phase::Backoff,
        Stage::Waiting => Phase::Pending,
        Stage::Preparing => Phase::Pulling,
    }
}

fn message(facts: &Facts<'_>, phase: Phase) -> Option<String> {
    match (facts.stage, phase) {
        (Stage::Waiting | Stage::Preparing, _) if facts.awaited.is_some() => facts.awaited.map(str::to_owned),
        (Stage::Halted, _) => Some("stopped by its node for a while, and started again by it".into()),
        (_, Phase::Failed) => facts.trouble.map(str::to_owned),
        (_, Phase::Backoff) => facts.memory.last_exit.as_ref().map(|exit| format!("it {exit}")),
        (_, Phase::Stopping) => match (facts.excess, facts.lost, facts.overdue) {
            (Some(disk), ..) => Some(format!("it is stopped, and started again empty: it {disk}")),
            (None, Some(lost), _) => Some(format!("it is stopped, and started again: {lost}")),
            (None, None, Some(time)) => {
                Some(format!("it is stopped, and started again: it has not passed its check for {time}"))
            }
            (None, None, None) => None,
        },
        (_, Phase::Running) => facts.health.message.clone(),
        (_, Phase::Pending) if !facts.room_of.is_empty() => {
            let ids: Vec<String> = facts.room_of.iter().map(ToString::to_string).collect();
            Some(format!("starts when {} has made room", ids.join(" and ")))
        }
        (_, Phase::Pending) if !facts.lacks.is_empty() => {
            let names: Vec<String> = facts.lacks.iter().map(ToString::to_string).collect();
            Some(format!("starts after {}, which must be healthy first", names.join(" and ")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_model::Exit;

    #[test]
    fn phases_follow_from_stage_and_history() {
        let exit = Exit {
            code: Some(3),
            signal: None,
            oom: false,
            disk: None,
            unhealthy: None,
            at: Timestamp::UNIX_EPOCH,
        };
        let mut crashed = Memory::default();
        crashed.ended(exit, Timestamp::UNIX_EPOCH);
        let fresh = Memory::default();
        let since = Timestamp::UNIX_EPOCH;
        let table = [
            (Stage::Waiting, &fresh, None, Phase::Pending, None),
            (Stage::Preparing, &fresh, None, Phase::Pulling, None),
            (Stage::Preparing, &crashed, None, Phase::Backoff, Some("it exited with code 3")),
            (Stage::Waiting, &crashed, None, Phase::Backoff, Some("it exited with code 3")),
            (Stage::Waiting, &crashed, Some("no such command"), Phase::Failed, Some("no such command")),
            (Stage::Running(since), &crashed, None, Phase::Running, None),
            (Stage::Stopping, &fresh, None, Phase::Stopping, None),
            (Stage::Gone, &crashed, None, Phase::Stopped, None),
        ];
        for (stage, memory, trouble, phase, message) in table {
            let health = Health { healthy: true, message: None };
            let said = status(&Facts {
                stage,
                memory,
                health,
                trouble,
                usage: Usage::default(),
                excess: None,
                overdue: None,
                answers: vec![],
                awaited: None,
                lost: None,
                lacks: &[],
                room_of: &[],
                image: None,
                tail: &["x".into()],
            });
            assert_eq!((said.phase, said.message.as_deref()), (phase, message), "{stage:?}");
            assert_eq!(said.healthy, phase == Phase::Running, "{stage:?}");
            assert_eq!(said.log_tail.is_empty(), said.healthy, "{stage:?}");
        }
    }
}
