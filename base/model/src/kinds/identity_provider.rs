//! An identity provider: another server that people may sign in to this house with (OpenID Connect), and how this
//! house proves itself there.
//!
//! Written by `trust/identity` alone. Invariants: the client's secret is in it sealed under the root key, and the API
//! says it to nobody; no two of them have one issuer, so that an issuer and a subject name one person.

use super::{SealedValue, kind};
use crate::Resource;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Another server that people sign in with.
pub type IdentityProvider = Resource<IdentityProviderSpec>;

/// Wanted of an identity provider.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct IdentityProviderSpec {
    /// Its address, letter by letter as it says it of itself.
    pub issuer: String,
    /// How people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// This house's name there.
    pub client_id: String,
    /// What proves it, sealed under the root key. The API never says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(write_only)]
    pub secret: Option<SealedValue>,
}

/// Observed of an identity provider.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct IdentityProviderStatus {}

/// Who somebody is at an identity provider: the issuer and what it calls them, which never changes. The claim
/// `linked-identity` keeps the pair unique.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LinkedIdentity {
    /// Which provider says so, by its address.
    pub issuer: String,
    /// What it calls them.
    pub subject: String,
    /// A name for people to know it by; nothing is decided by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<String>,
    /// When it was linked.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

kind!(IdentityProviderSpec, IdentityProviderStatus, IdentityProviderId, IdentityProvider);
