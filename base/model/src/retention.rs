//! How long the event log reaches back: the house's rule, and when it counts.
//!
//! Kept in the org that the house belongs to, set by its owners. Invariant: a rule that lets go of more than the
//! one before counts only after [`LogRetention::DELAY`], and none lets go of what is younger than
//! [`Retention::LEAST`]: whoever would cover their tracks by it is seen first, in what is kept.

use crate::{Anchor, Millis, Seq};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What stays in the log: an event goes once neither half keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// What is younger than this; at least `30d`.
    pub keep: Millis,
    /// The newest so many, whatever their age.
    #[serde(default = "Retention::events")]
    #[schema(default = 10_000)]
    pub keep_events: u64,
}

impl Retention {
    /// Nothing younger ever goes.
    pub const LEAST: Millis = Millis(30 * 86_400_000);
    /// So many events stay where nothing is said: a clock that is far wrong does not empty the log.
    pub const EVENTS: u64 = 10_000;

    fn events() -> u64 {
        Retention::EVENTS
    }

    /// Whether it keeps all that `other` keeps.
    fn keeps_all_of(&self, other: &Retention) -> bool {
        self.keep >= other.keep && self.keep_events >= other.keep_events
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, and the newest {} events", self.keep, self.keep_events)
    }
}

/// The rule that was set last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LogRetention {
    /// What is kept; everything, for ever, if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Retention>,
    /// Who set it.
    pub by: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub set: Timestamp,
    /// From when on it counts.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// What counts until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_then: Option<Retention>,
}

impl LogRetention {
    /// How long a rule that keeps less waits.
    pub const DELAY: SignedDuration = SignedDuration::from_hours(7 * 24);

    /// What counts at `now`.
    pub fn in_force(&self, now: Timestamp) -> Option<Retention> {
        if now >= self.from { self.rule } else { self.until_then }
    }

    /// The state after `by` set `rule` at `now`. What was set and does not count yet is replaced.
    pub fn after(
        before: Option<&LogRetention>,
        rule: Option<Retention>,
        by: String,
        now: Timestamp,
    ) -> LogRetention {
        let counts = before.and_then(|before| before.in_force(now));
        let keeps_all = match (rule, counts) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(rule), Some(counts)) => rule.keeps_all_of(&counts),
        };
        let from = if keeps_all { now } else { now.saturating_add(LogRetention::DELAY).unwrap_or(now) };
        LogRetention { rule, by, set: now, from, until_then: if keeps_all { None } else { counts } }
    }
}

/// How far the log reaches back, and what is to become of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RetentionReport {
    /// What counts now; nothing: everything is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Retention>,
    /// What was set last, and when that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<LogRetention>,
    /// The first event that is kept.
    #[schema(value_type = u64)]
    pub first: Seq,
    /// The last event.
    #[schema(value_type = u64)]
    pub last: Seq,
    /// The end of what went, from which the rest is proved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<Anchor>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(days: u64, keep_events: u64) -> Option<Retention> {
        Some(Retention { keep: Millis(days * 86_400_000), keep_events })
    }

    fn at(day: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + day * 86_400).unwrap()
    }

    #[test]
    fn to_keep_less_waits_and_to_keep_more_does_not() {
        let set = |before: Option<&LogRetention>, rule, day| {
            LogRetention::after(before, rule, "user:ada".into(), at(day))
        };
        // From everything to something is less.
        let first = set(None, days(400, 10), 0);
        assert_eq!((first.in_force(at(6)), first.in_force(at(7))), (None, days(400, 10)));
        // Set anew before it counts, the delay begins anew; what counts meanwhile is what did.
        let again = set(Some(&first), days(90, 10), 3);
        assert_eq!((again.in_force(at(9)), again.in_force(at(10))), (None, days(90, 10)));
        // Less in either half is less.
        for less in [days(399, 10), days(400, 9), days(9999, 9)] {
            let less = set(Some(&first), less, 8);
            assert_eq!((less.in_force(at(14)), less.from), (days(400, 10), at(15)));
        }
        // As much or more counts at once, and so does off; both call off what waited.
        for more in [days(400, 10), days(500, 10), days(400, 11), None] {
            assert_eq!(set(Some(&first), more, 8).in_force(at(8)), more);
            let waiting = set(Some(&first), days(90, 10), 8);
            assert_eq!(set(Some(&waiting), more, 9).in_force(at(99)), more);
        }
    }

    #[test]
    fn a_rule_is_written_as_people_write_it() {
        let rule: Retention = serde_json::from_str(r#"{"keep": "400d"}"#).unwrap();
        assert_eq!(Some(rule), days(400, Retention::EVENTS));
        assert_eq!(rule.to_string(), "400d, and the newest 10000 events");
        assert!(serde_json::from_str::<Retention>(r#"{"keep": "400d", "events": 3}"#).is_err());
    }
}
