//! Opens the sockets of one port, on IPv6 and IPv4.
//!
//! All addresses of a port open or none does, so that half an endpoint is never called listening. The
//! workers' sockets share the port (`SO_REUSEPORT`), which would let another Freehold of the same user
//! share it as well, without a word: so each address is first bound by one socket that shares nothing.

use crate::holder;
use freehold_model::manifest::Protocol;
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt},
};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::OwnedFd,
};
use tokio::{
    net::{TcpListener, UdpSocket},
    runtime::Handle,
};

/// How many connections may wait to be accepted; the kernel lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// How much may wait to be read at a UDP socket; the kernel lowers it to `net.core.rmem_max`.
const DATAGRAMS: usize = 4 << 20;

/// Where to listen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// The port.
    pub(crate) port: u16,
    /// On which of the machine's addresses; on all if empty.
    pub(crate) listen_on: &'a [IpAddr],
    /// And on this address, which is nobody else's.
    pub(crate) own: Option<Ipv6Addr>,
}

/// A port that could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindError {
    /// Somebody else listens there.
    #[error("port {port} is taken by {holder}: stop that program, or choose another `listen`")]
    Taken {
        /// The port.
        port: u16,
        /// Who has it, as far as this machine tells.
        holder: String,
    },
    /// Low ports are for the privileged.
    #[error(
        "port {port} needs root or CAP_NET_BIND_SERVICE: run Freehold so, or choose a `listen` of 1024 or more"
    )]
    Privileged {
        /// The port.
        port: u16,
    },
    /// Anything else, such as an address that this machine does not have.
    #[error("cannot listen on {address}: {source}")]
    Other {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// One socket.
#[derive(Clone, Copy)]
struct Place {
    address: SocketAddr,
    /// IPv4 has a socket of its own.
    v6_only: bool,
    is_own: bool,
    protocol: Protocol,
}

/// Opens a listener for each of `workers` on every wanted address.
///
/// # Errors
/// When one of them cannot be had.
pub(crate) fn tcp<'w>(
    wanted: Wanted<'_>,
    workers: &'w [Handle],
) -> Result<Vec<(&'w Handle, Vec<TcpListener>)>, BindError> {
    let places = places(wanted, Protocol::Tcp)?;
    let of_worker = |worker: &'w Handle| {
        let _inside = worker.enter();
        let open = |place: &Place| {
            let fd = place.open(true).and_then(|fd| Ok((listen(&fd, BACKLOG)?, fd).1));
            fd.and_then(|fd| TcpListener::from_std(fd.into())).map_err(|source| place.fault(source))
        };
        Ok((worker, places.iter().map(open).collect::<Result<_, _>>()?))
    };
    workers.iter().map(of_worker).collect()
}

/// Opens a socket on every wanted address, read by `worker`. Each tells where its datagrams were sent to.
///
/// # Errors
/// When one of them cannot be had.
pub(crate) fn udp(wanted: Wanted<'_>, worker: &Handle) -> Result<Vec<UdpSocket>, BindError> {
    let _inside = worker.enter();
    let open = |place: &Place| {
        let fd = place.open(true).and_then(|fd| {
            tell_destination(&fd, place.address)?;
            let _ = sockopt::set_socket_recv_buffer_size(&fd, DATAGRAMS);
            Ok(fd)
        });
        fd.and_then(|fd| UdpSocket::from_std(fd.into())).map_err(|source| place.fault(source))
    };
    places(wanted, Protocol::Udp)?.iter().map(open).collect()
}

/// Sees whether every wanted address can be had, and lets go of it again.
///
/// # Errors
/// When one of them cannot.
pub(crate) fn probe(wanted: Wanted<'_>, protocol: Protocol) -> Result<(), BindError> {
    places(wanted, protocol).map(drop)
}

