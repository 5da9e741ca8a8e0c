//! The house as passkeys know it: by the host of its public URL. Made anew where it is needed; it costs nothing.
//!
//! Invariant: neither the host nor the origin is ever taken from a request, or whoever sets headers would choose them.

use freehold_model::PublicUrl;
use webauthn_rs::prelude::{Url, Webauthn, WebauthnBuilder};

/// The house as passkeys know it (a relying party).
#[derive(Debug)]
pub struct RelyingParty(pub(super) Webauthn);

/// Why there are no passkeys here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Nobody said how browsers reach the server.
    #[error("It was not told by which address browsers reach it.")]
    Unknown,
    /// They reach it by a bare address.
    #[error("It is known as {0}, a bare address.")]
    Address(PublicUrl),
    /// They reach it without TLS.
    #[error("It is known as {0}, without TLS.")]
    Open(PublicUrl),
}

impl RelyingParty {
    /// That of the server known by this address. A passkey is for one host name: `localhost`, or one with TLS.
    ///
    /// # Errors
    /// When browsers give no passkeys to such an address.
    pub fn new(url: Option<&PublicUrl>) -> Result<RelyingParty, Unfit> {
        let url = url.ok_or(Unfit::Unknown)?;
        let (host, bare) = (url.host(), || Unfit::Address(url.clone()));
        if host.parse::<std::net::IpAddr>().is_ok() {
            return Err(bare());
        }
        if !url.is_https() && host != "localhost" && !host.ends_with(".localhost") {
            return Err(Unfit::Open(url.clone()));
        }
        let origin: Url = url.as_str().parse().map_err(|_| bare())?;
        let party = WebauthnBuilder::new(host, &origin).and_then(|it| it.rp_name("Freehold").build());
        party.map(RelyingParty).map_err(|_| bare())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passkeys_are_for_names_that_browsers_trust() {
        let of = |url: &str| RelyingParty::new(Some(&url.parse().unwrap())).map(drop);
        for good in
            ["https://home.example", "https://home.example:7117", "http://localhost:7117", "https://nas"]
        {
            assert_eq!(of(good), Ok(()), "{good}");
        }
        for bare in ["http://127.0.0.1:7117", "https://192.168.1.5", "https://[::1]:7117"] {
            assert!(matches!(of(bare), Err(Unfit::Address(_))), "{bare}");
        }
        assert!(matches!(of("http://home.example"), Err(Unfit::Open(_))));
        assert!(matches!(RelyingParty::new(None), Err(Unfit::Unknown)));
    }
}
