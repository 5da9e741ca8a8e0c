//! What a simulated node really runs, whatever its agent knows or says: processes that start, become
//! healthy, crash, and stop, each in its own time.
//!
//! What an instance does is told by the first word of its command: `ok`, `crash` (exits soon after every
//! start), `mute` (never healthy), `missing` (cannot be started), `slow` (stops late).

use super::{random::Random, time::SimClock};
use crate::ports::Clock;
use freehold_model::{Desired, Exit, Instance, InstanceId, InstanceStatus, Phase, Template};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// The processes of one node.
#[derive(Debug, Default)]
pub struct Machine {
    processes: BTreeMap<InstanceId, Process>,
}

#[derive(Debug)]
struct Process {
    template: Template,
    status: InstanceStatus,
    /// When the phase ends by itself.
    until: Option<Timestamp>,
}

impl Machine {
    /// The instances that exist here in any way.
    pub fn present(&self) -> impl Iterator<Item = InstanceId> {
        let here = self.processes.iter().filter(|(_, process)| process.status.phase != Phase::Stopped);
        here.map(|(id, _)| *id)
    }

    /// The status of an instance as it really is.
    pub(super) fn status(&self, id: InstanceId) -> Option<&InstanceStatus> {
        self.processes.get(&id).map(|process| &process.status)
    }

    /// When something happens next by itself.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.processes.values().filter_map(|process| process.until).min()
    }

    /// Does what is wanted of `instance`.
    pub(super) fn want(&mut self, instance: &Instance, clock: &SimClock, random: &mut Random) {
        let stop = instance.spec.desired == Desired::Stopped;
        let process = self.processes.entry(instance.id).or_insert_with(|| Process {
            template: instance.spec.template.clone(),
            status: InstanceStatus {
                phase: if stop { Phase::Stopped } else { Phase::Pulling },
                ..InstanceStatus::default()
            },
            until: (!stop).then(|| clock.after(random.between(5, 3_000))),
        });
        let ending = matches!(process.status.phase, Phase::Stopping | Phase::Stopped);
        if stop && !ending {
            process.status.phase = Phase::Stopping;
            process.status.healthy = false;
            let longest = if process.behaviour() == "slow" { 9_000 } else { 800 };
            process.until = Some(clock.after(random.between(1, longest)));
        }
    }

    /// Forgets what is stopped and no longer wanted. What runs is never forgotten.
    pub(super) fn forget(&mut self, keep: impl Fn(InstanceId) -> bool) {
        self.processes.retain(|id, process| keep(*id) || process.status.phase != Phase::Stopped);
    }

    /// Lets everything happen that is due; `crashes` of a hundred healthy instances crash by themselves.
    pub(super) fn advance(&mut self, clock: &SimClock, random: &mut Random, crashes: u64) {
        for process in self.processes.values_mut() {
            while process.until.is_some_and(|until| until <= clock.now()) {
                process.advance(clock, random, crashes);
            }
        }
    }
}

impl Process {
    fn behaviour(&self) -> &str {
        self.template.command.as_ref().and_then(|command| command.first()).map_or("ok", String::as_str)
    }

    fn advance(&mut self, clock: &SimClock, random: &mut Random, crashes: u64) {
        let behaviour = self.behaviour().to_owned();
        self.until = match (self.status.phase, behaviour.as_str()) {
            (Phase::Pulling, "missing") => self.enter(Phase::Failed, Some("no such image"), None),
            (Phase::Pulling, _) => self.start(clock, random),
            (Phase::Backoff, _) => {
                self.status.restarts += 1;
                self.start(clock, random)
            }
            (Phase::Running, "crash") => self.exit(clock, random),
            (Phase::Running, "mute") => None,
            (Phase::Running, _) if self.status.healthy => self.exit(clock, random),
            (Phase::Running, _) => {
                self.status.healthy = true;
                self.status.message = None;
                let crashes = random.between(0, 100) < crashes;
                let soon = random.one_in(2);
                crashes.then(|| clock.after(random.between(10, if soon { 3_000 } else { 60_000 })))
            }
            (Phase::Stopping, _) => self.enter(Phase::Stopped, None, None),
            _ => None,
        };
    }

    fn start(&mut self, clock: &SimClock, random: &mut Random) -> Option<Timestamp> {
        self.status.started = Some(clock.now());
        self.status.image = Some(self.template.image.digest.clone());
        self.enter(
            Phase::Running,
            Some("no check has passed yet"),
            Some(clock.after(random.between(50, 2_000))),
        )
    }

    fn exit(&mut self, clock: &SimClock, random: &mut Random) -> Option<Timestamp> {
        let exit =
            Exit { code: Some(1), signal: None, oom: false, disk: None, unhealthy: None, at: clock.now() };
        self.status.last_exit = Some(exit);
        self.status.log_tail = vec!["it went wrong".into()];
        self.status.healthy = false;
        self.enter(Phase::Backoff, Some("it ended"), Some(clock.after(random.between(100, 1_500))))
    }

    fn enter(&mut self, phase: Phase, message: Option<&str>, until: Option<Timestamp>) -> Option<Timestamp> {
        self.status.phase = phase;
        self.status.message = message.map(str::to_owned);
        until
    }
}
