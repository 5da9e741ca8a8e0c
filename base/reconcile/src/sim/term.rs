//! A simulated contender for the lease of a reconciler: what the keeper does in real time, and how it goes
//! wrong. Its wall clock jumps; its steady clock, which alone judges leases, does not.

use super::world::Context;
use crate::lease::{Ballot, TICK, TTL};
use freehold_model::{Fence, LeaseChange};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// The wall clock jumps once in so many ticks.
const JUMP: u64 = 400;

/// One control plane's part in one lease.
pub(super) struct Term {
    lease: &'static str,
    holder: String,
    ballot: Ballot,
    due: Option<Timestamp>,
    /// How far the wall clock is from the world's time.
    skew: SignedDuration,
}

impl Term {
    pub(super) fn new(lease: &'static str, holder: &str) -> Term {
        let (ballot, holder) = (ballot(lease, holder), holder.to_owned());
        Term { lease, holder, ballot, due: None, skew: SignedDuration::ZERO }
    }

    /// Forgets everything but its name, as a crash does.
    pub(super) fn crash(&mut self) {
        self.ballot = ballot(self.lease, &self.holder);
        self.due = None;
    }

    /// Renews, looks and takes, if it is time.
    pub(super) fn tick(&mut self, context: &mut Context) {
        let now = context.now();
        if self.due.is_some_and(|due| due > now) {
            return;
        }
        self.due = Some(context.clock.after(TICK.as_millis() as u64));
        if context.mishap(JUMP) {
            self.skew = SignedDuration::from_mins([-60, 0, 60][context.random.between(0, 3) as usize]);
            context.tell(format_args!("{}: the clock is {:#} off", self.holder, self.skew));
        }
        if self.ballot.holds_any() {
            context.store.change_lease_now(LeaseChange::Renew { holder: self.holder.clone() });
        }
        let before = self.ballot.leads(self.lease);
        for take in self.ballot.look(&context.store.leases_now(), steady(now)) {
            context.store.change_lease_now(take);
        }
        let _ = self.ballot.look(&context.store.leases_now(), steady(now));
        let after = self.ballot.leads(self.lease);
        if before != after {
            context.tell(format_args!("{}: {} from {before:?} to {after:?}", self.holder, self.lease));
        }
    }

    /// When to tick again.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.due
    }

    /// Under what it would commit, as far as it knows.
    pub(super) fn fence(&self) -> Option<Fence> {
        let version = self.ballot.leads(self.lease)?;
        Some(Fence { lease: self.lease.to_owned(), version })
    }

    /// Whether the store has it that this one holds the lease.
    pub(super) fn holds(&self, context: &Context) -> bool {
        context.store.leases_now().iter().any(|it| it.name == self.lease && it.holder == self.holder)
    }

    /// The world's time as its wall clock shows it, and back.
    pub(super) fn wall(&self, time: Timestamp) -> Timestamp {
        time.saturating_add(self.skew).unwrap_or(time)
    }

    pub(super) fn world(&self, time: Timestamp) -> Timestamp {
        time.saturating_sub(self.skew).unwrap_or(time)
    }
}

/// A contender that has seen nothing.
fn ballot(lease: &str, holder: &str) -> Ballot {
    let mut ballot = Ballot::new(holder, "", TTL);
    ballot.contest(lease);
    ballot
}

/// A clock that no jump moves.
fn steady(now: Timestamp) -> Duration {
    Duration::from_millis(now.as_millisecond().unsigned_abs())
}
