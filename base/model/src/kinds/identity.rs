//! An identity: the public key by which a machine is known. Its parent is the node (gateway, device).
//!
//! Written by `trust/identity`. Invariant: a key belongs to one identity for ever; one that was revoked is
//! refused even after its machine is gone from the store.

use super::kind;
use crate::{Actor, AnyId, JoinTokenId, Kind, Resource};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest as _, Sha256};
use std::{fmt, str::FromStr};

/// The public key by which a machine is known.
pub type Identity = Resource<IdentitySpec>;

/// Wanted of an identity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct IdentitySpec {
    /// What the machine is.
    pub machine: MachineKind,
    /// Its public key.
    #[schema(value_type = String)]
    pub key: KeyFingerprint,
    /// The join token that made it.
    #[schema(value_type = String)]
    pub token: JoinTokenId,
    /// Since when it is refused everywhere.
    #[serde(default)]
    pub revoked: Option<Revoked>,
}

/// That an identity counts no more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Revoked {
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// By whom.
    pub by: Actor,
}

/// Observed of an identity.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct IdentityStatus {
    /// The certificate that it was given last.
    pub issued: Option<IssuedCertificate>,
    /// The serial number of the newest certificate that it was seen to use, and what it trusts with it.
    pub used: Option<IssuedCertificate>,
}

/// A certificate that was issued; not the certificate itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct IssuedCertificate {
    /// Its serial number, in hex.
    pub serial: String,
    /// The number of the root that it leads to.
    pub root: u32,
    /// The number of the intermediate that signed it.
    pub intermediate: u32,
    /// From when it is valid.
    #[schema(value_type = String, format = DateTime)]
    pub not_before: Timestamp,
    /// Until when it is valid.
    #[schema(value_type = String, format = DateTime)]
    pub not_after: Timestamp,
}

/// What kind of machine an identity or a join token is for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum MachineKind {
    /// Runs instances.
    Node,
    /// Lets devices in from outside.
    Gateway,
    /// A phone, a laptop: reaches what runs.
    Device,
}

impl MachineKind {
    /// Every kind.
    pub const ALL: &'static [MachineKind] = &[MachineKind::Node, MachineKind::Gateway, MachineKind::Device];

    /// The kind of resource that such a machine is.
    pub fn kind(self) -> Kind {
        match self {
            MachineKind::Node => Kind::Node,
            MachineKind::Gateway => Kind::Gateway,
            MachineKind::Device => Kind::Device,
        }
    }

    /// What a machine with that id is; `None`: it is no machine's.
    pub fn of(id: AnyId) -> Option<MachineKind> {
        MachineKind::ALL.iter().copied().find(|machine| machine.kind() == id.kind)
    }

    /// The noun, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            MachineKind::Node => "node",
            MachineKind::Gateway => "gateway",
            MachineKind::Device => "device",
        }
    }
}

impl fmt::Display for MachineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for MachineKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = MachineKind::ALL.iter().find(|kind| kind.name() == text);
        found
            .copied()
            .ok_or_else(|| format!("`{text}` is no kind of machine; there are node, gateway, device"))
    }
}

/// The SHA-256 of a public key (its DER SubjectPublicKeyInfo, as RFC 7469 pins keys), written as 64 hex
/// digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyFingerprint(pub [u8; 32]);

impl KeyFingerprint {
    /// The fingerprint of a DER SubjectPublicKeyInfo.
    pub fn of(der: &[u8]) -> KeyFingerprint {
        KeyFingerprint(Sha256::digest(der).into())
    }
}

impl fmt::Display for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(self.0))
    }
}

/// A text that is not a key's fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the fingerprint of a key: one has 64 lower-case hex digits")]
pub struct KeyFingerprintError;

impl FromStr for KeyFingerprint {
    type Err = KeyFingerprintError;
    fn from_str(text: &str) -> Result<Self, KeyFingerprintError> {
        let mut bytes = [0; 32];
        let lower = text.bytes().all(|c| !c.is_ascii_uppercase());
        hex::decode_to_slice(text, &mut bytes).ok().filter(|()| lower).ok_or(KeyFingerprintError)?;
        Ok(KeyFingerprint(bytes))
    }
}

impl Serialize for KeyFingerprint {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyFingerprint {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

kind!(IdentitySpec, IdentityStatus, IdentityId, Identity);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_has_one_spelling() {
        let one = KeyFingerprint::of(b"key");
        assert_eq!(one.to_string().parse(), Ok(one));
        assert!(one.to_string().to_uppercase().parse::<KeyFingerprint>().is_err());
        assert!(one.to_string()[1..].parse::<KeyFingerprint>().is_err());
    }
}
