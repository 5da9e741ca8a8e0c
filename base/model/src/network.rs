//! A network of addresses, IPv4 or IPv6: `10.0.0.0/8`, `fd00::/8`, or one address, `192.168.1.5`.
//!
//! Parsed for the manifest and for endpoints; the edge asks whether a peer is in one. Invariant: two ways
//! to write one network are one value, so that hashes agree.

use serde::{Deserialize, Serialize};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// A network: its first address, and how many bits of it count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

/// Why a text is no [`Network`]: what is wrong, and what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {help}")]
pub struct NetworkError {
    /// What is wrong.
    pub message: String,
    /// How to write it.
    pub help: String,
}

impl Network {
    /// Whether `address` is in it. An IPv4 address in IPv6's clothes (RFC 4291, 2.5.5.2) is one of IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && first_of(address, self.bits) == self.first
    }
}

/// How many bits an address has.
fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The first address of the network of `bits` bits that `address` is in.
fn first_of(address: IpAddr, bits: u8) -> IpAddr {
    let rest = u32::from(width(address).saturating_sub(bits));
    match address {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & u32::MAX.checked_shl(rest).unwrap_or(0)).into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & u128::MAX.checked_shl(rest).unwrap_or(0)).into(),
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Network, NetworkError> {
        let shown = || crate::manifest::shown(text);
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(NetworkError {
                message: format!("`{}` is neither an address nor a network", shown()),
                help: "write it like `192.168.1.5`, `10.0.0.0/8` or `fd00::/8`".into(),
            });
        };
        let (most, plain) = (width(address), address.to_canonical());
        if plain != address {
            return Err(NetworkError {
                message: format!("`{}` is an address of IPv4", shown()),
                help: format!("write it as such: `{plain}`"),
            });
        }
        let parsed = bits.map_or(Some(most), |bits| bits.parse().ok().filter(|bits| *bits <= most));
        let Some(bits) = parsed else {
            return Err(NetworkError {
                message: format!("`{}` is not a network: its size is 0 to {most} bits", shown()),
                help: format!("write it like `{}`", if most == 32 { "10.0.0.0/8" } else { "fd00::/8" }),
            });
        };
        let first = first_of(address, bits);
        if first != address {
            return Err(NetworkError {
                message: format!("`{}` is not a network: it does not start there", shown()),
                help: format!("did you mean `{first}/{bits}`, or `{address}` alone?"),
            });
        }
        Ok(Network { first, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        if self.bits < width(self.first) { write!(f, "/{}", self.bits) } else { Ok(()) }
    }
}

impl TryFrom<String> for Network {
    type Error = NetworkError;
    fn try_from(text: String) -> Result<Network, NetworkError> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> String {
        network.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_one_is_written_back_in_one_way() {
        for (text, canonical) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.168.1.5/32", "192.168.1.5"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("FD00::/8", "fd00::/8"),
            ("0:0:0:0:0:0:0:1", "::1"),
            ("::/0", "::/0"),
        ] {
            let network: Network = text.parse().unwrap();
            assert_eq!(network.to_string(), canonical);
            assert_eq!(canonical.parse(), Ok(network));
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, says) in [
            ("", "neither"),
            ("proxy.example.com", "neither"),
            ("10.0.0.0/", "0 to 32 bits"),
            ("10.0.0.0/33", "0 to 32 bits"),
            ("fd00::/129", "0 to 128 bits"),
            ("10.1.2.3/8", "`10.0.0.0/8`, or `10.1.2.3` alone"),
            ("fd00::1/8", "`fd00::/8`"),
            ("::ffff:10.0.0.1", "write it as such: `10.0.0.1`"),
        ] {
            let error = text.parse::<Network>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn who_is_in_is_told_by_bits_and_family() {
        let within = |network: &str, address: &str| {
            network.parse::<Network>().unwrap().contains(address.parse().unwrap())
        };
        assert!(within("10.0.0.0/8", "10.255.0.1") && !within("10.0.0.0/8", "11.0.0.0"));
        assert!(within("10.0.0.0/8", "::ffff:10.0.0.1"), "as a dual-stack socket shows it");
        assert!(within("0.0.0.0/0", "1.2.3.4") && !within("0.0.0.0/0", "::1"));
        assert!(within("::/0", "fd00::1") && !within("::/0", "::ffff:1.2.3.4"));
        assert!(within("::1", "::1") && !within("::1", "::2"));
    }
}
