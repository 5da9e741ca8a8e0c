//! How often an address may try to sign in. In memory: who restarts the server gives everybody a fresh start,
//! which the lock of the account, which is stored, does not.
//!
//! Invariant: what strangers cause to be remembered is bounded.

use crate::TokenHash;
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

/// So many failures of one address are borne within [`WINDOW`].
const FAILURES: u32 = 20;
const WINDOW: SignedDuration = SignedDuration::from_mins(5);
/// So many addresses are remembered; then all are forgotten.
const REMEMBERED: usize = 20_000;

/// The failures of each address of late.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<HashMap<Source, (Timestamp, u32)>>);

/// An address, as far as one caller has it: a household has a whole IPv6 prefix.
type Source = [u8; 8];

impl Attempts {
    /// Whether this address may try now; otherwise, when again.
    ///
    /// # Errors
    /// The time from when on it may.
    pub fn may_try(&self, address: Option<IpAddr>, now: Timestamp) -> Result<(), Timestamp> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get(&source(address)) {
            Some((since, failures)) if *failures >= FAILURES && now < *since + WINDOW => Err(*since + WINDOW),
            _ => Ok(()),
        }
    }

    /// Notes a failure.
    pub fn failed(&self, address: Option<IpAddr>, now: Timestamp) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REMEMBERED {
            all.retain(|_, (since, _)| now < *since + WINDOW);
        }
        if all.len() >= REMEMBERED {
            all.clear();
        }
        let entry = all.entry(source(address)).or_insert((now, 0));
        if now >= entry.0 + WINDOW {
            *entry = (now, 0);
        }
        entry.1 = entry.1.saturating_add(1);
    }
}

/// The part of an address that one caller has.
pub(crate) fn source(address: Option<IpAddr>) -> Source {
    let mut source = [0; 8];
    match address.map(|address| address.to_canonical()) {
        Some(IpAddr::V4(v4)) => source[4..].copy_from_slice(&v4.octets()),
        Some(IpAddr::V6(v6)) => source.copy_from_slice(&v6.octets()[..8]),
        None => {}
    }
    source
}

/// What programs without a browser ask of late: how often whom asked for codes, and when which asked again.
#[derive(Debug, Default)]
pub struct Devices {
    /// Who asked for codes.
    pub asked: Attempts,
    /// Which asked what came of it.
    pub polls: Polls,
}

/// When each program asked last what came of its code.
#[derive(Debug, Default)]
pub struct Polls(Mutex<HashMap<String, Timestamp>>);

impl Polls {
    /// To be waited before each question.
    pub const INTERVAL: SignedDuration = SignedDuration::from_secs(2);

    /// Whether this is sooner than agreed after the last time, which is noted.
    pub fn too_soon(&self, code: &TokenHash, now: Timestamp) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REMEMBERED {
            all.clear();
        }
        // Clocks and networks are not that exact.
        let slack = SignedDuration::from_millis(500);
        all.insert(code.hex(), now).is_some_and(|last| now < last + Polls::INTERVAL - slack)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_waits_after_too_many_failures_and_others_do_not() {
        let attempts = Attempts::default();
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let at = |text: &str| Some(text.parse().unwrap());
        for _ in 0..FAILURES {
            assert!(attempts.may_try(at("192.0.2.1"), now).is_ok());
            attempts.failed(at("192.0.2.1"), now);
        }
        assert_eq!(attempts.may_try(at("192.0.2.1"), now), Err(now + WINDOW));
        assert!(attempts.may_try(at("::ffff:192.0.2.1"), now).is_err(), "the same in another notation");
        assert!(attempts.may_try(at("192.0.2.2"), now).is_ok());
        assert!(attempts.may_try(at("192.0.2.1"), now + WINDOW).is_ok());
        for _ in 0..FAILURES {
            attempts.failed(at("2001:db8::1"), now);
        }
        assert!(attempts.may_try(at("2001:db8::2"), now).is_err(), "a household has many addresses");
    }

    #[test]
    fn what_strangers_cause_is_bounded() {
        let attempts = Attempts::default();
        for number in 0..REMEMBERED as u32 + 10 {
            attempts.failed(Some(IpAddr::V4(number.into())), Timestamp::UNIX_EPOCH);
        }
        assert!(attempts.0.lock().unwrap().len() <= REMEMBERED);
    }
}