/// The places to open, each of which can be had.
fn places(wanted: Wanted<'_>, protocol: Protocol) -> Result<Vec<Place>, BindError> {
    let (v4, v6) = (IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED));
    let place = |ip: IpAddr, v6_only: bool, is_own: bool| Place {
        address: SocketAddr::new(ip, wanted.port),
        v6_only,
        is_own,
        protocol,
    };
    let mut places = vec![];
    if wanted.listen_on.is_empty() {
        let dual = place(v6, false, false);
        match dual.probe() {
            Err(BindError::Other { source, .. }) if has_no_v6(&source) => {
                places.push(place(v4, false, false))
            }
            _ => places.push(dual),
        }
    }
    let v6_only = wanted.listen_on.contains(&v4);
    places.extend(wanted.listen_on.iter().map(|ip| place(*ip, v6_only, false)));
    places.extend(wanted.own.map(|ip| place(ip.into(), true, true)));
    places.iter().try_for_each(Place::probe)?;
    Ok(places)
}

impl Place {
    /// Binds, and lets go again: whether nobody else is there.
    fn probe(&self) -> Result<(), BindError> {
        self.open(false).map(drop).map_err(|source| self.fault(source))
    }

    fn open(&self, is_shared: bool) -> io::Result<OwnedFd> {
        let family = if self.address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let kind = match self.protocol {
            Protocol::Tcp => SocketType::STREAM,
            Protocol::Udp => SocketType::DGRAM,
        };
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
        if self.address.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, self.v6_only)?;
            sockopt::set_ipv6_freebind(&socket, self.is_own)?;
        }
        // To UDP this would allow two sockets at one port.
        sockopt::set_socket_reuseaddr(&socket, self.protocol == Protocol::Tcp)?;
        sockopt::set_socket_reuseport(&socket, is_shared)?;
        bind(&socket, &self.address)?;
        Ok(socket)
    }

    fn fault(&self, source: io::Error) -> BindError {
        let port = self.address.port();
        match Errno::from_io_error(&source) {
            Some(Errno::ADDRINUSE) => BindError::Taken { port, holder: holder::of(self.protocol, port) },
            Some(Errno::ACCESS) => BindError::Privileged { port },
            _ => BindError::Other { address: self.address, source },
        }
    }
}

/// Asks for the address to which each datagram was sent (ip(7), `IP_PKTINFO`; ipv6(7)).
fn tell_destination(socket: &OwnedFd, address: SocketAddr) -> io::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt::Ipv4PacketInfo, sockopt::Ipv6RecvPacketInfo};
    if address.is_ipv6() {
        setsockopt(socket, Ipv6RecvPacketInfo, &true)?;
    } else {
        setsockopt(socket, Ipv4PacketInfo, &true)?;
    }
    Ok(())
}

fn has_no_v6(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anywhere(port: u16) -> Wanted<'static> {
        Wanted { port, listen_on: &[], own: None }
    }

    #[tokio::test]
    async fn a_taken_port_is_named_with_its_holder() {
        let here = [Handle::current()];
        let me = format!("(pid {})", std::process::id());
        let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = holder.local_addr().unwrap().port();
        let text = tcp(anywhere(port), &here).unwrap_err().to_string();
        assert!(text.contains(&format!("port {port} ")) && text.contains(&me), "{text}");
        let holder = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = holder.local_addr().unwrap().port();
        let text = udp(anywhere(port), &here[0]).unwrap_err().to_string();
        assert!(text.contains(&format!("port {port} ")) && text.contains(&me), "{text}");
    }

    #[tokio::test]
    async fn what_shares_its_port_among_workers_shares_it_with_nobody_else() {
        let here = [Handle::current(), Handle::current()];
        let port = std::net::TcpListener::bind("[::1]:0").unwrap().local_addr().unwrap().port();
        let held = tcp(anywhere(port), &here).unwrap();
        assert_eq!(held.len(), 2);
        assert!(matches!(tcp(anywhere(port), &here), Err(BindError::Taken { .. })));
    }

    #[tokio::test]
    async fn both_families_can_be_asked_for_apart() {
        let here = [Handle::current()];
        let free = std::net::TcpListener::bind("[::1]:0").unwrap().local_addr().unwrap().port();
        let any = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
        let wanted = Wanted { listen_on: &any, ..anywhere(free) };
        assert_eq!(tcp(wanted, &here).unwrap()[0].1.len(), 2);
    }
}
