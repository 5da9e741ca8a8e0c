//! Who else on this machine uses a network: interfaces with addresses in it, and routes into it.

use crate::{
    installation::{self, Installation, LINKS},
    netlink::{Netlink, SeenRoute},
    rootless,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::Ipv4Addr,
};

/// A route to more than this is a way out, as a VPN has one, and not a network.
const WAY_OUT: u8 = 7;

/// Who uses addresses of the network of `bits` bits that `address` is in, in words; links of `own` aside.
///
/// # Errors
/// When the kernel does not say.
pub fn users_of(address: Ipv4Addr, bits: u8, own: Option<&Installation>) -> io::Result<Vec<String>> {
    let own = own.cloned();
    rootless::inside(move || {
        let netlink = Netlink::open()?;
        let names = netlink.links()?.into_iter().map(|(name, link)| (link.index, name)).collect();
        let (addresses, routes) = (netlink.addresses()?, netlink.routes()?);
        Ok(users(
            Wanted { address, bits, own: installation::links(own.as_ref()) },
            &names,
            &addresses,
            &routes,
        ))
    })
}

struct Wanted {
    address: Ipv4Addr,
    bits: u8,
    /// How the names of its own links begin.
    own: String,
}

fn users(
    wanted: Wanted,
    names: &BTreeMap<u32, String>,
    addresses: &BTreeSet<(u32, Ipv4Addr, u8)>,
    routes: &[SeenRoute],
) -> Vec<String> {
    let ours = |link: &u32| names.get(link).is_some_and(|name| name.starts_with(&wanted.own));
    let overlaps = |network: Ipv4Addr, bits: u8| {
        let common = bits.min(wanted.bits);
        bits > WAY_OUT && (network.to_bits() ^ wanted.address.to_bits()) >> (32 - u32::from(common)) == 0
    };
    let mut found = BTreeMap::new();
    for (link, address, bits) in addresses.iter().filter(|(link, ..)| !ours(link)) {
        if overlaps(*address, *bits) {
            found.entry(link).or_insert_with(|| format!("has the address {address}/{bits}"));
        }
    }
    for route in routes.iter().filter(|route| !ours(&route.link)) {
        if overlaps(route.to, route.bits) {
            found.entry(&route.link).or_insert_with(|| format!("has a route to {}/{}", route.to, route.bits));
        }
    }
    let named = |(link, what): (&u32, String)| match names.get(link) {
        Some(name) if name.starts_with(LINKS) => format!("another Freehold (its link {name} {what})"),
        Some(name) => format!("the interface {name} {what}"),
        None => format!("an interface that no longer exists {what}"),
    };
    found.into_iter().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(own: &str, addresses: &[(u32, &str, u8)], routes: &[(&str, u8, u32)]) -> Vec<String> {
        let wanted = Wanted { address: Ipv4Addr::new(10, 210, 0, 1), bits: 16, own: own.into() };
        let names = [(1, "lo"), (2, "eth0"), (3, "tun0"), (4, "fhab2cxxxxxxxxx")];
        let names = names.map(|(index, name)| (index, name.to_owned())).into();
        let addresses =
            addresses.iter().map(|(link, address, bits)| (*link, address.parse().unwrap(), *bits)).collect();
        let routes: Vec<SeenRoute> = routes
            .iter()
            .map(|(to, bits, link)| SeenRoute { to: to.parse().unwrap(), bits: *bits, link: *link })
            .collect();
        users(wanted, &names, &addresses, &routes)
    }

    #[test]
    fn whoever_uses_it_is_named_and_ways_out_are_nobody() {
        let nobody: &[String] = &[];
        assert_eq!(
            said("fhzzzz", &[(1, "127.0.0.1", 8), (2, "192.168.1.5", 24)], &[("0.0.0.0", 0, 2)]),
            nobody
        );
        assert_eq!(
            said("fhzzzz", &[], &[("0.0.0.0", 1, 3), ("128.0.0.0", 1, 3)]),
            nobody,
            "a VPN that takes all"
        );
        assert_eq!(
            said("fhzzzz", &[(2, "10.210.7.1", 24)], &[]),
            ["the interface eth0 has the address 10.210.7.1/24"]
        );
        assert_eq!(
            said("fhzzzz", &[(2, "10.3.7.1", 8)], &[]),
            ["the interface eth0 has the address 10.3.7.1/8"]
        );
        assert_eq!(
            said("fhzzzz", &[], &[("10.210.9.0", 24, 3)]),
            ["the interface tun0 has a route to 10.210.9.0/24"]
        );
        assert_eq!(said("fhzzzz", &[], &[("10.211.0.0", 16, 3)]), nobody);
        let link = [(4, "10.210.0.1", 32)];
        assert_eq!(
            said("fhzzzz", &link, &[("10.210.0.2", 32, 4)]),
            ["another Freehold (its link fhab2cxxxxxxxxx has the address 10.210.0.1/32)"]
        );
        assert_eq!(said("fhab2c", &link, &[("10.210.0.2", 32, 4)]), nobody, "its own");
    }
}
