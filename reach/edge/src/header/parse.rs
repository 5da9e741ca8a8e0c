//! Reads a PROXY header, version 1 or 2, from the bytes at the start of a connection. Sans IO: `receive`
//! brings the bytes, `ppp` knows what stands between the header's first byte and its last.
//!
//! Invariant: the answer depends on the header alone. More bytes are asked for only while what is there
//! can still become a header of at most [`MOST`] bytes, and nothing after the header is looked at.

use super::plain;
use ppp::{v1, v2};
use std::net::SocketAddr;

/// The longest header of version 1, its line end included (proxy-protocol.txt, 2.1).
const MOST_V1: usize = 107;
/// The longest of version 2 that is taken: addresses, and what proxies say of TLS, certificates included.
/// The format has room for 64 KiB more.
pub(super) const MOST: usize = PREAMBLE + (4 << 10);
/// What comes before the length is known: signature, version and command, family, length.
const PREAMBLE: usize = 16;

/// A header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// How many bytes it takes.
    pub(crate) length: usize,
    /// What it says; `None` when the connection is the proxy's own (`LOCAL`), or not one of TCP
    /// (`UNKNOWN`, a Unix socket): then the peer itself is the client.
    pub(crate) told: Option<Told>,
}

/// Whose connection it is, and where it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    /// The client.
    pub(crate) client: SocketAddr,
    /// The address that it connected to.
    pub(crate) here: SocketAddr,
}

/// Why there is no header, and none can come.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum HeaderError {
    /// It begins with something else.
    #[error("the connection does not begin with a PROXY header: let the proxy send one, or do not trust it")]
    Missing,
    /// It goes on and on.
    #[error("the PROXY header is longer than {0} bytes")]
    TooLong(usize),
    /// It is written wrongly, as text.
    #[error("the PROXY header of version 1 is wrong: {0}")]
    Text(#[from] v1::BinaryParseError),
    /// A line ends otherwise than with CR LF.
    #[error("the PROXY header of version 1 does not end with CR LF")]
    LineEnd,
    /// It is written wrongly, in binary.
    #[error("the PROXY header of version 2 is wrong: {0}")]
    Binary(#[from] v2::ParseError),
    /// Neither `LOCAL` nor `PROXY`, or another version.
    #[error("the PROXY header's version and command are {0:#04x}, neither 0x20 nor 0x21")]
    Command(u8),
    /// It did not come in time.
    #[error("no whole PROXY header came within {0} s")]
    Slow(u64),
    /// The connection ended before it did.
    #[error("the connection ended within the PROXY header")]
    Ended,
}

/// The header that `bytes` begin with; `None` when there must be more of them to know.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    if begins(bytes, v2::PROTOCOL_PREFIX) {
        binary(bytes)
    } else if begins(bytes, b"PROXY ") {
        text(bytes)
    } else {
        Err(HeaderError::Missing)
    }
}

/// Whether `bytes` begin with `prefix`, or are the beginning of it.
fn begins(bytes: &[u8], prefix: &[u8]) -> bool {
    let known = bytes.len().min(prefix.len());
    bytes[..known] == prefix[..known]
}

fn text(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    let line = &bytes[..bytes.len().min(MOST_V1)];
    let Some(last) = line.iter().position(|byte| *byte == b'\n') else {
        return if line.len() < MOST_V1 { Ok(None) } else { Err(HeaderError::TooLong(MOST_V1)) };
    };
    let line = &line[..=last];
    if !line.ends_with(b"\r\n") {
        return Err(HeaderError::LineEnd);
    }
    let told = match v1::Header::try_from(line)?.addresses {
        v1::Addresses::Tcp4(ip) => Some(Told {
            client: (ip.source_address, ip.source_port).into(),
            here: (ip.destination_address, ip.destination_port).into(),
        }),
        v1::Addresses::Tcp6(ip) => Some(Told {
            client: (ip.source_address, ip.source_port).into(),
            here: (ip.destination_address, ip.destination_port).into(),
        }),
        v1::Addresses::Unknown => None,
    };
    Ok(Some(Header { length: line.len(), told: told.map(Told::plain) }))
}

fn binary(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    let Some((preamble, rest)) = bytes.split_at_checked(PREAMBLE) else { return Ok(None) };
    let length = PREAMBLE + usize::from(u16::from_be_bytes([preamble[14], preamble[15]]));
    let command = preamble[12];
    if !matches!(command, 0x20 | 0x21) {
        return Err(HeaderError::Command(command));
    }
    if length > MOST {
        return Err(HeaderError::TooLong(MOST));
    }
    if PREAMBLE + rest.len() < length {
        return Ok(None);
    }
    // What stands beside LOCAL is to be ignored, whatever it is (2.2).
    if command == 0x20 {
        return Ok(Some(Header { length, told: None }));
    }
    let header = v2::Header::try_from(&bytes[..length])?;
    let told = match (header.protocol, header.addresses) {
        (v2::Protocol::Stream, v2::Addresses::IPv4(ip)) => Some(Told {
            client: (ip.source_address, ip.source_port).into(),
            here: (ip.destination_address, ip.destination_port).into(),
        }),
        (v2::Protocol::Stream, v2::Addresses::IPv6(ip)) => Some(Told {
            client: (ip.source_address, ip.source_port).into(),
            here: (ip.destination_address, ip.destination_port).into(),
        }),
        _ => None,
    };
    Ok(Some(Header { length, told: told.map(Told::plain) }))
}

impl Told {
    fn plain(self) -> Told {
        Told { client: plain(self.client), here: plain(self.here) }
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
