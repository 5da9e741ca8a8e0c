//! Who showed what, remembered for as long as nothing has changed: so that a request with a token costs no reads
//! of the store where the house is quiet.
//!
//! Asked by the guard alone. Invariant: an answer counts for the head of the log at which it was read and no
//! other, so whoever is revoked here is so from the commit on. Of commits of other control planes this one
//! hears within moments; should it not, nothing counts for longer than [`LONGEST`], less than a heartbeat.

use freehold_identity::{Admitted, TokenHash};
use freehold_model::Seq;
use jiff::Timestamp;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

const LONGEST: Duration = Duration::from_secs(2);
/// So many are remembered. Only who was let in is: strangers make nothing grow.
const REMEMBERED: usize = 10_000;

/// Those who were let in of late.
#[derive(Debug, Default)]
pub struct Known(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    head: Seq,
    since: Option<Instant>,
    all: HashMap<String, Admitted>,
}

impl Known {
    /// Who showed `shown` when the log ended at `head`, if that is known.
    pub(crate) fn find(&self, shown: &TokenHash, head: Seq, now: Timestamp) -> Option<Admitted> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = inner.head == head && inner.since.is_some_and(|since| since.elapsed() < LONGEST);
        inner.all.get(&shown.hex()).filter(|it| fresh && now < it.until).cloned()
    }

    /// Notes what was read after the log was seen to end at `head`.
    pub(crate) fn note(&self, shown: &TokenHash, head: Seq, admitted: &Admitted) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let old = inner.since.is_none_or(|since| since.elapsed() >= LONGEST);
        if head < inner.head {
            return;
        }
        if head > inner.head || old || inner.all.len() >= REMEMBERED {
            *inner = Inner { head, since: Some(Instant::now()), all: HashMap::new() };
        }
        inner.all.insert(shown.hex(), admitted.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_identity::Principal;
    use freehold_model::Rate;

    #[test]
    fn an_answer_counts_for_its_head_and_until_its_end() {
        let (known, shown) = (Known::default(), TokenHash::of("fh_1"));
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let until = now + jiff::SignedDuration::from_secs(10);
        let admitted =
            Admitted { principal: Principal::root(), until, rate: Rate::OF_CALLERS, withheld: vec![] };
        known.note(&shown, 7, &admitted);
        assert_eq!(known.find(&shown, 7, now), Some(admitted.clone()));
        assert_eq!(known.find(&TokenHash::of("fh_2"), 7, now), None);
        assert_eq!((known.find(&shown, 8, now), known.find(&shown, 7, until)), (None, None));
        known.note(&TokenHash::of("fh_2"), 8, &admitted);
        known.note(&shown, 7, &admitted);
        assert_eq!(
            (known.find(&shown, 7, now), known.find(&shown, 8, now)),
            (None, None),
            "what was is gone"
        );
    }
}
