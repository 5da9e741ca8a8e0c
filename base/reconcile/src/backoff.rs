//! How long to wait after a failure: twice as long after each one in a row, up to a limit. Pure.
//!
//! Used by every loop that tries again by itself. Invariant: no wait is zero, so what fails at once never
//! spins; a success makes the next wait the shortest again.

use std::time::Duration;

/// The waits of one thing that is tried again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits `first` after the first failure, and never more than `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Backoff {
        Backoff { first, longest, failures: 0 }
    }

    /// It failed once more: how long to wait before the next try.
    pub fn failed(&mut self) -> Duration {
        let factor = 1u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        self.first.saturating_mul(factor).clamp(Duration::from_millis(1), self.longest)
    }

    /// It succeeded.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// How often it failed in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let waits: Vec<u128> = (0..40).map(|_| backoff.failed().as_millis()).collect();
        assert_eq!(waits[..5], [100, 200, 400, 800, 1000]);
        assert!(waits[4..].iter().all(|wait| *wait == 1000), "{waits:?}");
        assert_eq!(backoff.failures(), 40);
        backoff.succeeded();
        assert_eq!(backoff.failed(), Duration::from_millis(100));
    }

    #[test]
    fn nothing_is_tried_again_at_once() {
        assert!(Backoff::new(Duration::ZERO, Duration::from_secs(1)).failed() > Duration::ZERO);
    }
}
