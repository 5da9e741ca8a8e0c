//! Addresses of instances: the lowest free one of the house's range.
//!
//! Invariant: who takes an address claims it in the same transaction, so a race costs a conflict. The range is
//! chosen before anything has an address, and stays while anything has one.

use crate::claims;
use freehold_model::Claim;
use freehold_reconcile::{StoreError, View};
use std::{collections::BTreeSet, fmt, net::Ipv4Addr, str::FromStr};

/// The range of a house that has not chosen another.
pub const DEFAULT: Range = Range { first: Ipv4Addr::new(10, 210, 0, 0), bits: 16 };

/// What a house tries in turn where the default is used by somebody else: private networks (RFC 1918) that
/// routers and container engines do not give out by themselves.
pub const CANDIDATES: [Range; 8] = [
    DEFAULT,
    Range { first: Ipv4Addr::new(10, 211, 0, 0), bits: 16 },
    Range { first: Ipv4Addr::new(10, 212, 0, 0), bits: 16 },
    Range { first: Ipv4Addr::new(10, 213, 0, 0), bits: 16 },
    Range { first: Ipv4Addr::new(10, 214, 0, 0), bits: 16 },
    Range { first: Ipv4Addr::new(172, 29, 0, 0), bits: 16 },
    Range { first: Ipv4Addr::new(172, 30, 0, 0), bits: 16 },
    Range { first: Ipv4Addr::new(192, 168, 208, 0), bits: 20 },
];

/// The IPv4 network that instances have their addresses in, on every node of a house.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    first: Ipv4Addr,
    bits: u8,
}

/// What is no range for instances, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no range for instances: write a private network of 16 to 24 bits, as 10.211.0.0/16")]
pub struct RangeError(String);

impl Range {
    /// The node itself, as its instances see it: the first address after the network's own.
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.first.to_bits() + 1)
    }

    /// How many bits all its addresses have in common.
    pub fn bits(self) -> u8 {
        self.bits
    }

    /// Whether an address is in it.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        (self.first.to_bits() ^ address.to_bits()) >> (32 - u32::from(self.bits)) == 0
    }

    /// The last address that is not the broadcast address.
    fn last(self) -> Ipv4Addr {
        Ipv4Addr::from_bits((self.first.to_bits() | u32::MAX >> self.bits) - 1)
    }

    /// The range of a house.
    ///
    /// # Errors
    /// When the view fails.
    pub fn of(view: &dyn View) -> Result<Range, StoreError> {
        let claims = view.claims(Claim::RANGE)?;
        Ok(claims.iter().find_map(|claim| claim.key.parse().ok()).unwrap_or(DEFAULT))
    }
}

impl FromStr for Range {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Range, RangeError> {
        let read = || {
            let (first, bits) = text.split_once('/')?;
            let (first, bits): (Ipv4Addr, u8) = (first.parse().ok()?, bits.parse().ok()?);
            let whole = first.to_bits() & (u32::MAX >> bits.min(31)) == 0;
            ((16..=24).contains(&bits) && whole && first.is_private()).then_some(Range { first, bits })
        };
        read().ok_or_else(|| RangeError(text.chars().take(64).collect()))
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

/// The addresses that are free as of one view; each is given out once.
pub struct Pool {
    taken: BTreeSet<Ipv4Addr>,
    next: u32,
    last: u32,
}

impl Pool {
    /// The pool as of `view`.
    ///
    /// # Errors
    /// When the view fails.
    pub fn new(view: &dyn View) -> Result<Pool, StoreError> {
        let claims = view.claims(claims::ADDRESS)?;
        let taken = claims.iter().filter_map(|claim| claim.key.parse().ok()).collect();
        Ok(Pool::of(Range::of(view)?, taken))
    }

    fn of(range: Range, taken: BTreeSet<Ipv4Addr>) -> Pool {
        Pool { taken, next: range.gateway().to_bits() + 1, last: range.last().to_bits() }
    }

    /// The lowest free address; `None` when all are in use: 65,533 in a range of 16 bits.
    pub fn take(&mut self) -> Option<Ipv4Addr> {
        let mut rest = (self.next..=self.last).map(Ipv4Addr::from_bits);
        let free = rest.find(|address| !self.taken.contains(address))?;
        self.next = free.to_bits() + 1;
        Some(free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_address_is_next_and_none_is_given_twice() {
        let taken = [Ipv4Addr::new(10, 210, 0, 2), Ipv4Addr::new(10, 210, 0, 4)].into();
        let mut pool = Pool::of(DEFAULT, taken);
        let first: Vec<_> = std::iter::from_fn(|| pool.take()).take(3).map(|a| a.to_string()).collect();
        assert_eq!(first, ["10.210.0.3", "10.210.0.5", "10.210.0.6"]);
        assert_eq!(std::iter::from_fn(|| pool.take()).count(), 65_533 - 5);
    }
    #[test]
    fn ranges_are_private_whole_and_of_a_size_that_makes_sense() {
        for good in ["10.211.0.0/16", "192.168.208.0/20", "172.30.4.0/24"] {
            assert_eq!(good.parse::<Range>().unwrap().to_string(), good);
        }
        for bad in
            ["10.211.0.0", "10.211.0.1/16", "8.8.0.0/16", "10.0.0.0/8", "10.0.0.0/25", "10.0.0.0/200", "x/16"]
        {
            let said = bad.parse::<Range>().unwrap_err().to_string();
            assert!(said.contains(bad) && said.contains("10.211.0.0/16"), "{said}");
        }
        let range: Range = "192.168.208.0/20".parse().unwrap();
        assert_eq!(range.gateway().to_string(), "192.168.208.1");
        assert!(range.contains("192.168.223.255".parse().unwrap()));
        assert!(!range.contains("192.168.224.0".parse().unwrap()));
        let all: Vec<_> = {
            let mut pool = Pool::of("172.30.4.0/24".parse().unwrap(), BTreeSet::new());
            std::iter::from_fn(|| pool.take()).collect()
        };
        assert_eq!((all.len(), all[0].octets()[3], all[252].octets()[3]), (253, 2, 254));
    }

    #[test]
    fn candidates_are_ranges() {
        for candidate in CANDIDATES {
            assert_eq!(candidate.to_string().parse(), Ok(candidate));
        }
    }
}
