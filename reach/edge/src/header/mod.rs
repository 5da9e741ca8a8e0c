//! The PROXY protocol's header, by which a server is told whose connection it has (HAProxy,
//! doc/proxy-protocol.txt): written to instances here, read from proxies in front by `parse`, and taken
//! off a connection by `receive`.

mod parse;
mod receive;

pub(crate) use parse::{HeaderError, parse};
pub(crate) use receive::{Received, receive};
pub use receive::{Unproxied, client_of_proxy};

use freehold_model::manifest::ProxyProtocol;
use ppp::{v1, v2};
use std::net::{IpAddr, SocketAddr};

/// What stands before a connection from `client`, who connected to `here`. Empty when it is off.
pub(crate) fn header(version: ProxyProtocol, client: SocketAddr, here: SocketAddr) -> Vec<u8> {
    let (from, to) = alike(plain(client), plain(here));
    match version {
        ProxyProtocol::Off => vec![],
        ProxyProtocol::V1 => v1::Addresses::from((from, to)).to_string().into_bytes(),
        ProxyProtocol::V2 => {
            let command = v2::Version::Two | v2::Command::Proxy;
            let header = v2::Builder::with_addresses(command, v2::Protocol::Stream, (from, to)).build();
            // It can be too long for its length field only with more than addresses in it.
            header.unwrap_or_default()
        }
    }
}

/// Both of one family, as a header has them: IPv4 in IPv6's clothes where the other is IPv6.
pub(crate) fn alike(one: SocketAddr, other: SocketAddr) -> (SocketAddr, SocketAddr) {
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    if one.is_ipv4() == other.is_ipv4() { (one, other) } else { (mapped(one), mapped(other)) }
}

/// A client of IPv4 at an IPv6 socket is a client of IPv4 (RFC 4291, 2.5.5.2).
pub(crate) fn plain(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V6(ip) => SocketAddr::new(ip.to_canonical(), address.port()),
        IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(version: ProxyProtocol, client: &str, here: &str) -> Vec<u8> {
        header(version, client.parse().unwrap(), here.parse().unwrap())
    }

    #[test]
    fn version_one_is_the_line_of_the_specification() {
        let line = made(ProxyProtocol::V1, "192.168.0.1:56324", "192.168.0.11:443");
        assert_eq!(line, b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n");
        let line = made(ProxyProtocol::V1, "[fd00::1]:1", "[fd00::2]:2");
        assert_eq!(line, b"PROXY TCP6 fd00::1 fd00::2 1 2\r\n");
        let mapped = made(ProxyProtocol::V1, "[::ffff:10.0.0.1]:1", "[::ffff:10.0.0.2]:2");
        assert_eq!(mapped, b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n");
        assert!(made(ProxyProtocol::Off, "10.0.0.1:1", "10.0.0.2:2").is_empty());
    }

    #[test]
    fn version_two_is_laid_out_as_specified() {
        let bytes = made(ProxyProtocol::V2, "[::ffff:10.0.0.1]:4660", "10.0.0.2:80");
        let (signature, rest) = bytes.split_at(12);
        assert_eq!(signature, b"\r\n\r\n\0\r\nQUIT\n");
        assert_eq!(rest, [0x21, 0x11, 0, 12, 10, 0, 0, 1, 10, 0, 0, 2, 0x12, 0x34, 0, 80]);
        let bytes = made(ProxyProtocol::V2, "[fd00::1]:1", "[fd00::2]:2");
        assert_eq!((bytes.len(), &bytes[12..16]), (16 + 36, &[0x21, 0x21, 0, 36][..]));
    }
}
