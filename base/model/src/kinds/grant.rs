//! A grant: somebody signed in to an app through this house, until they sign out of either. Its parent is the
//! session of the house that they did it with.
//!
//! Written by `trust/identity` alone. Invariant: codes and tokens are not in it, only their hashes; ending it is
//! deleting it, and without its session it is worth nothing.

use super::kind;
use crate::{
    Resource,
    id::{EnvId, UserId},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Somebody signed in to an app.
pub type Grant = Resource<GrantSpec>;

/// Wanted of a grant: what the app asked for, and the person agreed to. Never changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GrantSpec {
    /// The app's client id.
    pub client: String,
    /// The env of the app.
    #[schema(value_type = String)]
    pub env: EnvId,
    /// Who.
    #[schema(value_type = String)]
    pub user: UserId,
    /// Where the code was sent to.
    pub redirect: String,
    /// The PKCE challenge, by S256.
    pub challenge: String,
    /// Joins the ID token with the app's own session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// What was asked for and given.
    pub scopes: Vec<String>,
    /// When they signed in to the house.
    #[schema(value_type = String, format = DateTime)]
    pub signed_in: Timestamp,
    /// The code, hashed. The API never says it.
    #[schema(write_only)]
    pub code: Shown,
}

/// Something that is shown once and kept hashed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Shown {
    /// Hex SHA-256.
    pub hash: String,
    /// It is worth nothing from then on.
    #[schema(value_type = String, format = DateTime)]
    pub expires: Timestamp,
}

/// Observed of a grant.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct GrantStatus {
    /// Whether the code was exchanged.
    pub used: bool,
    /// How often the tokens were renewed.
    pub refreshed: u32,
    /// The access token. The API never says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(write_only)]
    pub access: Option<Shown>,
    /// The refresh token, which each use replaces. The API never says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(write_only)]
    pub refresh: Option<Shown>,
}

kind!(GrantSpec, GrantStatus, GrantId, Grant);
