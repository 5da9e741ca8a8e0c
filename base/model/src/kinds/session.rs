//! A session: somebody who signed in, until they sign out, it ends or is revoked. Its parent is the user.
//!
//! Written by `trust/identity` alone. Invariant: what its bearer shows is not in it, only the hash, which the
//! claim `credential` keeps unique; revoking it is deleting it.

use super::kind;
use crate::{IdentityProviderId, Resource, SessionId, UserId};
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
    /// How they proved who they are: `password`, `code`, `passkey`, `device`, `provider NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What it waits for: until then it lets nobody in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(write_only)]
    pub waits: Option<Waits>,
}

/// What a session that is none yet waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "for", rename_all = "snake_case")]
pub enum Waits {
    /// For the code of a second factor, after a right password.
    SecondFactor,
    /// For somebody to allow a program that shows a code (RFC 8628).
    Device {
        /// Hex SHA-256 of the code.
        code: String,
        /// What they said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        answer: Option<DeviceAnswer>,
    },
    /// For somebody to come back from an identity provider.
    Provider {
        /// Which.
        #[schema(value_type = String)]
        provider: IdentityProviderId,
        /// What for.
        what: Errand,
        /// Where they go afterwards: a path of this house.
        next: String,
    },
}

/// What somebody went to an identity provider for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "to", rename_all = "snake_case")]
pub enum Errand {
    /// To sign in.
    SignIn,
    /// To link who they are there with who they are here.
    Link {
        /// Who they are here.
        #[schema(value_type = String)]
        user: UserId,
        /// In which session they asked.
        #[schema(value_type = String)]
        session: SessionId,
    },
    /// To take an invite with it.
    Invite {
        /// Hex SHA-256 of the invite.
        hash: String,
    },
}

/// What somebody said to a program that asked to sign in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum DeviceAnswer {
    /// It may act as this user.
    Allowed {
        /// Who.
        #[schema(value_type = String)]
        by: UserId,
    },
    /// It may not.
    Denied,
}

/// Observed of a session.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct SessionStatus {}

kind!(SessionSpec, SessionStatus, SessionId, Session);
