//! A join token: the right to become one machine of the house, once, for a while.
//!
//! Written by `trust/identity`. Invariant: the token itself is kept nowhere, only its hash; it is used up in
//! the transaction that makes the identity it was for.

use super::{KeyFingerprint, MachineKind, kind};
use crate::{Actor, AnyId, IdentityId, Name, Resource};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The right to become one machine of the house.
pub type JoinToken = Resource<JoinTokenSpec>;

/// Wanted of a join token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct JoinTokenSpec {
    /// What may join with it.
    pub machine: MachineKind,
    /// The SHA-256 of its secret part, in hex. The API never says it.
    #[serde(default)]
    #[schema(write_only)]
    pub hash: String,
    /// The root that it makes a machine trust.
    #[schema(value_type = String)]
    pub root: KeyFingerprint,
    /// Until when it can be used.
    #[schema(value_type = String, format = DateTime)]
    pub expires: Timestamp,
    /// The only name that a machine may join with.
    #[serde(default)]
    pub only: Option<Name>,
    /// Who made it.
    pub actor: Actor,
    /// Since when it cannot be used, if somebody wanted that.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked: Option<Timestamp>,
}

/// Observed of a join token.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct JoinTokenStatus {
    /// What became of it.
    pub used: Option<UsedToken>,
    /// How often somebody who had it was refused. Counted as far as it is audited.
    pub refused: u32,
}

/// What a join token was used for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct UsedToken {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The key that joined: with the same, an interrupted join can be repeated.
    #[schema(value_type = String)]
    pub key: KeyFingerprint,
    /// The identity that it made.
    #[schema(value_type = String)]
    pub identity: IdentityId,
    /// The node, gateway or device that it made.
    #[schema(value_type = String)]
    #[serde(rename = "node")]
    pub machine: AnyId,
}

kind!(JoinTokenSpec, JoinTokenStatus, JoinTokenId, JoinToken);
