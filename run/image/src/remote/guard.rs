//! Where a registry may send us: never to the inside of the house.
//!
//! A registry answers with redirects and with the address of a server that gives tokens. Whoever may plan a
//! deploy chooses the registry, and so, without this, what the server asks for in the networks that it stands
//! in. Invariant: besides the registry that was named, by the host and port under which it was named, only
//! public addresses are asked, over TLS. Names are looked up once, and what they mean is checked.

use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Suffixes of names that are no names of the internet (RFC 6761, 6762, 8375, and ICANN's `internal`).
const INSIDE: &[&str] = &[".localhost", ".local", ".lan", ".internal", ".home.arpa", ".localdomain"];

/// Looks names up and keeps the public addresses of what they mean.
pub(super) struct PublicNames;

impl Resolve for PublicNames {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(look_up(name.as_str().to_owned()))
    }
}

async fn look_up(host: String) -> Result<Addrs, Box<dyn std::error::Error + Send + Sync>> {
    let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
    let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
    match public.is_empty() {
        true => Err(format!("{host} is no public address").into()),
        false => Ok(Box::new(public.into_iter())),
    }
}

/// Whether two addresses are the same server: scheme, host and port.
pub(super) fn is_same(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}

/// Whether a host, with or without a port, is named so that it is none of the internet's.
pub(super) fn is_inside(host: &str) -> bool {
    // Addresses have many spellings; a URL knows them all.
    let Ok(url) = format!("https://{host}/").parse::<Url>() else { return true };
    let name = url.host_str().unwrap_or_default();
    match name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(address) => !is_public(address),
        Err(_) => {
            let name = name.trim_end_matches('.');
            !name.contains('.') || INSIDE.iter().any(|suffix| name.ends_with(suffix))
        }
    }
}

/// Why a registry may not send us to `to`; what a name means is checked when it is looked up.
pub(super) fn refusal(to: &Url) -> Option<String> {
    let host = to.host_str().unwrap_or_default();
    if is_inside(host) {
        return Some(format!(
            "it sends to {host}, which is no public address: registries may send to public addresses and to themselves"
        ));
    }
    (to.scheme() != "https").then(|| format!("it sends to {host} without TLS"))
}

/// Whether an address is one of the internet's.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    let special = v4.is_loopback()
        || v4.is_private()
        || v4.is_link_local()
        || v4.is_multicast()
        || v4.is_documentation()
        || a == 0
        || a >= 240
        // Carriers' own (RFC 6598), protocols' (RFC 6890), benchmarks' (RFC 2544).
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b));
    !special
}

fn is_public_v6(v6: Ipv6Addr) -> bool {
    if let Some(v4) = v6.to_ipv4_mapped() {
        return is_public_v4(v4);
    }
    let segments = v6.segments();
    // Only 2000::/3 is given out; within it 2001:db8::/32 is for books, 2002::/16 and 64:ff9b::/96 hold v4.
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        [0x2001, 0xdb8, ..] | [0x2001, 0, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_sent_to() {
        for (to, allowed) in [
            ("https://auth.docker.io/token", true),
            ("https://93.184.216.34/x", true),
            ("https://[2606:2800:220:1::1]/x", true),
            ("http://auth.docker.io/token", false),
            ("https://127.0.0.1:7117/x", false),
            ("https://localhost/x", false),
            ("https://a.localhost/x", false),
            ("https://router/x", false),
            ("https://0.0.0.0/x", false),
            ("https://2130706433/x", false),
            ("https://0x7f.1/x", false),
            ("https://10.1.2.3/x", false),
            ("https://172.31.0.1/x", false),
            ("https://192.168.1.1/x", false),
            ("https://100.64.0.1/x", false),
            ("https://169.254.169.254/latest", false),
            ("https://224.0.0.1/x", false),
            ("https://[::1]/x", false),
            ("https://[::]/x", false),
            ("https://[::ffff:127.0.0.1]/x", false),
            ("https://[fe80::1]/x", false),
            ("https://[fd00::1]/x", false),
            ("https://[64:ff9b::7f00:1]/x", false),
            ("https://[2002:7f00:1::]/x", false),
        ] {
            assert_eq!(refusal(&to.parse().unwrap()).is_none(), allowed, "{to}");
        }
    }

    #[test]
    fn registries_inside_are_known_by_every_spelling() {
        for inside in
            ["localhost:5000", "nas:5000", "127.1:5000", "0x7f.1", "192.168.1.5", "[::1]:5000", "[fd00::1]"]
        {
            assert!(is_inside(inside), "{inside}");
        }
        for outside in ["docker.io", "ghcr.io:443", "93.184.216.34:5000", "[2606:2800:220:1::1]:5000"] {
            assert!(!is_inside(outside), "{outside}");
        }
    }

    #[test]
    fn a_registry_is_its_host_and_port() {
        let url = |text: &str| text.parse::<Url>().unwrap();
        assert!(is_same(&url("https://r.example/v2/"), &url("https://r.example:443/token")));
        assert!(!is_same(&url("http://127.0.0.1:5000/"), &url("http://127.0.0.1:5001/")));
        assert!(!is_same(&url("https://r.example/"), &url("http://r.example/")));
    }
}
