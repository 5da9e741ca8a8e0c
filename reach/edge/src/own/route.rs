//! The route that makes a whole prefix this machine's own, as `ip -6 route add local PREFIX dev lo` does
//! (rtnetlink(7)). Needs CAP_NET_ADMIN; without it endpoints have no addresses of their own.

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use std::{io, net::Ipv6Addr};

/// The routing table of the machine's own addresses (`RT_TABLE_LOCAL`, linux/rtnetlink.h).
const LOCAL: u8 = 255;

/// A /64 whose addresses are all this machine's, until it is dropped.
pub(crate) struct Network {
    socket: Socket,
    first: Ipv6Addr,
}

impl Network {
    /// Makes `first`/64 this machine's, in the network namespace of this thread.
    ///
    /// # Errors
    /// When the kernel has no IPv6, or this user may not.
    pub(crate) fn open(first: Ipv6Addr) -> io::Result<Network> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        let loopback = rustix::net::netdevice::name_to_index(&socket, "lo")?;
        let network = Network { socket, first };
        let message = RouteNetlinkMessage::NewRoute(network.route(Some(loopback)));
        network.request(message, NLM_F_CREATE | NLM_F_REPLACE)?;
        Ok(network)
    }

    fn route(&self, interface: Option<u32>) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header = RouteHeader {
            address_family: AddressFamily::Inet6,
            destination_prefix_length: 64,
            table: LOCAL,
            protocol: RouteProtocol::Static,
            scope: RouteScope::Host,
            kind: RouteType::Local,
            ..RouteHeader::default()
        };
        message.attributes = vec![RouteAttribute::Destination(RouteAddress::Inet6(self.first))];
        message.attributes.extend(interface.map(RouteAttribute::Oif));
        message
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

impl Drop for Network {
    fn drop(&mut self) {
        if let Err(error) = self.request(RouteNetlinkMessage::DelRoute(self.route(None)), 0) {
            tracing::debug!(%error, first = %self.first, "the route of endpoints' addresses stays");
        }
    }
}
