//! Remembers what was put back around instances: how often, when it may be tried again, and what is said of it.
//!
//! Pure: time is a parameter. Invariants: what is removed for the first time is put back at once; what is
//! removed again and again is put back with growing pauses; of one cause there is at most one event in
//! [`QUIET`], and the counts of its events add up to how often it was put back.

use crate::control::{Healed, Noticed};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// What was left alone for so long has a fresh start.
const CALM: Duration = Duration::from_secs(60);
/// The times in a row that it is put back at once.
const PATIENT: u32 = 3;
/// No pause is longer.
const LONGEST: Duration = Duration::from_secs(10);
/// Between two events of one cause.
const QUIET: Duration = Duration::from_secs(60);

/// Everything that was put back recently, by what it is.
#[derive(Debug)]
pub(crate) struct Ledger<K> {
    causes: BTreeMap<K, Cause>,
}

#[derive(Debug)]
struct Cause {
    /// When it was put back, or could not be, last.
    tried: Instant,
    /// How often in a row.
    times: u32,
    /// When an event told of it.
    said: Option<Instant>,
    /// What was put back and not told of.
    unsaid: Option<Healed>,
}

impl<K: Ord + Clone> Ledger<K> {
    pub(crate) fn new() -> Ledger<K> {
        Ledger { causes: BTreeMap::new() }
    }

    /// When it may be put back: now, or later.
    pub(crate) fn may_try(&self, key: &K, now: Instant) -> Result<(), Instant> {
        let Some(cause) = self.causes.get(key) else { return Ok(()) };
        let pause = match cause.times.checked_sub(PATIENT) {
            None => Duration::ZERO,
            Some(more) => Duration::from_secs(1 << more.min(5)).min(LONGEST),
        };
        let due = cause.tried + pause;
        if due <= now { Ok(()) } else { Err(due) }
    }

    /// It could not be put back.
    pub(crate) fn failed(&mut self, key: K, now: Instant) {
        self.tried(key, now);
    }

    /// It was put back; answers with what is to be told of it now.
    pub(crate) fn healed(&mut self, key: K, healed: Healed, now: Instant) -> Option<Healed> {
        let cause = self.tried(key, now);
        cause.unsaid = Some(match cause.unsaid.take() {
            Some(before) => {
                Healed { times: before.times + healed.times, gone: before.gone.max(healed.gone), ..healed }
            }
            None => healed,
        });
        cause.say(now)
    }

    fn tried(&mut self, key: K, now: Instant) -> &mut Cause {
        let fresh = || Cause { tried: now, times: 0, said: None, unsaid: None };
        let cause = self.causes.entry(key).or_insert_with(fresh);
        if now.duration_since(cause.tried) > CALM {
            cause.times = 0;
        }
        (cause.tried, cause.times) = (now, cause.times + 1);
        cause
    }

    /// Returns what was kept quiet and may be told; forgets what is long past.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Healed> {
        let due = self.causes.values_mut().filter_map(|cause| cause.say(now)).collect();
        self.causes.retain(|_, cause| {
            let told =
                cause.unsaid.is_none() && cause.said.is_none_or(|said| now.duration_since(said) > QUIET);
            !(told && now.duration_since(cause.tried) > CALM)
        });
        due
    }
}

impl Cause {
    fn say(&mut self, now: Instant) -> Option<Healed> {
        if self.said.is_some_and(|said| now.duration_since(said) < QUIET) {
            return None;
        }
        let told = self.unsaid.take()?;
        self.said = Some(now);
        Some(told)
    }
}

/// What is to be told of one thing that was put back, `gone` at most for so long.
pub(crate) fn healed(what: String, noticed: Noticed, gone: Duration) -> Healed {
    Healed { what, noticed, gone: u64::try_from(gone.as_millis()).unwrap_or(u64::MAX), times: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filter(gone: u64) -> Healed {
        healed("the table is gone".into(), Noticed::Notified, Duration::from_millis(gone))
    }

    #[test]
    fn the_first_is_told_at_once_and_later_ones_together() {
        let (mut ledger, begun) = (Ledger::new(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(ledger.healed("table", filter(5), at(0)), Some(filter(5)));
        assert_eq!(ledger.healed("table", filter(9), at(1)), None);
        assert_eq!(ledger.healed("table", filter(7), at(2)), None);
        // Another cause has nothing to do with it.
        assert_eq!(ledger.healed("link", filter(1), at(2)), Some(filter(1)));
        assert_eq!(ledger.due(at(30)), []);
        assert_eq!(ledger.due(at(61)), [Healed { times: 2, ..filter(9) }]);
        assert_eq!(ledger.due(at(62)), []);
        ledger.due(at(300));
        assert!(ledger.causes.is_empty(), "what is long past is forgotten");
    }

    #[test]
    fn what_is_fought_over_is_put_back_with_growing_pauses() {
        let (mut ledger, begun) = (Ledger::new(), Instant::now());
        let mut pauses = vec![];
        let mut now = begun;
        for _ in 0..10 {
            if let Err(due) = ledger.may_try(&"table", now) {
                pauses.push(due.duration_since(now).as_secs());
                now = due;
            } else {
                pauses.push(0);
            }
            let _ = ledger.healed("table", filter(1), now);
        }
        assert_eq!(pauses, [0, 0, 0, 1, 2, 4, 8, 10, 10, 10]);
        let later = now + CALM + Duration::from_secs(1);
        let _ = ledger.healed("table", filter(1), later);
        assert_eq!(ledger.may_try(&"table", later), Ok(()), "left alone for a while, it begins anew");
    }

    proptest! {
        #[test]
        fn there_is_no_flood_and_nothing_goes_untold(gaps in prop::collection::vec(0u64..200_000, 1..200)) {
            let (mut ledger, mut now) = (Ledger::new(), Instant::now());
            let (mut told, mut last): (u32, Option<Instant>) = (0, None);
            for gap in &gaps {
                now += Duration::from_millis(*gap);
                let mut all = ledger.due(now);
                all.extend(ledger.healed("table", filter(1), now));
                for event in all {
                    prop_assert!(last.is_none_or(|last| now.duration_since(last) >= QUIET));
                    last = Some(now);
                    told += event.times;
                }
            }
            told += ledger.due(now + QUIET).iter().map(|event| event.times).sum::<u32>();
            prop_assert_eq!(told as usize, gaps.len());
        }
    }
}
