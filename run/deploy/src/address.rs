//! Addresses of instances: the lowest free one of the pool.
//!
//! Invariant: who takes an address claims it in the same transaction, so a race costs a conflict.

use crate::claims;
use freehold_reconcile::{StoreError, View};
use std::{collections::BTreeSet, net::Ipv4Addr};

/// The node itself, as its instances see it: the first address of the pool 10.210.0.0/16.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 210, 0, 1);
/// How many bits of it all addresses of the pool have.
pub const BITS: u8 = 16;
/// The lowest address of an instance.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 210, 0, 2);
/// The last address that is not the broadcast address.
const LAST: Ipv4Addr = Ipv4Addr::new(10, 210, 255, 254);

/// The addresses that are free as of one view; each is given out once.
pub struct Pool {
    taken: BTreeSet<Ipv4Addr>,
    next: u32,
}

impl Pool {
    /// The pool as of `view`.
    ///
    /// # Errors
    /// When the view fails.
    pub fn new(view: &dyn View) -> Result<Pool, StoreError> {
        let claims = view.claims(claims::ADDRESS)?;
        let taken = claims.iter().filter_map(|claim| claim.key.parse().ok()).collect();
        Ok(Pool { taken, next: FIRST.to_bits() })
    }

    /// The lowest free address; `None` when all 65,533 are in use.
    pub fn take(&mut self) -> Option<Ipv4Addr> {
        let mut rest = (self.next..=LAST.to_bits()).map(Ipv4Addr::from_bits);
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
        let taken = [FIRST, Ipv4Addr::new(10, 210, 0, 4)].into();
        let mut pool = Pool { taken, next: FIRST.to_bits() };
        let first: Vec<_> = std::iter::from_fn(|| pool.take()).take(3).map(|a| a.to_string()).collect();
        assert_eq!(first, ["10.210.0.3", "10.210.0.5", "10.210.0.6"]);
        assert_eq!(std::iter::from_fn(|| pool.take()).count(), 65_533 - 5);
    }
}
