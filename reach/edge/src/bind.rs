//! Opens the sockets of one port, on IPv6 and IPv4.
//!
//! All addresses of a port open or none does, so that half an endpoint is never called listening.

use crate::holder;
use rustix::{io::Errno, net::sockopt};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};
use tokio::net::{TcpListener, TcpSocket};

/// How many connections may wait to be accepted; the kernel lowers it to `net.core.somaxconn`.
const BACKLOG: u32 = 4096;

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

/// Opens `port` on every one of `addresses`; on all of them if none is given.
///
/// # Errors
/// When one of them cannot be had.
pub(crate) fn bind(addresses: &[IpAddr], port: u16) -> Result<Vec<TcpListener>, BindError> {
    let (v4, v6) = (IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED));
    if !addresses.is_empty() {
        let v6_only = addresses.contains(&v4);
        return addresses.iter().map(|address| bind_one(*address, port, v6_only)).collect();
    }
    match bind_one(v6, port, false) {
        Err(BindError::Other { source, .. }) if has_no_v6(&source) => Ok(vec![bind_one(v4, port, false)?]),
        bound => Ok(vec![bound?]),
    }
}

fn bind_one(ip: IpAddr, port: u16, v6_only: bool) -> Result<TcpListener, BindError> {
    let address = SocketAddr::new(ip, port);
    open(address, v6_only).map_err(|source| match Errno::from_io_error(&source) {
        Some(Errno::ADDRINUSE) => BindError::Taken { port, holder: holder::of(port) },
        Some(Errno::ACCESS) => BindError::Privileged { port },
        _ => BindError::Other { address, source },
    })
}

fn open(address: SocketAddr, v6_only: bool) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        let socket = TcpSocket::new_v6()?;
        sockopt::set_ipv6_v6only(&socket, v6_only)?;
        socket
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn has_no_v6(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_named_with_its_holder() {
        let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = holder.local_addr().unwrap().port();
        let text = bind(&[], port).unwrap_err().to_string();
        let me = format!("(pid {})", std::process::id());
        assert!(text.contains(&format!("port {port} ")) && text.contains(&me), "{text}");
    }

    #[tokio::test]
    async fn both_families_can_be_asked_for_apart() {
        let free = std::net::TcpListener::bind("[::1]:0").unwrap().local_addr().unwrap().port();
        let any = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
        assert_eq!(bind(&any, free).unwrap().len(), 2);
    }
}
