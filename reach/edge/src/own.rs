//! An IPv6 address for each endpoint, from a prefix that is this platform's alone (RFC 4193): random,
//! held as a claim since the first start. Which address whose is, is decided here; claimed in the store;
//! and made reachable by one route, which sends the whole of the endpoints' /64 to this machine itself.
//!
//! Invariants: an endpoint keeps the address that it has claimed. The route is made anew at each start
//! and taken away at the end, so what a crash left is what the next start wants.

mod route;

pub(crate) use route::Network;

use freehold_model::{Claim, EndpointId};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

/// The scope of the claim on the platform's prefix, whose key is its first address.
pub const PREFIX: &str = "prefix6";
/// The scope of the claims that endpoints have on their addresses.
pub(crate) const ADDRESS: &str = "address6";
/// The subnet of the prefix in which endpoints have their addresses.
const SUBNET: u16 = 0xed6e;

/// The platform's prefix, /48.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix(u128);

impl Prefix {
    /// The prefix of these random bits: `fd`, and 40 of them.
    pub fn random(bits: u128) -> Prefix {
        Prefix((0xfd << 120) | ((bits % (1 << 40)) << 80))
    }

    /// The one that is claimed.
    pub(crate) fn claimed(claims: &[Claim]) -> Option<Prefix> {
        let address: Ipv6Addr = claims.first()?.key.parse().ok()?;
        Some(Prefix(u128::from(address)))
    }

    /// Its first address.
    pub fn address(self) -> Ipv6Addr {
        self.0.into()
    }

    /// The first address of the endpoints' /64.
    pub(crate) fn endpoints(self) -> Ipv6Addr {
        (self.0 | (u128::from(SUBNET) << 64)).into()
    }

    /// The `attempt`-th address that suits an endpoint.
    fn of(self, endpoint: EndpointId, attempt: u8) -> Ipv6Addr {
        let hash = Sha256::new().chain_update(endpoint.to_string()).chain_update([attempt]).finalize();
        let host = hash.iter().take(8).fold(0, |sum: u64, byte| (sum << 8) | u64::from(*byte));
        (u128::from(self.endpoints()) | u128::from(host)).into()
    }
}

/// The address of each of `endpoints`: the one that it holds by `claims`, or one that nobody holds.
pub(crate) fn addresses(
    prefix: Prefix,
    endpoints: impl Iterator<Item = EndpointId>,
    claims: &[Claim],
) -> BTreeMap<EndpointId, Ipv6Addr> {
    let held = claims.iter().filter_map(|claim| Some((claim.key.parse::<Ipv6Addr>().ok()?, claim.owner)));
    let held: Vec<_> = held.collect();
    let mut taken: BTreeSet<_> = held.iter().map(|(address, _)| *address).collect();
    let mut choose = |endpoint: EndpointId| {
        let own = held.iter().find(|(_, owner)| *owner == endpoint.into()).map(|(address, _)| *address);
        let free = || (0..=u8::MAX).map(|n| prefix.of(endpoint, n)).find(|address| !taken.contains(address));
        let address = own.or_else(free)?;
        taken.insert(address);
        Some((endpoint, address))
    };
    endpoints.filter_map(&mut choose).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ulid::Ulid;

    fn endpoint(n: u128) -> EndpointId {
        EndpointId(Ulid(n))
    }

    fn claim(address: Ipv6Addr, owner: EndpointId) -> Claim {
        Claim { scope: ADDRESS.into(), key: address.to_string(), owner: owner.into() }
    }

    #[test]
    fn a_prefix_is_a_unique_local_one() {
        for bits in [0, u128::MAX, 0x12_3456_789a] {
            let prefix = Prefix::random(bits);
            assert_eq!(prefix.address().octets()[0], 0xfd);
            assert_eq!(u128::from(prefix.address()) << 48, 0, "{}", prefix.address());
            let key = prefix.address().to_string();
            let claims = [Claim { scope: PREFIX.into(), key, owner: endpoint(1).into() }];
            assert_eq!(Prefix::claimed(&claims), Some(prefix));
        }
        let example = Prefix::random(0x12_3456_789a);
        assert_eq!(example.endpoints().to_string(), "fd12:3456:789a:ed6e::");
    }

    #[test]
    fn an_endpoint_keeps_its_address_and_shares_it_with_nobody() {
        let prefix = Prefix::random(7);
        let all = || (1..=3).map(endpoint);
        let first = addresses(prefix, all(), &[]);
        assert_eq!(first.values().collect::<BTreeSet<_>>().len(), 3);
        assert!(first.values().all(|ip| u128::from(*ip) >> 64 == u128::from(prefix.endpoints()) >> 64));
        // Another holds what the second would have.
        let claims = [claim(first[&endpoint(2)], endpoint(9)), claim(first[&endpoint(3)], endpoint(1))];
        let second = addresses(prefix, all(), &claims);
        assert_eq!(second[&endpoint(1)], first[&endpoint(3)], "what is claimed stays");
        assert_eq!(second.values().collect::<BTreeSet<_>>().len(), 3);
        assert!(!second.values().any(|ip| *ip == first[&endpoint(2)]));
    }
}
