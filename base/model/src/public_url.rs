//! The address by which browsers and apps reach this house: `https://home.example`.
//!
//! Given to `up` and `control`, read by whatever tells others where to come. Invariant: it is an origin, scheme, host
//! and port alone, so that it can be compared letter by letter, and put before any path.

use std::{fmt, str::FromStr};

/// The house's address as others know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(String);

/// A text that is no such address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write scheme, host and, if need be, port, without a path: https://home.example")]
pub struct PublicUrlError;

impl PublicUrl {
    /// Without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether browsers reach it over TLS.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// The host, without scheme and port.
    pub fn host(&self) -> &str {
        let authority = self.0.split_once("://").map_or("", |(_, rest)| rest);
        match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, _)) => address,
            None => authority.split_once(':').map_or(authority, |(host, _)| host),
        }
    }
}

impl FromStr for PublicUrl {
    type Err = PublicUrlError;
    fn from_str(text: &str) -> Result<PublicUrl, PublicUrlError> {
        let text = text.trim().to_ascii_lowercase();
        let text = text.strip_suffix('/').unwrap_or(&text);
        let (scheme, authority) = text.split_once("://").ok_or(PublicUrlError)?;
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, rest)) => {
                address.parse::<std::net::Ipv6Addr>().map_err(|_| PublicUrlError)?;
                ("v6", rest.strip_prefix(':'))
            }
            None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        let letters = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.');
        let default = if scheme == "https" { ":443" } else { ":80" };
        let good = matches!(scheme, "http" | "https")
            && !host.is_empty()
            && text.len() < 256
            && host.bytes().all(letters)
            && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number.to_string() == port));
        // As browsers write it: the scheme's own port is left out.
        if good {
            Ok(PublicUrl(text.strip_suffix(default).unwrap_or(text).to_owned()))
        } else {
            Err(PublicUrlError)
        }
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_and_nothing_else() {
        for (text, expected, host) in [
            ("https://Home.example/", "https://home.example", "home.example"),
            ("https://home.example:443", "https://home.example", "home.example"),
            ("http://192.168.1.5:7117", "http://192.168.1.5:7117", "192.168.1.5"),
            ("http://[::1]:80", "http://[::1]", "::1"),
        ] {
            let url: PublicUrl = text.parse().unwrap();
            assert_eq!((url.as_str(), url.host()), (expected, host));
        }
        for bad in [
            "home.example",
            "ftp://a",
            "https://",
            "https://a/b",
            "https://a?x",
            "https://u@a",
            "https://a:0x",
            "http://[x]",
        ] {
            assert!(bad.parse::<PublicUrl>().is_err(), "{bad}");
        }
    }
}
