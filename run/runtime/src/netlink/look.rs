//! What the kernel says of links, addresses and routes: what is there, and where a packet would go.

use super::Netlink;
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{LinkAttribute, LinkFlags, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteType},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv4Addr},
};

/// A link as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeenLink {
    pub(crate) index: u32,
    pub(crate) up: bool,
}

/// A route as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeenRoute {
    pub(crate) to: Ipv4Addr,
    pub(crate) bits: u8,
    /// The interface that it leaves by.
    pub(crate) link: u32,
}

/// Where a packet would go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way {
    /// The interface that it would leave by.
    pub(crate) link: u32,
    /// The address that it would have as its source.
    pub(crate) from: Option<Ipv4Addr>,
}

impl Netlink {
    /// Every link, by name.
    pub(crate) fn links(&self) -> io::Result<BTreeMap<String, SeenLink>> {
        let answers = self.dump(RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_DUMP)?;
        let links = answers.into_iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(link) => {
                let seen =
                    SeenLink { index: link.header.index, up: link.header.flags.contains(LinkFlags::Up) };
                let name = link.attributes.into_iter().find_map(|attribute| match attribute {
                    LinkAttribute::IfName(name) => Some(name),
                    _ => None,
                });
                Some((name?, seen))
            }
            _ => None,
        });
        Ok(links.collect())
    }

    /// Every IPv4 address, with the number of its link and the bits of the network around it.
    pub(crate) fn addresses(&self) -> io::Result<BTreeSet<(u32, Ipv4Addr, u8)>> {
        let mut question = AddressMessage::default();
        question.header.family = AddressFamily::Inet;
        let answers = self.dump(RouteNetlinkMessage::GetAddress(question), NLM_F_DUMP)?;
        let addresses = answers.into_iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewAddress(message) => {
                let (index, bits) = (message.header.index, message.header.prefix_len);
                let local = message.attributes.into_iter().find_map(|attribute| match attribute {
                    AddressAttribute::Local(IpAddr::V4(address)) => Some(address),
                    _ => None,
                });
                Some((index, local?, bits))
            }
            _ => None,
        });
        Ok(addresses.collect())
    }

    /// Every IPv4 route to elsewhere, of all tables.
    pub(crate) fn routes(&self) -> io::Result<Vec<SeenRoute>> {
        let mut question = RouteMessage::default();
        question.header.address_family = AddressFamily::Inet;
        let answers = self.dump(RouteNetlinkMessage::GetRoute(question), NLM_F_DUMP)?;
        let routes = answers.into_iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewRoute(route) if route.header.kind == RouteType::Unicast => {
                let bits = route.header.destination_prefix_length;
                let (mut to, mut link) = (Ipv4Addr::UNSPECIFIED, None);
                for attribute in route.attributes {
                    match attribute {
                        RouteAttribute::Destination(RouteAddress::Inet(address)) => to = address,
                        RouteAttribute::Oif(index) => link = Some(index),
                        _ => {}
                    }
                }
                Some(SeenRoute { to, bits, link: link? })
            }
            _ => None,
        });
        Ok(routes.collect())
    }

    /// Where a packet to `address` would go; `None`: nowhere.
    pub(crate) fn way_to(&self, address: Ipv4Addr) -> io::Result<Option<Way>> {
        let mut question = RouteMessage::default();
        question.header.address_family = AddressFamily::Inet;
        question.header.destination_prefix_length = 32;
        question.attributes = vec![RouteAttribute::Destination(RouteAddress::Inet(address))];
        let answers = match self.dump(RouteNetlinkMessage::GetRoute(question), 0) {
            Err(error) if error.raw_os_error().is_some_and(|code| UNREACHABLE.contains(&code)) => {
                return Ok(None);
            }
            answers => answers?,
        };
        Ok(answers.into_iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewRoute(route) => {
                let link = route.attributes.iter().find_map(|attribute| match attribute {
                    RouteAttribute::Oif(index) => Some(*index),
                    _ => None,
                });
                let from = route.attributes.iter().find_map(|attribute| match attribute {
                    RouteAttribute::PrefSource(RouteAddress::Inet(address)) => Some(*address),
                    _ => None,
                });
                Some(Way { link: link?, from })
            }
            _ => None,
        }))
    }

    /// Asks, and answers with everything that comes.
    fn dump(&self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut found = vec![];
        loop {
            let (answer, _) = self.socket.recv_from_full()?;
            let mut rest = &answer[..];
            while rest.len() >= HEADER {
                let message =
                    NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(io::Error::other)?;
                let length = message.header.length as usize;
                match message.payload {
                    NetlinkPayload::Done(_) => return Ok(found),
                    NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                    NetlinkPayload::InnerMessage(inner) => found.push(inner),
                    _ => {}
                }
                if flags == 0 {
                    return Ok(found);
                }
                rest = rest.get(length.next_multiple_of(4).max(HEADER)..).unwrap_or_default();
            }
        }
    }
}

/// The size of a message's header.
const HEADER: usize = 16;
/// What is said of an address that no route leads to.
const UNREACHABLE: [i32; 4] =
    [nix::libc::ENETUNREACH, nix::libc::EHOSTUNREACH, nix::libc::EACCES, nix::libc::EINVAL];
