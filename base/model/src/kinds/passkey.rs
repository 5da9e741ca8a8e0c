//! A passkey of a person (WebAuthn): a key pair whose private half never leaves their phone, computer or security key.
//!
//! Part of a user, written by `trust/identity` alone. Invariants: what is kept is public halves and counters, no
//! secret; a credential is one person's (the claim `passkey` keeps it unique); and a challenge is answered once.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One passkey.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Passkey {
    /// Hex SHA-256 of the credential's id; [`Passkey::id`] is how it is called.
    pub hash: String,
    /// What its person calls it; no two of theirs have one name.
    pub name: String,
    /// The credential with its counter, as the library that checks it keeps it.
    #[schema(value_type = Object)]
    pub credential: serde_json::Value,
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// When somebody last signed in with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used: Option<Timestamp>,
}

impl Passkey {
    /// Tells it from the others of its person: the first 16 digits of its hash.
    pub fn id(&self) -> &str {
        self.hash.get(..16).unwrap_or(&self.hash)
    }
}

/// A challenge that was answered, which is refused from then on; kept as long as it could be answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Answered {
    /// Hex SHA-256 of the challenge.
    pub challenge: String,
    /// Nothing takes it from then on anyway.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
}
