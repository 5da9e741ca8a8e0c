//! A session: somebody who signed in, until they sign out, it ends or is revoked. Its parent is the user.
//!
//! Written by `trust/identity` alone. Invariant: what its bearer shows is not in it, only the hash, which the
//! claim `credential` keeps unique; revoking it is deleting it.

use super::kind;
use crate::Resource;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Somebody who signed in.
pub type Session = Resource<SessionSpec>;

/// Wanted of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SessionSpec {
    /// Hex SHA-256 of what its bearer shows. The API never says it.
    #[serde(default)]
    #[schema(write_only)]
    pub hash: String,
    /// It is worth nothing from then on.
    #[schema(value_type = String, format = DateTime)]
    pub expires: Timestamp,
    /// From where it was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// With which program, as it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
}

/// Observed of a session.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct SessionStatus {}

kind!(SessionSpec, SessionStatus, SessionId, Session);
