//! The few things said to the kernel about network links (rtnetlink(7)), one request at a time.
//!
//! A [`Netlink`] acts in the network namespace in which it was opened, wherever its thread is later.

mod look;

pub(crate) use look::{SeenLink, SeenRoute, Way};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use std::{
    io,
    net::{IpAddr, Ipv4Addr},
};

/// A conversation with the kernel.
pub(crate) struct Netlink {
    socket: Socket,
}

impl Netlink {
    /// Opens one in the current network namespace.
    pub(crate) fn open() -> io::Result<Netlink> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Netlink { socket })
    }

    /// Makes a pair of linked interfaces: `name` here, `peer` in the network namespace of `pid`.
    pub(crate) fn add_veth(&self, name: &str, peer: &str, pid: u32) -> io::Result<()> {
        let mut inner = LinkMessage::default();
        inner.attributes = vec![LinkAttribute::IfName(peer.into()), LinkAttribute::NetNsPid(pid)];
        let mut link = LinkMessage::default();
        link.attributes = vec![
            LinkAttribute::IfName(name.into()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(inner))),
            ]),
        ];
        self.request(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Removes an interface, and with it its peer. One that is not there is removed already.
    pub(crate) fn delete_link(&self, name: &str) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.attributes = vec![LinkAttribute::IfName(name.into())];
        match self.request(RouteNetlinkMessage::DelLink(link), 0) {
            Err(error) if error.raw_os_error() == Some(nix::libc::ENODEV) => Ok(()),
            result => result,
        }
    }

    /// The number by which the kernel knows an interface. One that is not there is an error of the kind
    /// `ENODEV`.
    pub(crate) fn index_of(&self, name: &str) -> io::Result<u32> {
        Ok(rustix::net::netdevice::name_to_index(&self.socket, name)?)
    }

    /// Gives an interface another name. It is set down for that, and loses its routes.
    pub(crate) fn rename(&self, index: u32, name: &str) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.change_mask = LinkFlags::Up;
        self.request(RouteNetlinkMessage::SetLink(link), 0)?;
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.attributes = vec![LinkAttribute::IfName(name.into())];
        self.request(RouteNetlinkMessage::SetLink(link), 0)
    }

    /// Sets an interface up.
    pub(crate) fn set_up(&self, index: u32) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        self.request(RouteNetlinkMessage::SetLink(link), 0)
    }

    /// Gives an interface a single address, without a network around it.
    pub(crate) fn add_address(&self, index: u32, address: Ipv4Addr) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.prefix_len = 32;
        message.header.index = index;
        let ip = IpAddr::V4(address);
        message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
        self.request(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Sends what is for `to` directly out of an interface, as coming from `from`. A route of another interface
    /// to the same address is another's, and stays.
    pub(crate) fn add_host_route(&self, index: u32, to: Ipv4Addr, from: Ipv4Addr) -> io::Result<()> {
        let mut message = RouteMessage::default();
        message.header = RouteHeader {
            address_family: AddressFamily::Inet,
            destination_prefix_length: 32,
            table: RouteHeader::RT_TABLE_MAIN,
            protocol: RouteProtocol::Static,
            scope: RouteScope::Link,
            kind: RouteType::Unicast,
            ..RouteHeader::default()
        };
        message.attributes = vec![
            RouteAttribute::Destination(RouteAddress::Inet(to)),
            RouteAttribute::PrefSource(RouteAddress::Inet(from)),
            RouteAttribute::Oif(index),
        ];
        let add = |flags| self.request(RouteNetlinkMessage::NewRoute(message.clone()), NLM_F_CREATE | flags);
        match add(NLM_F_EXCL) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                match self.way_to(to)?.filter(|way| way.link != index) {
                    Some(other) => Err(io::Error::new(error.kind(), self.taken(to, other.link))),
                    None => add(NLM_F_REPLACE),
                }
            }
            result => result,
        }
    }

    fn taken(&self, to: Ipv4Addr, link: u32) -> String {
        let names = self.links().unwrap_or_default();
        let name =
            names.into_iter().find(|(_, it)| it.index == link).map(|(name, _)| name).unwrap_or_default();
        format!(
            "the route to {to} belongs to the interface {name}: somebody else uses the range of instances"
        )
    }

    /// Sends what is for the network of `bits` bits that `gateway` is in by way of `gateway`, which an
    /// interface reaches. No bits: everything else.
    pub(crate) fn add_route_by(&self, index: u32, gateway: Ipv4Addr, bits: u8) -> io::Result<()> {
        let mut message = RouteMessage::default();
        message.header = RouteHeader {
            address_family: AddressFamily::Inet,
            destination_prefix_length: bits,
            table: RouteHeader::RT_TABLE_MAIN,
            protocol: RouteProtocol::Static,
            scope: RouteScope::Universe,
            kind: RouteType::Unicast,
            ..RouteHeader::default()
        };
        let network = gateway.to_bits() & u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
        message.attributes = vec![
            RouteAttribute::Destination(RouteAddress::Inet(Ipv4Addr::from_bits(network))),
            RouteAttribute::Gateway(RouteAddress::Inet(gateway)),
            RouteAttribute::Oif(index),
        ];
        self.request(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    fn request(&self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let (answer, _) = self.socket.recv_from_full()?;
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).map_err(io::Error::other)?;
        match answer.payload {
            NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
            _ => Ok(()),
        }
    }
}
