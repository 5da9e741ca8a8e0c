//! Time and ids of a simulated world.

use super::random::Random;
use crate::ports::{Clock, Ids};
use jiff::Timestamp;
use std::sync::atomic::{AtomicI64, Ordering};
use ulid::Ulid;

/// A clock that stands still until the world moves it on.
#[derive(Debug)]
pub struct SimClock(AtomicI64);

impl SimClock {
    /// Every world begins at this second.
    const START: i64 = 1_800_000_000;

    /// A clock at the beginning of the world.
    pub fn new() -> SimClock {
        SimClock(AtomicI64::new(SimClock::START * 1000))
    }

    /// Moves on to `time`; never goes back.
    pub fn set(&self, time: Timestamp) {
        self.0.fetch_max(time.as_millisecond(), Ordering::SeqCst);
    }

    /// Now and so many milliseconds.
    pub fn after(&self, millis: u64) -> Timestamp {
        self.now() + std::time::Duration::from_millis(millis)
    }
}

impl Default for SimClock {
    fn default() -> SimClock {
        SimClock::new()
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.load(Ordering::SeqCst)).unwrap_or(Timestamp::MAX)
    }
}

/// Ids in order of their making, with seeded randomness.
#[derive(Debug)]
pub struct SimIds {
    count: u64,
    random: Random,
}

impl SimIds {
    /// The same seed gives the same ids.
    pub fn new(seed: u64) -> SimIds {
        SimIds { count: 0, random: Random::new(seed ^ 0x1d5) }
    }
}

impl Ids for SimIds {
    fn ulid(&mut self) -> Ulid {
        self.count += 1;
        Ulid::from_parts(self.count, self.random.draw().into())
    }
}
