//! A token: lets a machine in, as far as its bindings go, until it expires. It stands at the top.
//!
//! Written by `trust/identity` alone. Invariant: the token itself is not in it, only its hash, which the
//! claim `credential` keeps unique; revoking it is deleting it.

use super::kind;
use crate::{Actor, Binding, Resource};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A token for a machine.
pub type TokenResource = Resource<TokenSpec>;

/// Wanted of a token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TokenSpec {
    /// Hex SHA-256 of the token. The API never says it.
    #[serde(default)]
    #[schema(write_only)]
    pub hash: String,
    /// What its bearer may do, and where.
    pub bindings: Vec<Binding>,
    /// It is worth nothing from then on.
    #[schema(value_type = String, format = DateTime)]
    pub expires: Timestamp,
    /// Who made it.
    pub creator: Actor,
}

/// Observed of a token.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct TokenStatus {}

kind!(TokenSpec, TokenStatus, TokenId, Token);
