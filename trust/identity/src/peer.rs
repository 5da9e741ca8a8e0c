//! The machine at the other end of a connection with a client certificate of ours.
//!
//! The TLS door puts a [`Peer`] into the extensions of every request of such a connection, after it has seen
//! that the certificate is valid and not revoked. Node routes read it, and act for that node alone.

use freehold_model::NodeId;
use sha2::{Digest as _, Sha256};
use std::{fmt, str::FromStr};

/// The node that a connection was proved to come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Which.
    pub node: NodeId,
    /// The key of its certificate.
    pub key: KeyFingerprint,
}

/// Names a public key: the SHA-256 of its SubjectPublicKeyInfo (RFC 5280, 4.1), as hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyFingerprint([u8; 32]);

/// A text that is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key's fingerprint is 64 hex digits")]
pub struct KeyFingerprintError;

impl KeyFingerprint {
    /// Of a key, by its DER.
    pub fn of(public_key_info: &[u8]) -> KeyFingerprint {
        KeyFingerprint(Sha256::digest(public_key_info).into())
    }
}

impl fmt::Display for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyFingerprint({self})")
    }
}

impl FromStr for KeyFingerprint {
    type Err = KeyFingerprintError;
    fn from_str(text: &str) -> Result<Self, KeyFingerprintError> {
        let bytes = hex::decode(text).map_err(|_| KeyFingerprintError)?;
        bytes.try_into().map(KeyFingerprint).map_err(|_| KeyFingerprintError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_written() {
        let one = KeyFingerprint::of(b"a key");
        assert_eq!(one.to_string().parse(), Ok(one));
        assert_ne!(one, KeyFingerprint::of(b"another"));
        for bad in ["", "00", &"0".repeat(63), &"x".repeat(64)] {
            assert_eq!(bad.parse::<KeyFingerprint>(), Err(KeyFingerprintError), "{bad}");
        }
    }
}
