//! A secret: a value that only its workload sees, by versions. Its parent is an env; its name is the
//! variable's.
//!
//! Written by the vault (`trust/secrets`) alone. Invariant: a number is never given to two values, so that
//! a release that names a version means one value for ever; what is removed leaves its number behind.

use super::kind;
use crate::{Actor, Resource};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use std::{fmt, str::FromStr};

/// A value that only its workload sees. Its parent is an env.
pub type Secret = Resource<SecretSpec>;

/// Wanted of a secret.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct SecretSpec {
    /// What the next release gets; `None` when every version was removed.
    pub current: Option<u32>,
    /// The highest number ever given.
    pub last: u32,
    /// Those that can still be opened, in order of numbers.
    pub versions: Vec<SecretVersion>,
    /// Those that were removed, in order of numbers.
    pub removed: Vec<RemovedVersion>,
}

/// One value of a secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SecretVersion {
    /// 1, 2, 3, … within the secret.
    pub number: u32,
    /// The value, sealed under the root key: base64 of an age file. The API never says it.
    #[serde(default)]
    #[schema(write_only)]
    pub sealed: String,
    /// The public half of the root key under which it is sealed.
    pub key: String,
    /// Whether an environment variable can hold it: UTF-8 without zero bytes.
    pub text: bool,
    /// Tells versions of one secret apart: a keyed hash, so that nobody can guess values with it.
    pub fingerprint: String,
    /// When it was set.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// Who set it.
    pub actor: Actor,
}

/// A value that nobody has any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RemovedVersion {
    /// Its number, which no other value gets.
    pub number: u32,
    /// Its fingerprint.
    pub fingerprint: String,
    /// When it was set.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// Who set it.
    pub actor: Actor,
    /// When it was removed.
    #[schema(value_type = String, format = DateTime)]
    pub removed: Timestamp,
    /// Who removed it.
    pub removed_by: Actor,
}

impl SecretSpec {
    /// The version of that number, if it can still be opened.
    pub fn version(&self, number: u32) -> Option<&SecretVersion> {
        self.versions.iter().find(|version| version.number == number)
    }
}

/// Observed of a secret.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct SecretStatus {}

/// What a secret is called: 1 to 128 of `A-Z`, `a-z`, `0-9` and `_`, not starting with a digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, utoipa::ToSchema)]
#[serde(transparent)]
pub struct SecretName(String);

/// A text that cannot be a secret's name. Does not repeat the text: it may be the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a secret's name: use 1 to 128 of A-Z, a-z, 0-9 and _, not starting with a digit")]
pub struct SecretNameError;

impl SecretName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SecretName {
    type Err = SecretNameError;
    fn from_str(text: &str) -> Result<Self, SecretNameError> {
        let good = (1..=128).contains(&text.len())
            && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
            && !text.as_bytes()[0].is_ascii_digit();
        if good { Ok(SecretName(text.to_owned())) } else { Err(SecretNameError) }
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'de> Deserialize<'de> for SecretName {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A version of a secret as a template names it, and where the instance finds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PinnedSecret {
    /// The secret.
    #[schema(value_type = String)]
    pub name: SecretName,
    /// The version; 0 in a plan, where there is none.
    pub version: u32,
    /// As this environment variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// As this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

kind!(SecretSpec, SecretStatus, SecretId, Secret);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_variables_and_a_value_is_not_repeated() {
        for good in ["A", "_x", "ADMIN_PASSWORD", "key2", &"x".repeat(128)] {
            assert!(good.parse::<SecretName>().is_ok(), "{good}");
        }
        for bad in ["", "2KEY", "A=hunter2", "A-B", "a.b", "é", &"x".repeat(129)] {
            let error = bad.parse::<SecretName>().unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
