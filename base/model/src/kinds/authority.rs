//! The certificate authority of a house: its roots and its intermediates. There is one.
//!
//! Written by `trust/identity` alone. Invariant: a private key is here only sealed under the house's root
//! key, and no answer of the API holds it; a number is never given twice.

use super::{KeyFingerprint, kind};
use crate::Resource;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The certificate authority of a house.
pub type Authority = Resource<AuthoritySpec>;

/// Wanted of the authority.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct AuthoritySpec {
    /// The SPIFFE trust domain of every identity: a DNS name that nobody else has.
    pub house: String,
    /// The roots that are trusted, the newest first. Those after it are trusted until nobody depends on them.
    pub roots: Vec<CaCertificate>,
    /// The intermediates, the newest first: that one issues. Those after it issued what may still be valid.
    pub intermediates: Vec<CaCertificate>,
    /// The highest number ever given to either.
    pub last: u32,
}

/// A certificate that may sign others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CaCertificate {
    /// 1, 2, 3, … within the house.
    pub number: u32,
    /// Of an intermediate, the root that signed it; of a root, itself.
    pub root: u32,
    /// The certificate, as PEM.
    pub certificate: String,
    /// The same key certified by the root before it, as PEM: who trusts that one alone can follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cross: Option<String>,
    /// Its public key.
    #[schema(value_type = String)]
    pub fingerprint: KeyFingerprint,
    /// Its private key, sealed under the house's root key: base64 of an age file. `None` once it is forgotten.
    /// The API never says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(write_only)]
    pub sealed: Option<String>,
    /// The public half of the key under which it is sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// Until when it can be valid.
    #[schema(value_type = String, format = DateTime)]
    pub not_after: Timestamp,
}

/// Observed of the authority.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct AuthorityStatus {}

kind!(AuthoritySpec, AuthorityStatus, AuthorityId, Authority);
