//! Whether a run is healthy, from the results of its checks: pure.
//!
//! Invariant: failures within the grace time do not count; later, only so many in a row do. One success
//! makes it healthy.

use freehold_model::manifest::Check;
use std::time::Duration;

/// Until a run first passes, it is tried eagerly within its grace time, for a deploy waits for it: first
/// after this, then after a quarter of its age, so that waiting adds little to what has passed.
const SOONEST: Duration = Duration::from_millis(5);
/// And never less often than this.
const EAGER: Duration = Duration::from_millis(50);

/// What the checks say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Health {
    /// Whether it may serve.
    pub(crate) healthy: bool,
    /// Why not, once that is certain.
    pub(crate) message: Option<String>,
}

/// The results so far.
#[derive(Debug)]
pub(crate) struct Streak {
    health: Health,
    failures: u32,
}

impl Streak {
    /// A run whose checks begin; `healthy` when an earlier agent saw it pass.
    pub(crate) fn new(healthy: bool) -> Streak {
        Streak { health: Health { healthy, message: None }, failures: 0 }
    }

    /// Takes in one result, `age` after the start of the run, and answers what holds now.
    pub(crate) fn record(&mut self, check: &Check, result: Result<(), String>, age: Duration) -> Health {
        match result {
            Ok(()) => *self = Streak::new(true),
            Err(_) if age <= check.grace.duration() => {}
            Err(reason) => {
                self.failures = self.failures.saturating_add(1);
                let allowed = check.unhealthy_after.max(1);
                if self.failures >= allowed {
                    let message = format!("failed its check {allowed} times in a row: {reason}");
                    self.health = Health { healthy: false, message: Some(message) };
                }
            }
        }
        self.health.clone()
    }

    /// How long after the last try comes the next.
    pub(crate) fn pause(&self, check: &Check, age: Duration) -> Duration {
        let eager = !self.health.healthy && age <= check.grace.duration();
        let every = check.every.duration();
        if eager { (age / 4).clamp(SOONEST, EAGER).min(every) } else { every }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_model::{Millis, manifest::Probe};
    use proptest::prelude::*;

    fn check() -> Check {
        Check {
            probe: Probe::Tcp { port: 80 },
            every: Millis(1000),
            timeout: Millis(500),
            unhealthy_after: 3,
            restart_after: Default::default(),
            grace: Millis(10_000),
        }
    }

    fn failed() -> Result<(), String> {
        Err("connection refused".into())
    }

    #[test]
    fn a_run_is_healthy_after_one_success_and_unhealthy_after_three_failures() {
        let (mut streak, check) = (Streak::new(false), check());
        let mut record = |result, age| streak.record(&check, result, Duration::from_secs(age)).healthy;
        let steps = [
            (failed(), 1, false),
            (Ok(()), 2, true),
            (failed(), 9, true),
            (failed(), 11, true),
            (failed(), 12, true),
            (Ok(()), 13, true),
            (failed(), 14, true),
            (failed(), 15, true),
            (failed(), 16, false),
            (failed(), 17, false),
            (Ok(()), 18, true),
        ];
        for (result, age, expected) in steps {
            assert_eq!(record(result.clone(), age), expected, "{result:?} at {age}");
        }
    }

    #[test]
    fn the_reason_is_said_once_it_is_certain_and_does_not_change_with_every_try() {
        let (mut streak, check) = (Streak::new(false), check());
        let mut record = |age| streak.record(&check, failed(), Duration::from_secs(age)).message;
        assert_eq!([record(1), record(11), record(12)], [None, None, None]);
        let message = record(13);
        assert_eq!(message.as_deref(), Some("failed its check 3 times in a row: connection refused"));
        assert_eq!(record(14), message);
    }

    #[test]
    fn it_is_tried_eagerly_until_it_first_passes_within_its_grace() {
        let (mut streak, check) = (Streak::new(false), check());
        let pauses = [0, 40, 5000].map(|age| streak.pause(&check, Duration::from_millis(age)).as_millis());
        assert_eq!(pauses, [5, 10, 50]);
        assert_eq!(streak.pause(&check, Duration::from_secs(11)), Duration::from_secs(1));
        streak.record(&check, Ok(()), Duration::ZERO);
        assert_eq!(streak.pause(&check, Duration::ZERO), Duration::from_secs(1));
    }

    proptest! {
        #[test]
        fn the_last_results_decide(results in prop::collection::vec(any::<bool>(), 0..20), before: bool) {
            let (mut streak, check) = (Streak::new(before), check());
            let mut healthy = before;
            for passed in &results {
                let result = if *passed { Ok(()) } else { failed() };
                healthy = streak.record(&check, result, Duration::from_secs(60)).healthy;
            }
            let failing = results.iter().rev().take_while(|passed| !**passed).count();
            prop_assert_eq!(healthy, failing < 3 && (before || results.contains(&true)));
        }
    }
}
