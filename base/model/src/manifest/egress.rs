//! What `egress` opens: `api.example.com:443`, `*.example.com`, `10.0.0.0/8`, `192.168.1.5:5432/tcp`, `*`.
//!
//! Parsed here for the manifest and for templates; the node enforces it. Invariant: two ways to write one
//! thing are one value (names in lower case, networks by their first address), so that hashes agree.

use super::Protocol;
use serde::{Deserialize, Serialize};
use std::{fmt, net::Ipv4Addr, str::FromStr};

/// The node, to its instances: never outside, whatever else is open.
pub const NODE: &str = "node.freehold";

/// One thing that instances may connect to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Egress {
    /// Where.
    pub to: Destination,
    /// Which port; `None`: every port.
    pub port: Option<u16>,
    /// By which protocol; `None`: TCP and UDP.
    pub protocol: Option<Protocol>,
}

/// Where an [`Egress`] leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// Every address outside the node.
    Anywhere,
    /// The addresses of this name, as the node's resolver answers.
    Name(String),
    /// The addresses of every name below this one.
    Below(String),
    /// A network: its first address and how many bits of it count. A single address has 32.
    Network(Ipv4Addr, u8),
}

/// Why a text is no [`Egress`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// It is written wrongly: what is wrong, and how to write it.
    #[error("{0}")]
    Invalid(String, Option<String>),
    /// It would be right, and cannot be done yet.
    #[error("IPv6 in `egress`: instances have IPv4 alone")]
    NotYet,
}

impl Egress {
    /// Whether it opens the way to `address`, by a network or by everything; names are not looked up.
    pub fn covers(&self, address: Ipv4Addr, port: u16, protocol: Protocol) -> bool {
        let there = match &self.to {
            Destination::Anywhere => true,
            Destination::Network(first, bits) => first_of(address, *bits) == *first,
            Destination::Name(_) | Destination::Below(_) => false,
        };
        there && self.takes(port, protocol)
    }

    /// Whether it opens the way to the addresses of `name`, which is in lower case and ends without a dot.
    pub fn names(&self, name: &str) -> bool {
        match &self.to {
            Destination::Anywhere => true,
            Destination::Name(own) => own == name,
            Destination::Below(own) => {
                name.strip_suffix(own.as_str()).is_some_and(|head| head.ends_with('.'))
            }
            Destination::Network(..) => false,
        }
    }

    /// Whether port and protocol are among its own.
    pub fn takes(&self, port: u16, protocol: Protocol) -> bool {
        self.port.is_none_or(|own| own == port) && self.protocol.is_none_or(|own| own == protocol)
    }
}

impl FromStr for Egress {
    type Err = EgressError;

    fn from_str(text: &str) -> Result<Egress, EgressError> {
        if text.starts_with('[') || text.matches(':').count() > 1 {
            return Err(EgressError::NotYet);
        }
        let (to, rest) = match text.split_once(':') {
            Some((to, rest)) => (to, Some(rest)),
            None => (text, None),
        };
        let (port, protocol) = rest.map_or(Ok((None, None)), ports)?;
        Ok(Egress { to: destination(to)?, port, protocol })
    }
}

fn ports(text: &str) -> Result<(Option<u16>, Option<Protocol>), EgressError> {
    let (port, protocol) = match text.split_once('/') {
        Some((port, protocol)) => (port, Some(protocol)),
        None => (text, None),
    };
    let port = port.parse().ok().filter(|port| *port > 0);
    let port = port.ok_or_else(|| {
        invalid(
            format!("`{}` is not a port", shown(text)),
            "a port is 1 to 65535, and `/tcp` or `/udp` may follow it",
        )
    })?;
    let protocol = match protocol {
        None => None,
        Some("tcp") => Some(Protocol::Tcp),
        Some("udp") => Some(Protocol::Udp),
        Some(other) => {
            return Err(invalid(
                format!("`{}` is not a protocol", shown(other)),
                "write `/tcp` or `/udp`, or neither for both",
            ));
        }
    };
    Ok((Some(port), protocol))
}

fn destination(text: &str) -> Result<Destination, EgressError> {
    if text == "*" {
        return Ok(Destination::Anywhere);
    }
    if let Some((address, bits)) = text.split_once('/') {
        return network(text, address, bits);
    }
    if let Ok(address) = text.parse() {
        return Ok(Destination::Network(address, 32));
    }
    match text.strip_prefix("*.") {
        Some(below) => name(below, true).map(Destination::Below),
        None => name(text, false).map(Destination::Name),
    }
}

fn network(text: &str, address: &str, bits: &str) -> Result<Destination, EgressError> {
    let Ok(address) = address.parse::<Ipv4Addr>() else {
        let help = "a network is written like `10.0.0.0/8`; a protocol follows a port: `name:443/tcp`";
        return Err(invalid(format!("`{}` is not a network", shown(text)), help));
    };
    let Some(bits) = bits.parse::<u8>().ok().filter(|bits| *bits <= 32) else {
        return Err(invalid(
            format!("`{}` is not a network: its size is 0 to 32 bits", shown(text)),
            "write it like `10.0.0.0/8`",
        ));
    };
    let first = first_of(address, bits);
    if first != address {
        return Err(invalid(
            format!("`{}` is not a network: it does not start there", shown(text)),
            format!("did you mean `{first}/{bits}`, or `{address}` alone?"),
        ));
    }
    Ok(Destination::Network(address, bits))
}

/// The first address of the network of `bits` bits that `address` is in.
fn first_of(address: Ipv4Addr, bits: u8) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
    Ipv4Addr::from_bits(address.to_bits() & mask)
}

