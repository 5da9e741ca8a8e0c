//! How many requests each caller has made of late: token buckets, as the generic cell rate algorithm keeps them
//! (ITU-T I.371, annex A): one time per caller, at which its bucket will be full again.
//!
//! Asked by the API's guard for every request. In memory, of this control plane alone: several of them let
//! through as many times as much. Invariant: what strangers cause to be remembered is bounded, and callers who
//! proved who they are are never forgotten for their sake.

use crate::Identity;
use freehold_model::{Rate, TokenId, UserId};
use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// So many callers of each kind are remembered; those whose buckets are full again go first.
const REMEMBERED: usize = 20_000;

/// Whose requests are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RateOf {
    /// All that one token lets in.
    Token(TokenId),
    /// All sessions of one person.
    User(UserId),
    /// An address without a valid token: of a household's IPv6 prefix, all of it.
    Address([u8; 8]),
}

/// More than a caller may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany {
    /// What it may.
    pub limit: Rate,
    /// When it may again.
    pub retry_after: Duration,
}

/// One caller's: when it will be full again, of what it may. Another limit is another bucket.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    limit: Rate,
    full: Duration,
}

/// The buckets of all callers.
#[derive(Debug)]
pub struct Rates {
    began: Instant,
    callers: Mutex<HashMap<RateOf, Bucket>>,
    strangers: Mutex<HashMap<RateOf, Bucket>>,
}

impl Default for Rates {
    fn default() -> Rates {
        Rates { began: Instant::now(), callers: Mutex::default(), strangers: Mutex::default() }
    }
}

impl RateOf {
    /// Whose requests `identity`'s are; none where nobody counts them: the owner of the data directory is never
    /// locked out, and nodes have a door of their own.
    pub fn of(identity: Identity) -> Option<RateOf> {
        match identity {
            Identity::Token(id) => Some(RateOf::Token(id)),
            Identity::User { user, .. } => Some(RateOf::User(user)),
            Identity::Root | Identity::Node(_) => None,
        }
    }

    /// Those of an address.
    pub fn address(address: Option<IpAddr>) -> RateOf {
        RateOf::Address(crate::people::attempts::source(address))
    }
}

impl Rates {
    /// Counts a request of `of`, of whom `limit` is borne.
    ///
    /// # Errors
    /// When that is too many; it is not counted then.
    pub fn count(&self, of: RateOf, limit: Rate) -> Result<(), TooMany> {
        self.count_at(of, limit, self.began.elapsed())
    }

    /// Whether `of` has nothing left now.
    pub fn is_spent(&self, of: RateOf, limit: Rate) -> bool {
        let all = self.all(of).lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.get(&of).filter(|bucket| bucket.limit == limit);
        known.is_some_and(|bucket| over(bucket.full, limit, self.began.elapsed()).is_some())
    }

    fn all(&self, of: RateOf) -> &Mutex<HashMap<RateOf, Bucket>> {
        match of {
            RateOf::Address(_) => &self.strangers,
            RateOf::Token(_) | RateOf::User(_) => &self.callers,
        }
    }

    fn count_at(&self, of: RateOf, limit: Rate, now: Duration) -> Result<(), TooMany> {
        let mut all = self.all(of).lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REMEMBERED && !all.contains_key(&of) {
            all.retain(|_, bucket| bucket.full > now);
            if all.len() >= REMEMBERED {
                all.clear();
            }
        }
        let fresh = Bucket { limit, full: now };
        let bucket = all.entry(of).or_insert(fresh);
        if bucket.limit != limit {
            *bucket = fresh;
        }
        if let Some(retry_after) = over(bucket.full, limit, now) {
            return Err(TooMany { limit, retry_after });
        }
        bucket.full = bucket.full.max(now) + limit.interval();
        Ok(())
    }
}

/// How long a bucket that is `full` again at that time has nothing more to give.
fn over(full: Duration, limit: Rate, now: Duration) -> Option<Duration> {
    let room = limit.interval() * (limit.burst() - 1);
    full.checked_sub(now + room).filter(|wait| !wait.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(number: u128) -> RateOf {
        RateOf::Token(TokenId(ulid::Ulid(number)))
    }

    #[test]
    fn so_many_at_once_and_then_as_they_grow_back() {
        let (rates, limit) = (Rates::default(), "60/min".parse().unwrap());
        let at = |seconds| rates.count_at(token(1), limit, Duration::from_secs(seconds));
        assert_eq!((0..100).filter(|_| at(5).is_ok()).count(), 60);
        let over = at(5).unwrap_err();
        assert_eq!((over.limit, over.retry_after), (limit, Duration::from_secs(1)));
        assert_eq!((0..100).filter(|_| at(8).is_ok()).count(), 3);
        assert_eq!((0..100).filter(|_| at(1000).is_ok()).count(), 60, "more than is full");
        assert!(rates.count_at(token(2), limit, Duration::from_secs(5)).is_ok(), "another's bucket");
    }

    #[test]
    fn who_goes_on_asking_is_let_in_as_often_as_who_waits() {
        let (rates, limit) = (Rates::default(), "10/s".parse().unwrap());
        let let_in =
            (0..10_000).filter(|ms| rates.count_at(token(1), limit, Duration::from_millis(*ms)).is_ok());
        assert_eq!(let_in.count(), 109, "ten at once, and one each 100 ms from then on");
    }

    #[test]
    fn strangers_are_forgotten_and_callers_are_not_for_their_sake() {
        let (rates, limit) = (Rates::default(), "1/h".parse().unwrap());
        assert!(rates.count(token(1), limit).is_ok());
        for number in 0..REMEMBERED as u32 + 10 {
            let _ = rates.count(RateOf::address(Some(IpAddr::V4(number.into()))), Rate::OF_STRANGERS);
        }
        assert!(rates.strangers.lock().unwrap().len() <= REMEMBERED);
        assert!(rates.count(token(1), limit).is_err() && rates.is_spent(token(1), limit));
        assert!(!rates.is_spent(token(2), limit));
    }
}
