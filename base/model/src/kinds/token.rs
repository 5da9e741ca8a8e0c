//! A token: lets a machine in, as far as its bindings go, until it expires. It stands at the top.
//!
//! Written by `trust/identity` alone. Invariant: the token itself is not in it, only its hash, which the
//! claim `credential` keeps unique; revoking it is deleting it.

use super::kind;
use crate::{Actor, AnyId, Binding, Rate, Resource};
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
    /// The user or the token that made it, and without which it is worth nothing; none: whoever has the token
    /// of the data directory, or, in tokens from before this was kept, whom `creator` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub maker: Option<AnyId>,
    /// How many requests its bearer may make; what the house gives where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub rate: Option<Rate>,
}

/// Observed of a token.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct TokenStatus {}

kind!(TokenSpec, TokenStatus, TokenId, Token);
