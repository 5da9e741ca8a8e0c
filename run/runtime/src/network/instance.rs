//! The rules inside an instance: what its egress opens, and nothing else.
//!
//! Set by the shim before the first process runs, in the instance's network namespace, which has them until
//! its end. What names stand for is added by the node's resolver ([`super::within`]).

use super::TABLE;
use crate::{
    Launch,
    netfilter::{
        Batch, Expr, Family, Hook, Key, Set, Verdict, all, destination, established, port, protocol, source,
        to_links,
    },
};
use freehold_model::manifest::{Destination, Egress, NODE, Protocol};
use std::{net::Ipv4Addr, path::Path};

/// Addresses of names, with protocol and port.
pub(super) const SERVICES: &str = "names";
/// Addresses of names that are open on every port.
pub(super) const HOSTS: &str = "hosts";

const CHAIN: &str = "output";
const BOTH: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];
/// Where clouds keep the keys of their machines (RFC 3927): open to nobody who does not name the address.
const LINK_LOCAL: (Ipv4Addr, u8) = (Ipv4Addr::new(169, 254, 0, 0), 16);

/// Everything that is set in the instance's network namespace.
pub(crate) fn rules(launch: &Launch) -> Batch {
    let mut batch = Batch::to(Family::Ipv4, TABLE).anew();
    let names = Set { name: SERVICES, key: Key::SERVICE, expires: true, verdicts: false };
    batch.set(names);
    batch.set(Set { name: HOSTS, key: Key::ADDRESS, ..names });
    batch.base_chain(CHAIN, Hook::OUTPUT);
    let accept = || vec![Expr::Then(Verdict::Accept)];
    let reject = || vec![Expr::Count, Expr::Reject];
    let mut rule = |expressions: Vec<Expr<'_>>| batch.rule(CHAIN, &expressions);
    rule(all([to_links(true, "lo\0"), accept()]));
    rule(all([established(), accept()]));
    rule(all([source(false, launch.address, 32), vec![Expr::Then(Verdict::Drop)]]));
    let node = launch.gateway;
    for one in BOTH {
        rule(all([destination(true, node, 32), protocol(one), port(53), accept()]));
    }
    let (single, wide): (Vec<_>, Vec<_>) = opened(launch).partition(|(_, bits, _)| *bits == 32);
    for (address, bits, egress) in single {
        services(egress).for_each(|service| rule(all([destination(true, address, bits), service, accept()])));
    }
    rule(all([Expr::service_in(SERVICES), accept()]));
    rule(all([Expr::destination_in(HOSTS), accept()]));
    // Neither the node nor other instances are outside, whatever networks are open.
    rule(all([destination(true, node, 32), reject()]));
    rule(all([destination(true, node, launch.network_bits), accept()]));
    rule(all([destination(true, LINK_LOCAL.0, LINK_LOCAL.1), reject()]));
    for (address, bits, egress) in wide {
        services(egress).for_each(|service| rule(all([destination(true, address, bits), service, accept()])));
    }
    rule(reject());
    if !Path::new("/proc/net/if_inet6").exists() {
        return batch;
    }
    let mut batch = batch.and(Family::Ipv6, TABLE).anew();
    batch.base_chain(CHAIN, Hook::OUTPUT);
    batch.rule(CHAIN, &all([to_links(true, "lo\0"), accept()]));
    batch
}

/// The networks among what is open, the node's own address among them.
fn opened(launch: &Launch) -> impl Iterator<Item = (Ipv4Addr, u8, &Egress)> {
    launch.egress.iter().filter_map(|one| match &one.to {
        Destination::Name(name) if name == NODE => Some((launch.gateway, 32, one)),
        Destination::Anywhere => Some((Ipv4Addr::UNSPECIFIED, 0, one)),
        Destination::Network(address, bits) => Some((*address, *bits, one)),
        Destination::Name(_) | Destination::Below(_) => None,
    })
}

/// How port and protocol are asked for: one way or two.
fn services(egress: &Egress) -> impl Iterator<Item = Vec<Expr<'static>>> {
    let protocols: Vec<Option<Protocol>> = match (egress.port, egress.protocol) {
        (None, None) => vec![None],
        (_, Some(one)) => vec![Some(one)],
        (Some(_), None) => BOTH.into_iter().map(Some).collect(),
    };
    let wanted = egress.port;
    protocols.into_iter().map(move |one| {
        let protocol = one.map(protocol).unwrap_or_default();
        all([protocol, wanted.map(port).unwrap_or_default()])
    })
}
