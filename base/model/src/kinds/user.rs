//! A user: a person who signs in, and what they may do where. They stand at the top; their sessions are theirs.
//!
//! Written by `trust/identity` alone. Invariant: passwords and invites are in it as hashes; the API says
//! neither. A user without a password cannot sign in: an invite is how they choose one.

use super::kind;
use super::passkey::{Answered, Passkey};
use crate::{Binding, LinkedIdentity, Resource};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A person who signs in.
pub type User = Resource<UserSpec>;

/// Wanted of a user.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct UserSpec {
    /// How people call them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_name: Option<String>,
    /// The password as argon2id keeps it (PHC string). The API never says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(write_only)]
    pub password: Option<String>,
    /// Whether they cannot sign in, whatever they know.
    pub disabled: bool,
    /// What they may be, and where.
    pub bindings: Vec<Binding>,
    /// With which they may choose a password, once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(write_only)]
    pub invite: Option<Invite>,
    /// What they prove beside the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(write_only)]
    pub second_factor: Option<SecondFactor>,
    /// With which they sign in without a password.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(write_only)]
    pub passkeys: Vec<Passkey>,
    /// The challenges that these answered of late.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(write_only)]
    pub answered: Vec<Answered>,
    /// Who they are at identity providers: other ways to sign in. The API tells only themselves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(write_only)]
    pub linked: Vec<LinkedIdentity>,
}

impl UserSpec {
    /// Whether a password alone does not sign them in.
    pub fn has_second_factor(&self) -> bool {
        self.second_factor.as_ref().is_some_and(|factor| factor.since.is_some())
    }

    /// Whether they have more to prove who they are than a password: what an org can ask for.
    pub fn proves_twice(&self) -> bool {
        self.has_second_factor() || !self.passkeys.is_empty()
    }
}

/// An authenticator (RFC 6238). The API says nothing of it but that it is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SecondFactor {
    /// What it shares with the house, sealed for this user, in base64.
    pub sealed: String,
    /// The public half of the root key under which it is sealed.
    pub key: String,
    /// Since when it is in force: since its first right code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// The step of the last code that was taken: neither it nor an older one is taken again.
    #[serde(default)]
    pub last_step: u64,
    /// Hex SHA-256 of the recovery codes that are left.
    #[serde(default)]
    pub recovery: Vec<String>,
}

/// A single-use right to choose a password.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Invite {
    /// Hex SHA-256 of its text.
    pub hash: String,
    /// It is worth nothing from then on.
    #[schema(value_type = String, format = DateTime)]
    pub expires: Timestamp,
}

/// Observed of a user.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct UserStatus {
    /// Wrong passwords since the last right one, or since the account was locked.
    pub failures: u32,
    /// How often it was locked since the last right one.
    pub locks: u32,
    /// Until then no password is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub locked_until: Option<Timestamp>,
}

kind!(UserSpec, UserStatus, UserId, User);