/// A host name (RFC 1123, and `_` as service names have it), in lower case. What others are below may be
/// a single label: `*.lan`.
fn name(text: &str, below: bool) -> Result<String, EgressError> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let allowed = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let wrong = |why: &str, help: &str| Err(invalid(format!("`{}` {why}", shown(text)), help));
    if name.len() > 253 || !name.split('.').all(label) {
        return wrong(
            "is neither a name, a network nor `*`",
            "write it like `api.example.com:443`, `*.example.com`, `10.0.0.0/8` or `192.168.1.5:5432/tcp`",
        );
    }
    if name == "internal" || name.ends_with(".internal") || !below && !name.contains('.') {
        return wrong(
            "is a name of the env's own",
            "instances of one env reach each other without `egress`; a name outside has a dot",
        );
    }
    if name.rsplit('.').next().is_some_and(|last| last.bytes().all(|c| c.is_ascii_digit())) {
        return wrong("is not an address", "an address is four numbers of 0 to 255");
    }
    Ok(name)
}

fn invalid(message: impl Into<String>, help: impl Into<String>) -> EgressError {
    EgressError::Invalid(message.into(), Some(help.into()))
}

fn shown(text: &str) -> String {
    super::scalar::shown(text)
}

impl fmt::Display for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.to {
            Destination::Anywhere => f.write_str("*")?,
            Destination::Name(name) => f.write_str(name)?,
            Destination::Below(name) => write!(f, "*.{name}")?,
            Destination::Network(address, 32) => write!(f, "{address}")?,
            Destination::Network(address, bits) => write!(f, "{address}/{bits}")?,
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        match self.protocol {
            None => Ok(()),
            Some(Protocol::Tcp) => f.write_str("/tcp"),
            Some(Protocol::Udp) => f.write_str("/udp"),
        }
    }
}

impl TryFrom<String> for Egress {
    type Error = EgressError;
    fn try_from(text: String) -> Result<Egress, EgressError> {
        text.parse()
    }
}

impl From<Egress> for String {
    fn from(egress: Egress) -> String {
        egress.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn egress(text: &str) -> Egress {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn every_way_to_write_one_is_written_back_in_one_way() {
        for (text, canonical) in [
            ("*", "*"),
            ("*:443", "*:443"),
            ("API.Example.com.:443", "api.example.com:443"),
            ("*.example.com", "*.example.com"),
            ("*.lan:80", "*.lan:80"),
            ("_dmarc.example.com:53/udp", "_dmarc.example.com:53/udp"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.0.0.0/8:53/udp", "10.0.0.0/8:53/udp"),
            ("0.0.0.0/0:80", "0.0.0.0/0:80"),
            ("192.168.1.5/32:5432/tcp", "192.168.1.5:5432/tcp"),
            ("node.freehold:8000", "node.freehold:8000"),
        ] {
            assert_eq!(egress(text).to_string(), canonical);
            assert_eq!(egress(canonical), egress(text));
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, says) in [
            ("", "neither"),
            ("a b.example", "neither"),
            ("-a.example", "neither"),
            ("a..example", "neither"),
            ("https://example.com", "not a port"),
            ("api.example.com:0", "not a port"),
            ("api.example.com:70000", "not a port"),
            ("api.example.com:443/icmp", "not a protocol"),
            ("api.example.com/tcp", "not a network"),
            ("10.0.0.0/33", "0 to 32"),
            ("10.1.2.3/8", "does not start there"),
            ("300.1.2.3", "not an address"),
            ("db:5432", "the env's own"),
            ("db.internal", "the env's own"),
            ("**", "neither"),
            ("*.*.example", "neither"),
        ] {
            let Err(EgressError::Invalid(message, Some(_))) = text.parse::<Egress>() else {
                panic!("{text} is taken")
            };
            assert!(message.contains(says), "{text}: {message}");
        }
        for text in ["[2001:db8::]/32:53/udp", "2001:db8::1", "::/0"] {
            assert_eq!(text.parse::<Egress>(), Err(EgressError::NotYet));
        }
    }

    #[test]
    fn coverage_is_by_bits_port_and_protocol() {
        let at = |text: &str| text.parse::<Ipv4Addr>().unwrap();
        let covers =
            |text: &str, address: &str, port, protocol| egress(text).covers(at(address), port, protocol);
        assert!(covers("10.0.0.0/8", "10.255.255.255", 1, Protocol::Udp));
        assert!(!covers("10.0.0.0/8", "11.0.0.0", 1, Protocol::Udp));
        assert!(covers("0.0.0.0/0:53/udp", "1.1.1.1", 53, Protocol::Udp));
        assert!(!covers("0.0.0.0/0:53/udp", "1.1.1.1", 53, Protocol::Tcp));
        assert!(!covers("1.1.1.1:53", "1.1.1.1", 54, Protocol::Tcp));
        assert!(covers("*", "1.1.1.1", 54, Protocol::Tcp));
        assert!(!covers("example.com", "1.1.1.1", 54, Protocol::Tcp));
    }

    #[test]
    fn names_below_do_not_include_the_name_itself_nor_look_alikes() {
        assert!(egress("*.example.com").names("a.b.example.com"));
        for other in ["example.com", "badexample.com", "example.com.evil.org"] {
            assert!(!egress("*.example.com").names(other), "{other}");
        }
        assert!(
            egress("example.com:1").names("example.com") && !egress("example.com").names("a.example.com")
        );
        assert!(egress("*:443").names("anything.at.all") && !egress("10.0.0.0/8").names("a.example"));
    }
}
