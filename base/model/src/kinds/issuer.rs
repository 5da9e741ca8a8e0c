//! The issuer: the keys with which the house signs what it says of people to apps. There is one.
//!
//! Written by `trust/identity` alone. Invariant: private keys are in it sealed under the root key, and the API
//! says them to nobody; the newest key signs, older ones are published until nothing that they signed counts.

use super::kind;
use crate::Resource;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The keys that sign ID tokens.
pub type Issuer = Resource<IssuerSpec>;

/// Wanted of the issuer.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct IssuerSpec {
    /// The newest first.
    pub keys: Vec<SigningKey>,
}

/// A P-256 key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SigningKey {
    /// Its name in tokens and in the key set.
    pub kid: String,
    /// The public point, as JWK has it (RFC 7518, 6.2.1).
    pub x: String,
    /// The same.
    pub y: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// The private key, sealed under the root key. The API never says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(write_only)]
    pub sealed: Option<SealedValue>,
}

/// What is sealed under the root key of the house.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SealedValue {
    /// Base64 of an age file.
    pub sealed: String,
    /// The public half of the key under which it is sealed.
    pub key: String,
}

/// Observed of the issuer.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct IssuerStatus {}

kind!(IssuerSpec, IssuerStatus, IssuerId, Issuer);
