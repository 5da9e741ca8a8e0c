//! A resource as a row: JSON and times as text.
//!
//! Callers encode before they queue, so that the writer thread spends its time on SQLite alone.

use super::engine;
use freehold_model::{AnyId, AnyResource, Kind};
use freehold_reconcile::StoreError;
use jiff::Timestamp;
use std::fmt::Display;

/// The columns of [`decode`], in its order.
pub(super) const COLUMNS: &str =
    "id, parent, name, labels, generation, version, created, deleting, spec, status";

/// A resource whose parts are texts already.
#[derive(Debug)]
pub(super) struct Row {
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
pub(super) fn parent_text(parent: Option<AnyId>) -> String {
    parent.map(|id| id.to_string()).unwrap_or_default()
}

/// The parent of such a text.
pub(super) fn parse_parent(text: &str) -> Result<Option<AnyId>, StoreError> {
    if text.is_empty() { Ok(None) } else { parse("parent", text).map(Some) }
}

/// The resource in a row of [`COLUMNS`].
pub(super) fn decode(row: &rusqlite::Row<'_>) -> Result<AnyResource, StoreError> {
    let text = |index| row.get_ref(index).and_then(|value| Ok(value.as_str()?)).map_err(broken);
    let id: AnyId = parse("id", text(0)?)?;
    let deleting: Option<String> = row.get(7).map_err(broken)?;
    Ok(AnyResource {
        id,
        kind: id.kind,
        name: text(2)?.to_owned(),
        parent: parse_parent(text(1)?)?,
        labels: serde_json::from_str(text(3)?).map_err(broken)?,
        generation: row.get::<_, i64>(4).map_err(broken)? as u64,
        version: row.get::<_, i64>(5).map_err(broken)? as u64,
        created: parse("time", text(6)?)?,
        deleting: deleting.map(|time| parse::<Timestamp>("time", &time)).transpose()?,
        spec: serde_json::from_str(text(8)?).map_err(broken)?,
        status: serde_json::from_str(text(9)?).map_err(broken)?,
    })
}

/// A stored text as a value, or an error that says which text it was.
pub(super) fn parse<T: std::str::FromStr<Err: Display>>(what: &str, text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|error| StoreError::Engine(format!("stored {what} `{text}`: {error}")))
}

/// A failure of the engine or of what it stores.
pub(super) fn broken(error: impl Display) -> StoreError {
    StoreError::Engine(engine(error))
}

/// Whether two JSON texts mean the same. Equal texts, the common case, are not parsed.
pub(super) fn same_json(stored: &str, new: &str) -> bool {
    let value = |text| serde_json::from_str::<serde_json::Value>(text).ok();
    stored == new || matches!((value(stored), value(new)), (Some(old), Some(new)) if old == new)
}
