//! Where instances may run, where they would rather, and why one runs where it does: labels, taints,
//! affinity, spread, and the explanation that is kept with an instance.
//!
//! Written by manifests and node operations, read by `run/schedule`. Invariant: a [`LabelKey`] in hand is
//! a valid one.

use crate::{InstanceId, Name};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use std::{borrow::Borrow, collections::BTreeMap, fmt, str::FromStr};

/// A label of nodes, or a taint: `zone`, `hardware/gpu`. 1 to 63 of `a-z`, `0-9`, `.`, `_`, `-` and `/`,
/// starting and ending with a letter or a digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, utoipa::ToSchema)]
#[serde(transparent)]
pub struct LabelKey(String);

/// A text that is no key, or no value, of a label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// No key.
    #[error(
        "`{0}` is not a label: use 1 to 63 of a-z, 0-9, `.`, `_`, `-` and `/`, starting and ending with a \
         letter or digit"
    )]
    Key(String),
    /// No value.
    #[error("`{0}` is not a label's value: use 1 to 63 of letters, digits, `.`, `_`, `-` and `/`")]
    Value(String),
}

impl LabelKey {
    /// What every node has, without anybody setting it: its name.
    pub const HOST: &str = "host";

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks that `text` can be the value of a label.
///
/// # Errors
/// When it cannot.
pub fn label_value(text: &str) -> Result<(), LabelError> {
    let good = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-' | b'/');
    match (1..=63).contains(&text.len()) && text.bytes().all(good) {
        true => Ok(()),
        false => Err(LabelError::Value(crate::manifest::shown(text))),
    }
}

impl FromStr for LabelKey {
    type Err = LabelError;
    fn from_str(text: &str) -> Result<Self, LabelError> {
        let end = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let inner = |c: &u8| end(c) || matches!(c, b'.' | b'_' | b'-' | b'/');
        let bytes = text.as_bytes();
        let good = (1..=63).contains(&bytes.len())
            && bytes.iter().all(inner)
            && end(&bytes[0])
            && end(&bytes[bytes.len() - 1]);
        if good { Ok(LabelKey(text.into())) } else { Err(LabelError::Key(crate::manifest::shown(text))) }
    }
}

impl fmt::Display for LabelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Borrow<str> for LabelKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for LabelKey {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Labels, each with the values of which a node has one.
pub type Selector = BTreeMap<LabelKey, Vec<String>>;

/// Which nodes an instance may be on, and which it would rather.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Affinity {
    /// Labels that its node must have, each with one of these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    pub require: Selector,
    /// Labels that its node would better have: the more, the better.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    pub prefer: Selector,
    /// Processes of its env that are never on its node; its own: one instance to a node.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub apart: Vec<Name>,
}

impl Affinity {
    /// Whether it asks for nothing.
    pub fn is_default(&self) -> bool {
        *self == Affinity::default()
    }
}

/// Instances of a process are spread over the values of a label: failure domains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Spread {
    /// The label: `zone`, `host`.
    pub over: LabelKey,
    /// No domain may have so many more than the one with fewest; `None`: as evenly as it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_skew: Option<u32>,
}

/// What the manifest says of where the instances of a process go, as their template keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Rules {
    /// Which nodes.
    #[serde(skip_serializing_if = "Affinity::is_default")]
    pub affinity: Affinity,
    /// Over which failure domains.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub spread: Vec<Spread>,
    /// The taints that do not keep it away.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub tolerate: Vec<LabelKey>,
}

impl Rules {
    /// Whether it asks for nothing.
    pub fn is_default(&self) -> bool {
        *self == Rules::default()
    }
}

/// How an instance came to its node; kept with it, as it was seen then.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Placed {
    /// Instances of lower priority make room for it.
    #[serde(skip_serializing_if = "is_normal")]
    pub priority: i32,
    /// Why here.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How here compares, in words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub scores: String,
    /// Why not elsewhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<Elsewhere>,
    /// The instances that make room for it on its node: it starts when they are gone from there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub room_of: Vec<InstanceId>,
    /// Those of them that were told to stop for it, as they were then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub displaced: Vec<Displaced>,
    /// For whom it was stopped itself, if it was. It is kept until there is another one in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preempted: Option<Preempted>,
}

/// An instance that has to make room for one of higher priority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Displaced {
    /// Which.
    #[schema(value_type = String)]
    pub instance: InstanceId,
    /// Whose: `shop/prod web`.
    pub of: String,
    /// Its priority.
    #[serde(default, skip_serializing_if = "is_normal")]
    pub priority: i32,
}

impl fmt::Display for Displaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, priority {})", self.of, self.instance, self.priority)
    }
}

/// For whom an instance made room, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Preempted {
    /// The instance that has its room.
    #[schema(value_type = String)]
    pub by: InstanceId,
    /// Whose: `shop/prod web`.
    pub of: String,
    /// The priority of that one.
    pub priority: i32,
    /// When it was told to stop.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

impl fmt::Display for Preempted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pre-empted by {} ({}, priority {}) at {}", self.of, self.by, self.priority, self.at)
    }
}

impl Placed {
    /// Whether nothing is known of it.
    pub fn is_default(&self) -> bool {
        *self == Placed::default()
    }
}

/// Nodes that were not chosen, and what they have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Elsewhere {
    /// Some of them, by name.
    pub nodes: Vec<String>,
    /// How many more there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u32,
    /// Why not there: `is cordoned`.
    pub why: String,
}

impl fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.nodes.join(", "))?;
        if self.more > 0 {
            write!(f, " and {} more", self.more)?;
        }
        write!(f, ": {}", self.why)
    }
}

fn is_normal(priority: &i32) -> bool {
    *priority == 0
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_labels_are_labels() {
        for good in ["zone", "hardware/gpu", "a", "x.y_z-1", &"x".repeat(63)] {
            assert!(good.parse::<LabelKey>().is_ok(), "{good}");
        }
        for bad in ["", "/gpu", "gpu/", "Zone", "a b", "ä", "a=b", &"x".repeat(64)] {
            assert!(bad.parse::<LabelKey>().is_err(), "{bad}");
        }
        for good in ["1", "Cellar", "10.0.0.1", &"x".repeat(63)] {
            assert!(label_value(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "ä", &"x".repeat(64)] {
            assert!(label_value(bad).is_err(), "{bad}");
        }
    }
}
