//! Bodies of the API about secrets. What holds a value prints nothing of it; no answer holds one.

use crate::{Actor, Name, SecretId, SecretName};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::Zeroizing;

/// The largest value, in bytes.
pub const MAX_VALUE: usize = 64 << 10;

/// A text that must not be seen: its `Debug` shows nothing of it, and its memory is overwritten.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hidden(Zeroizing<String>);

impl Hidden {
    /// Hides `text`.
    pub fn new(text: String) -> Hidden {
        Hidden(Zeroizing::new(text))
    }

    /// The text, for its one purpose.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(…)")
    }
}

/// A new version of a secret. Exactly one of `value` and `sealed` is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetSecret {
    /// The project; `default` when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<Name>,
    /// The app; made when there is none.
    pub app: Name,
    /// The env; `prod` when not given. Made when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<Name>,
    /// The secret.
    #[schema(value_type = String)]
    pub name: SecretName,
    /// The value in base64: 1 byte to 64 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub value: Option<Hidden>,
    /// The value as `freehold secret seal` made it: an armored age file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<String>,
    /// Refuses to make a secret that is not there yet, as a rotation must.
    #[serde(default)]
    pub must_exist: bool,
}

/// What setting a secret came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SecretSet {
    /// The secret as it is now.
    pub secret: SecretSummary,
    /// The version that holds the value.
    pub version: u32,
    /// Whether that version is new; when not, the current one holds the same value already.
    pub changed: bool,
    /// Whether the env was made for it.
    pub made_env: bool,
}

/// A secret, without its values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SecretSummary {
    /// Its id.
    #[schema(value_type = String)]
    pub id: SecretId,
    /// The project's name.
    pub project: String,
    /// The app's name.
    pub app: String,
    /// The env's name.
    pub env: String,
    /// Its name.
    pub name: String,
    /// The version that the next release gets; `None` when all were removed.
    pub current: Option<u32>,
    /// Every version there ever was, the newest first.
    pub versions: Vec<SecretVersionSummary>,
}

/// One version of a secret, without its value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SecretVersionSummary {
    /// Its number.
    pub number: u32,
    /// A keyed hash: equal for equal values of one secret, and of no use to guess them.
    pub fingerprint: String,
    /// When it was set.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// Who set it.
    pub actor: Actor,
    /// When it was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub removed: Option<Timestamp>,
    /// Who removed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_by: Option<Actor>,
    /// The releases that use it, by number: each can be rolled back to.
    pub releases: Vec<u32>,
    /// Whether an instance that runs, or shall, has it.
    pub runs: bool,
}

/// What the removal of versions came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SecretRemoved {
    /// The secret as it is now.
    pub secret: SecretSummary,
    /// The versions that were removed.
    pub removed: Vec<u32>,
}

/// The house's key for secrets: the half that anybody may know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HouseKey {
    /// Seals for this house; an age recipient.
    pub recipient: String,
    /// How many older keys are still needed; 0 but while a rotation is under way.
    pub older: u32,
}

/// What a rotation of the root key came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RotatedKey {
    /// The new key.
    pub key: HouseKey,
    /// How many versions were sealed again.
    pub resealed: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_prints_a_value() {
        let set = SetSecret {
            project: None,
            app: "a".parse().unwrap(),
            env: None,
            name: "A".parse().unwrap(),
            value: Some(Hidden::new("aHVudGVyMg==".into())),
            sealed: None,
            must_exist: false,
        };
        assert!(!format!("{set:?}").contains("aHVu"));
    }
}
