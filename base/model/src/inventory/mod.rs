//! An inventory: what another system knew of a household's machines, as one JSON document. `freehold state
//! import` begins a store with it, `freehold state export` writes it.
//!
//! The schema is `docs/inventory.schema.json`. Invariant: a document that [`Inventory::parse`] lets through
//! can be imported into an empty store as a whole.

mod check;

pub use check::Fault;

use crate::Name;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, net::IpAddr, str::FromStr};

/// The format that this program reads and writes.
pub const FORMAT: u32 = 1;

/// Machines, their addresses, and what is known of their past.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// 1.
    #[schemars(range(min = 1, max = 1))]
    pub format: u32,
    /// Machines that run apps. Each has to join before it does.
    #[serde(default)]
    pub nodes: Vec<ListedNode>,
    /// Machines that only reach them.
    #[serde(default)]
    pub devices: Vec<ListedDevice>,
    /// Addresses that are taken.
    #[serde(default)]
    pub addresses: Vec<ListedAddress>,
    /// What happened, the oldest first. Each becomes an event that says when it was and who did it.
    #[serde(default)]
    pub audit: Vec<AuditEntry>,
}

/// A machine that runs apps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListedNode {
    /// Unique among nodes.
    #[schemars(with = "String")]
    pub name: Name,
    /// What it is told apart by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Whether it takes no new instances.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cordoned: bool,
    /// Since when it is known; now, when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub created: Option<Timestamp>,
}

/// A machine that reaches what runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListedDevice {
    /// Unique among devices.
    #[schemars(with = "String")]
    pub name: Name,
    /// Whose it is, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Its WireGuard key: 32 bytes in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// What it is told apart by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Since when it is known; now, when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub created: Option<Timestamp>,
}

/// An address that is taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListedAddress {
    /// IPv4 or IPv6; unique.
    #[schemars(with = "String")]
    pub address: IpAddr,
    /// Whose.
    #[schemars(with = "String", regex(pattern = "^(node|device)/.+$"))]
    pub owner: Listed,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditEntry {
    /// When.
    #[schemars(with = "String")]
    pub time: Timestamp,
    /// Who did it, in the words of the system that it comes from.
    pub actor: String,
    /// What, as `kind.verb`.
    #[schemars(regex(pattern = "^[a-z_]+\\.[a-z_]+$"))]
    pub what: String,
    /// To what.
    #[schemars(with = "String", regex(pattern = "^(node|device)/.+$"))]
    pub subject: Listed,
    /// Details; never a secret.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub data: serde_json::Value,
}

/// A machine of the document: `node/NAME` or `device/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listed {
    /// One of its nodes.
    Node(Name),
    /// One of its devices.
    Device(Name),
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listed::Node(name) => write!(f, "node/{name}"),
            Listed::Device(name) => write!(f, "device/{name}"),
        }
    }
}

impl FromStr for Listed {
    type Err = String;

    fn from_str(text: &str) -> Result<Listed, String> {
        let name = |name: &str| name.parse().map_err(|error| format!("`{name}`: {error}"));
        match text.split_once('/') {
            Some(("node", rest)) => name(rest).map(Listed::Node),
            Some(("device", rest)) => name(rest).map(Listed::Device),
            _ => Err(format!("`{text}` is no machine: write node/NAME or device/NAME")),
        }
    }
}

impl Serialize for Listed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Listed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Listed, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The JSON Schema of the document.
pub fn schema() -> serde_json::Value {
    let mut schema = serde_json::to_value(schemars::schema_for!(Inventory)).unwrap_or_default();
    schema["title"] = "Freehold inventory".into();
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_schema_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/inventory.schema.json");
        let now = format!("{:#}\n", schema());
        if std::env::var_os("FREEHOLD_REGENERATE").is_some() {
            std::fs::write(path, &now).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(committed, now, "run it with FREEHOLD_REGENERATE=1");
    }
}
