//! What an agent remembers of an instance from run to run: how often it failed and when it may try again.
//!
//! Pure; journaled by the worker. (Loops that only try again use `freehold_reconcile::Backoff`.) Invariant: the wait
//! doubles with every failure in a row and starts again
//! only after a minute of health, so a crash loop costs little and a stumble is mended at once.

use freehold_model::{Exit, Millis, manifest::RestartAfter};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The waits after ends of something that ran.
const ENDED: Waits = Waits { first: Duration::from_millis(100), longest: Duration::from_secs(30) };
/// The waits while it cannot be started at all.
const UNSTARTABLE: Waits = Waits { first: Duration::from_secs(5), longest: Duration::from_secs(300) };
/// No run that fails its check is left alone for longer.
const MOST_PATIENT: Millis = Millis(3_600_000);
/// So much health in one run, and earlier failures are forgotten.
const RECOVERED: Duration = Duration::from_secs(60);

struct Waits {
    first: Duration,
    longest: Duration,
}

/// Remembered from run to run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Memory {
    /// How often it ended by itself and was started again.
    pub(crate) restarts: u32,
    /// How the last run ended.
    pub(crate) last_exit: Option<Exit>,
    /// Failures in a row.
    pub(crate) failures: u32,
    /// It ended by itself and was not started since.
    pub(crate) ended: bool,
    /// Not started again before.
    pub(crate) start_at: Option<Timestamp>,
    /// Since when the present run is healthy.
    pub(crate) healthy_since: Option<Timestamp>,
    /// Since when the present run is known to be unhealthy.
    unhealthy_since: Option<Timestamp>,
}

impl Memory {
    /// A run is about to start.
    pub(crate) fn starting(&mut self) {
        self.restarts = self.restarts.saturating_add(self.ended.into());
        self.ended = false;
        self.start_at = None;
        (self.healthy_since, self.unhealthy_since) = (None, None);
    }

    /// It ended, and nobody had asked it to. Saying so twice counts once.
    pub(crate) fn ended(&mut self, exit: Exit, now: Timestamp) {
        if self.ended && self.last_exit.as_ref() == Some(&exit) {
            return;
        }
        if self.healthy_since.take().is_some_and(|since| now >= since + RECOVERED) {
            self.failures = 0;
        }
        self.ended = true;
        self.unhealthy_since = None;
        self.last_exit = Some(exit);
        self.fail(&ENDED, now);
    }

    /// It ended because it was asked to: no failure.
    pub(crate) fn stopped(&mut self, exit: Exit) {
        (self.healthy_since, self.unhealthy_since) = (None, None);
        self.last_exit = Some(exit);
    }

    /// It could not be started.
    pub(crate) fn unstartable(&mut self, now: Timestamp) {
        (self.healthy_since, self.unhealthy_since) = (None, None);
        self.fail(&UNSTARTABLE, now);
    }

    /// Whether it passes its checks changed or not; `certain`: if it does not, that is known.
    pub(crate) fn health(&mut self, healthy: bool, certain: bool, now: Timestamp) {
        self.healthy_since = healthy.then(|| self.healthy_since.unwrap_or(now));
        self.unhealthy_since = match (healthy, certain) {
            (true, _) => None,
            (false, true) => self.unhealthy_since.or(Some(now)),
            (false, false) => self.unhealthy_since,
        };
    }

    /// Until when a run that fails its check is left alone, and how long that is: twice as long after every
    /// failure in a row, for what is slow to come up must come up in the end.
    pub(crate) fn restart_at(&self, after: RestartAfter) -> Option<(Timestamp, Millis)> {
        let (since, after) = (self.unhealthy_since?, after.0?);
        let factor = 1u64.checked_shl(self.failures).unwrap_or(u64::MAX);
        let after = Millis(after.0.saturating_mul(factor).min(MOST_PATIENT.0.max(after.0)));
        Some((since + after.duration(), after))
    }

    fn fail(&mut self, waits: &Waits, now: Timestamp) {
        let factor = 1u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.start_at = Some(now + waits.first.saturating_mul(factor).min(waits.longest));
        self.failures = self.failures.saturating_add(1).min(20);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn exit(second: i64) -> Exit {
        Exit { code: Some(1), signal: None, oom: false, disk: None, unhealthy: None, at: at(second) }
    }

    fn waited(memory: &Memory, now: Timestamp) -> u128 {
        memory.start_at.unwrap().duration_since(now).unsigned_abs().as_millis()
    }

    #[test]
    fn the_wait_doubles_to_half_a_minute() {
        let mut memory = Memory::default();
        let mut waits = vec![];
        for n in 0..12 {
            memory.starting();
            memory.ended(exit(n), at(n));
            waits.push(waited(&memory, at(n)));
        }
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000, 30000]);
        assert_eq!(memory.restarts, 11);
    }

    #[test]
    fn a_minute_of_health_forgets_failures_and_less_does_not() {
        for (health, expected) in [(60, 100), (59, 400)] {
            let mut memory = Memory::default();
            for n in 0..2 {
                memory.starting();
                memory.ended(exit(n), at(n));
            }
            memory.starting();
            memory.health(true, true, at(10));
            memory.health(true, true, at(20));
            memory.ended(exit(10 + health), at(10 + health));
            assert_eq!(waited(&memory, at(10 + health)), expected);
        }
    }

    #[test]
    fn what_fails_its_check_is_started_again_after_a_time_that_doubles() {
        let (mut memory, two) = (Memory::default(), RestartAfter(Some(Millis(120_000))));
        let mut times = vec![];
        for n in 0..7 {
            memory.starting();
            memory.health(false, false, at(0));
            assert_eq!(memory.restart_at(two), None, "its grace");
            memory.health(false, true, at(10));
            memory.health(false, true, at(90));
            let (until, time) = memory.restart_at(two).unwrap();
            assert_eq!(until, at(10) + time.duration(), "since it was first known");
            times.push(time.to_string());
            memory.ended(exit(100 + n), at(100 + n));
        }
        assert_eq!(times, ["2m", "4m", "8m", "16m", "32m", "1h", "1h"]);
        memory.starting();
        memory.health(false, true, at(10));
        assert_eq!(memory.restart_at(RestartAfter(None)), None, "never is never");
        memory.health(true, true, at(11));
        assert_eq!(memory.restart_at(two), None);
    }

    #[test]
    fn the_same_end_seen_twice_counts_once() {
        let mut memory = Memory::default();
        memory.ended(exit(1), at(1));
        let once = memory.clone();
        memory.ended(exit(1), at(9));
        assert_eq!(memory, once);
    }

    #[test]
    fn a_stop_that_was_asked_for_is_no_failure() {
        let mut memory = Memory::default();
        memory.stopped(exit(1));
        memory.starting();
        assert_eq!((memory.restarts, memory.start_at), (0, None));
    }

    #[test]
    fn what_cannot_start_is_tried_rarely() {
        let mut memory = Memory::default();
        for _ in 0..40 {
            memory.unstartable(at(0));
        }
        assert_eq!(waited(&memory, at(0)), 300_000);
        assert_eq!(memory.restarts, 0);
    }
}
