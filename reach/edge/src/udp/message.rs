//! Datagrams with the address that they were sent to, and answers that leave from it (ip(7),
//! `IP_PKTINFO`; ipv6(7), `IPV6_PKTINFO`; a client of IPv4 at an IPv6 socket is written `::ffff:…`).

use nix::{
    cmsg_space,
    libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo},
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrLike,
        SockaddrStorage, recvmsg, sendmsg,
    },
};
use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::AsRawFd,
};
use tokio::{io::Interest, net::UdpSocket};

/// What a client sent.
pub(super) struct Datagram<'b> {
    pub(super) bytes: &'b [u8],
    pub(super) client: SocketAddr,
    pub(super) here: Here,
}

/// One of our addresses; a link-local one is so only on its link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Here {
    pub(super) ip: IpAddr,
    link: u32,
}

/// The next datagram.
pub(super) async fn receive<'b>(socket: &UdpSocket, buffer: &'b mut [u8]) -> io::Result<Datagram<'b>> {
    let (length, client, here) = socket.async_io(Interest::READABLE, || read(socket, buffer)).await?;
    Ok(Datagram { bytes: &buffer[..length], client, here })
}

fn read(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr, Here)> {
    let mut control = cmsg_space!(in6_pktinfo, in_pktinfo);
    let mut pieces = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut pieces, Some(&mut control), flags)?;
    let client = message.address.as_ref().and_then(sender);
    let here = message.cmsgs()?.find_map(destination);
    match (client, here) {
        (Some(client), Some(here)) => Ok((message.bytes, client, here)),
        _ => Err(io::Error::other("a datagram without addresses")),
    }
}

fn sender(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::V4(SocketAddrV4::from(*v4)));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::V6(SocketAddrV6::from(*v6))))
}

fn destination(message: ControlMessageOwned) -> Option<Here> {
    match message {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(Here { ip: Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into(), link: 0 })
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            let ip = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            let link = if ip.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
            Some(Here { ip: ip.into(), link })
        }
        _ => None,
    }
}

/// Sends `bytes` to `client` from `here`, or not at all: what does not fit now is lost, as datagrams are.
pub(super) fn answer(socket: &UdpSocket, bytes: &[u8], client: SocketAddr, here: Here) -> io::Result<usize> {
    match here.ip {
        IpAddr::V4(ip) => {
            let from = in_addr { s_addr: u32::from(ip).to_be() };
            let info = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: from, ipi_addr: from };
            send(socket, bytes, client, ControlMessage::Ipv4PacketInfo(&info))
        }
        IpAddr::V6(ip) => {
            let info = in6_pktinfo { ipi6_addr: in6_addr { s6_addr: ip.octets() }, ipi6_ifindex: here.link };
            send(socket, bytes, client, ControlMessage::Ipv6PacketInfo(&info))
        }
    }
}

fn send(
    socket: &UdpSocket,
    bytes: &[u8],
    client: SocketAddr,
    control: ControlMessage<'_>,
) -> io::Result<usize> {
    fn to(
        socket: &UdpSocket,
        bytes: &[u8],
        control: ControlMessage<'_>,
        address: &impl SockaddrLike,
    ) -> io::Result<usize> {
        let pieces = [IoSlice::new(bytes)];
        Ok(sendmsg(socket.as_raw_fd(), &pieces, &[control], MsgFlags::MSG_DONTWAIT, Some(address))?)
    }
    match client {
        SocketAddr::V4(v4) => to(socket, bytes, control, &SockaddrIn::from(v4)),
        SocketAddr::V6(v6) => to(socket, bytes, control, &SockaddrIn6::from(v6)),
    }
}
