//! A resource as a row: JSON and times as text, the same in every engine.
//!
//! Callers encode before they queue, so that the writer spends its time on the engine alone. The text is
//! kept as it was written: a hash over it must come out the same ever after.

use freehold_model::{AnyId, AnyResource, Kind};
use freehold_reconcile::StoreError;
use jiff::Timestamp;
use std::fmt::Display;

/// The columns of [`Parts`], in its order.
pub(crate) const COLUMNS: &str =
    "id, parent, name, labels, generation, version, created, deleting, spec, status";

/// A stored resource, column by column, borrowed from whatever row it was read into.
pub(crate) struct Parts<'a> {
    pub id: &'a str,
    pub parent: &'a str,
    pub name: &'a str,
    pub labels: &'a str,
    pub generation: i64,
    pub version: i64,
    pub created: &'a str,
    pub deleting: Option<&'a str>,
    pub spec: &'a str,
    pub status: &'a str,
}

/// A resource whose parts are texts already.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub id: AnyId,
    pub kind: Kind,
    pub parent: Option<AnyId>,
    pub name: String,
    pub labels: String,
    /// What the writer saw; the stored row gets the version of its transaction.
    pub version: u64,
    pub created: String,
    pub deleting: Option<String>,
    pub spec: String,
    pub status: String,
}

impl From<AnyResource> for Row {
    fn from(resource: AnyResource) -> Row {
        Row {
            id: resource.id,
            kind: resource.kind,
            parent: resource.parent,
            name: resource.name,
            labels: serde_json::Value::from_iter(resource.labels).to_string(),
            version: resource.version,
            created: resource.created.to_string(),
            deleting: resource.deleting.map(|time| time.to_string()),
            spec: resource.spec.to_string(),
            status: resource.status.to_string(),
        }
    }
}

/// How an absent parent is stored.
pub(crate) fn parent_text(parent: Option<AnyId>) -> String {
    parent.map(|id| id.to_string()).unwrap_or_default()
}

/// The parent of such a text.
pub(crate) fn parse_parent(text: &str) -> Result<Option<AnyId>, StoreError> {
    if text.is_empty() { Ok(None) } else { parse("parent", text).map(Some) }
}

impl Parts<'_> {
    /// The resource that these columns are.
    pub(crate) fn decode(self) -> Result<AnyResource, StoreError> {
        let id: AnyId = parse("id", self.id)?;
        Ok(AnyResource {
            id,
            kind: id.kind,
            name: self.name.to_owned(),
            parent: parse_parent(self.parent)?,
            labels: json("labels", self.labels)?,
            generation: self.generation as u64,
            version: self.version as u64,
            created: parse("time", self.created)?,
            deleting: self.deleting.map(|time| parse::<Timestamp>("time", time)).transpose()?,
            spec: json("spec", self.spec)?,
            status: json("status", self.status)?,
        })
    }
}

/// A stored text as a value, or an error that says which text it was.
pub(crate) fn parse<T: std::str::FromStr<Err: Display>>(what: &str, text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|error| StoreError::Engine(format!("stored {what} `{text}`: {error}")))
}

/// Stored JSON as a value. The error does not repeat the text, which may be long.
pub(crate) fn json<T: serde::de::DeserializeOwned>(what: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Engine(format!("stored {what}: {error}")))
}

/// Whether two JSON texts mean the same. Equal texts, the common case, are not parsed.
pub(crate) fn same_json(stored: &str, new: &str) -> bool {
    let value = |text| serde_json::from_str::<serde_json::Value>(text).ok();
    stored == new || matches!((value(stored), value(new)), (Some(old), Some(new)) if old == new)
}
