//! What a reconciler has to look at, and when: one entry per subject, the soonest time asked for.
//!
//! Used by the loop and by the simulated controller. Invariant: a subject is due at most once.

use freehold_model::AnyId;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeSet, HashMap};

/// How often a failed subject is tried again at once, before it waits.
const AT_ONCE: u32 = 5;
/// The first wait; it doubles with each failure.
const FIRST_WAIT: SignedDuration = SignedDuration::from_millis(100);
/// The longest wait.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_secs(30);

/// Subjects in the order of their times.
#[derive(Debug, Default)]
pub struct Agenda {
    order: BTreeSet<(Timestamp, AnyId)>,
    due: HashMap<AnyId, Timestamp>,
    failures: HashMap<AnyId, u32>,
}

impl Agenda {
    /// Looks at `subject` at `time`, or sooner if that was asked for before.
    pub fn add(&mut self, subject: AnyId, time: Timestamp) {
        match self.due.get(&subject) {
            Some(sooner) if *sooner <= time => return,
            Some(later) => self.order.remove(&(*later, subject)),
            None => false,
        };
        self.due.insert(subject, time);
        self.order.insert((time, subject));
    }

    /// When the next subject is due.
    pub fn next(&self) -> Option<Timestamp> {
        self.order.first().map(|(time, _)| *time)
    }

    /// Takes the subject that has been due the longest, if any is.
    pub fn take(&mut self, now: Timestamp) -> Option<AnyId> {
        let (time, subject) = *self.order.first()?;
        if time > now {
            return None;
        }
        self.order.remove(&(time, subject));
        self.due.remove(&subject);
        Some(subject)
    }

    /// Notes that `subject` was decided well: look again at `wake`.
    pub fn settle(&mut self, subject: AnyId, wake: Option<Timestamp>) {
        self.failures.remove(&subject);
        if let Some(wake) = wake {
            self.add(subject, wake);
        }
    }

    /// Notes that `subject` met a conflict: tried again at once a few times, then less and less often.
    pub fn conflicted(&mut self, subject: AnyId, now: Timestamp) {
        let failures = self.failed_again(subject);
        let wait = failures.checked_sub(AT_ONCE).map_or(SignedDuration::ZERO, backoff);
        self.add(subject, now.saturating_add(wait).unwrap_or(now));
    }

    /// Notes that the engine failed over `subject`: tried again less and less often. Returns the wait.
    pub fn failed(&mut self, subject: AnyId, now: Timestamp) -> SignedDuration {
        let wait = backoff(self.failed_again(subject));
        self.add(subject, now.saturating_add(wait).unwrap_or(now));
        wait
    }

    fn failed_again(&mut self, subject: AnyId) -> u32 {
        let count = self.failures.entry(subject).or_default();
        *count += 1;
        *count
    }
}

fn backoff(failures: u32) -> SignedDuration {
    let factor = 1_i32 << failures.min(16);
    FIRST_WAIT.checked_mul(factor).unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_model::AppId;
    use ulid::Ulid;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn app(n: u128) -> AnyId {
        AppId(Ulid(n)).into()
    }

    #[test]
    fn the_sooner_of_two_times_counts_and_the_order_is_that_of_times() {
        let mut agenda = Agenda::default();
        agenda.add(app(1), at(20));
        agenda.add(app(1), at(10));
        agenda.add(app(1), at(30));
        agenda.add(app(2), at(5));
        assert_eq!(agenda.next(), Some(at(5)));
        assert_eq!(agenda.take(at(4)), None);
        assert_eq!(agenda.take(at(30)), Some(app(2)));
        assert_eq!(agenda.take(at(30)), Some(app(1)));
        assert_eq!(agenda.take(at(99)), None);
    }

    #[test]
    fn conflicts_are_retried_at_once_and_then_ever_more_rarely() {
        let mut agenda = Agenda::default();
        let mut waits = vec![];
        for _ in 0..20 {
            agenda.conflicted(app(1), at(0));
            waits.push(agenda.next().unwrap().duration_since(at(0)));
            agenda.take(at(1000));
        }
        assert_eq!(waits[3], SignedDuration::ZERO);
        assert!(waits[5] > waits[4] && waits.is_sorted());
        assert_eq!(waits[19], LONGEST_WAIT);
        agenda.settle(app(1), None);
        agenda.conflicted(app(1), at(0));
        assert_eq!(agenda.next(), Some(at(0)), "success forgets failures");
    }
}
