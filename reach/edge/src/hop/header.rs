//! What stands before a connection, or a datagram, that one edge hands to another: a PROXY header of version 2
//! with fields of our own (proxy-protocol.txt, 2.2.8: 0xE0 to 0xEF are free). Sans IO.
//!
//! Invariant: nothing of a header is believed whose code (HMAC-SHA-256, the last field, over all before it)
//! was not made with a key of the receiving node.

use super::HopKey;
use crate::header::{alike, plain};
use freehold_model::{EndpointId, InstanceId};
use hmac::{Hmac, KeyInit as _, Mac as _};
use ppp::v2;
use sha2::Sha256;
use std::net::SocketAddr;
use ulid::Ulid;

/// Fields: which endpoint, which instance, and the code.
const ENDPOINT: u8 = 0xE0;
const INSTANCE: u8 = 0xE1;
const CODE: u8 = 0xE2;
/// The code's length in bytes.
const CODE_LENGTH: usize = 32;
/// What comes before the length is known: signature, version and command, family, length.
pub(super) const PREAMBLE: usize = 16;
/// The longest that is taken: two IPv6 addresses with ports, and the fields.
pub(super) const MOST: usize = PREAMBLE + 36 + 2 * (3 + 16) + 3 + CODE_LENGTH;

/// What one edge tells another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hop {
    /// Through which endpoint the client came.
    pub(crate) endpoint: EndpointId,
    /// Which instance was chosen.
    pub(crate) instance: InstanceId,
    /// The client.
    pub(crate) client: SocketAddr,
    /// The address that it connected to.
    pub(crate) here: SocketAddr,
}

/// The header for `hop`, for a node with `key`.
pub(crate) fn seal(hop: &Hop, key: &HopKey) -> Vec<u8> {
    let addresses = alike(plain(hop.client), plain(hop.here));
    let command = v2::Version::Two | v2::Command::Proxy;
    let built = v2::Builder::with_addresses(command, v2::Protocol::Stream, addresses)
        .write_tlv(ENDPOINT, &hop.endpoint.0.to_bytes())
        .and_then(|built| built.write_tlv(INSTANCE, &hop.instance.0.to_bytes()))
        .and_then(|built| built.write_tlv(CODE, &[0; CODE_LENGTH]))
        .and_then(v2::Builder::build);
    // It can be too long for its length field only with more than this in it.
    let mut bytes = built.unwrap_or_default();
    if let Some((said, code)) = bytes.split_last_chunk_mut::<CODE_LENGTH>() {
        code.copy_from_slice(&key.code(said).finalize().into_bytes());
    }
    bytes
}

/// How long the header is that begins with `preamble`; `None` if it cannot be one.
pub(super) fn length(preamble: &[u8; PREAMBLE]) -> Option<usize> {
    let length = PREAMBLE + usize::from(u16::from_be_bytes([preamble[14], preamble[15]]));
    (preamble.starts_with(v2::PROTOCOL_PREFIX) && length <= MOST).then_some(length)
}

/// Whether it is worth to look for a header at the beginning of `bytes`.
pub(super) fn may_be(bytes: &[u8]) -> bool {
    bytes.starts_with(v2::PROTOCOL_PREFIX)
}

/// The header that `bytes` begin with, and what follows it; `None` unless it was sealed with one of `keys`.
pub(super) fn open<'b>(bytes: &'b [u8], keys: &[HopKey]) -> Option<(Hop, &'b [u8])> {
    let length = length(bytes.first_chunk()?)?;
    let (header, rest) = bytes.split_at_checked(length)?;
    let (said, code) = header.split_last_chunk::<CODE_LENGTH>()?;
    keys.iter().find(|key| key.code(said).verify_slice(code).is_ok())?;
    let header = v2::Header::try_from(header).ok()?;
    let (client, here) = match header.addresses {
        v2::Addresses::IPv4(ip) => (
            SocketAddr::from((ip.source_address, ip.source_port)),
            SocketAddr::from((ip.destination_address, ip.destination_port)),
        ),
        v2::Addresses::IPv6(ip) => (
            SocketAddr::from((ip.source_address, ip.source_port)),
            SocketAddr::from((ip.destination_address, ip.destination_port)),
        ),
        _ => return None,
    };
    let id = |kind| {
        let mut fields = header.tlvs().flatten();
        let field = fields.find(|field| field.kind == kind)?;
        Some(Ulid::from_bytes(field.value.as_ref().try_into().ok()?))
    };
    let (endpoint, instance) = (EndpointId(id(ENDPOINT)?), InstanceId(id(INSTANCE)?));
    Some((Hop { endpoint, instance, client: plain(client), here: plain(here) }, rest))
}

impl HopKey {
    fn code(&self, said: &[u8]) -> Hmac<Sha256> {
        let mut code = Hmac::<Sha256>::new_from_slice(&self.0).expect("any length will do");
        code.update(said);
        code
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::IpAddr;

    fn key(text: &str) -> HopKey {
        HopKey::of(text)
    }

    fn hop() -> impl Strategy<Value = Hop> {
        let address = || (any::<IpAddr>(), any::<u16>()).prop_map(|it| plain(SocketAddr::from(it)));
        let id = || any::<u128>().prop_map(Ulid);
        (id(), id(), address(), address()).prop_map(|(endpoint, instance, client, here)| Hop {
            endpoint: EndpointId(endpoint),
            instance: InstanceId(instance),
            client,
            here,
        })
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_opened_with_that_key_alone(hop in hop(), after in any::<Vec<u8>>()) {
            let sealed = seal(&hop, &key("nas"));
            prop_assert!(sealed.len() <= MOST);
            let bytes = [sealed.as_slice(), &after].concat();
            prop_assert_eq!(open(&bytes, &[key("older"), key("nas")]), Some((hop, after.as_slice())));
            prop_assert_eq!(open(&bytes, &[key("attic")]), None);
            prop_assert_eq!(open(&bytes, &[]), None);
        }

        #[test]
        fn a_header_that_was_changed_or_cut_is_none(hop in hop(), at: prop::sample::Index, bit in 0..8_u8) {
            let sealed = seal(&hop, &key("nas"));
            let at = at.index(sealed.len());
            prop_assert_eq!(open(&sealed[..at], &[key("nas")]), None);
            let mut changed = sealed.clone();
            changed[at] ^= 1 << bit;
            prop_assert_eq!(open(&changed, &[key("nas")]), None);
        }

        #[test]
        fn no_bytes_do_harm(bytes in any::<Vec<u8>>(), is_alike: bool) {
            let begun = [v2::PROTOCOL_PREFIX, &[0x21, 0x11, 0, 60], &bytes].concat();
            prop_assert_eq!(open(if is_alike { &begun } else { &bytes }, &[key("nas")]), None);
        }
    }
}
