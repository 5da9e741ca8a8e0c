//! The event log in memory: what is left of it, and what is kept of what was pruned.

use freehold_model::{Anchor, AnyId, Event, Link, Prune, Seq, Tombstone};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// The events behind the anchor, in order and without gaps.
#[derive(Debug, Default, Clone)]
pub(super) struct Log {
    pub anchor: Option<Anchor>,
    pub events: Vec<Event>,
    pub tombstones: BTreeMap<AnyId, Tombstone>,
}

impl Log {
    /// The place behind which it begins.
    pub(super) fn begin(&self) -> Seq {
        self.anchor.as_ref().map_or(0, |anchor| anchor.seq)
    }

    /// Its end.
    pub(super) fn end(&self) -> Link {
        let begin = || self.anchor.as_ref().map_or_else(Link::genesis, Anchor::link);
        self.events.last().map_or_else(begin, Link::of)
    }

    /// The events after `after`, as far as they are there.
    pub(super) fn after(&self, after: Seq) -> &[Event] {
        let start = usize::try_from(after.saturating_sub(self.begin())).unwrap_or(usize::MAX);
        &self.events[start.min(self.events.len())..]
    }

    /// The hash that an event carries.
    pub(super) fn hash(&self, seq: Seq) -> Option<&str> {
        self.after(seq.checked_sub(1)?).first().filter(|event| event.seq == seq).map(|event| &*event.hash)
    }

    /// Takes off what was planned, after the event about it was appended.
    pub(super) fn cut(&mut self, prune: &Prune, now: Timestamp) {
        let Some(hash) = self.hash(prune.last).map(str::to_owned) else { return };
        let count = self.events.partition_point(|event| event.seq <= prune.last);
        for event in self.events.drain(..count) {
            if let Some(stone) = Tombstone::of(&event) {
                self.tombstones.insert(event.subject, stone);
            } else if Tombstone::ends_with(&event) {
                self.tombstones.remove(&event.subject);
            }
        }
        let (seq, said, policy) = (prune.last, self.end().seq, prune.policy.clone());
        self.anchor = Some(Anchor { seq, hash, said, time: now, policy });
    }
}
