//! Reading a resource out of a row of SQLite, and what a failed read becomes.

use super::engine;
use crate::row::Parts;
use freehold_model::AnyResource;
use freehold_reconcile::StoreError;
use std::fmt::Display;

/// The resource in a row of [`crate::row::COLUMNS`].
pub(super) fn decode(row: &rusqlite::Row<'_>) -> Result<AnyResource, StoreError> {
    let text = |index| row.get_ref(index).and_then(|value| Ok(value.as_str()?)).map_err(broken);
    let deleting = row.get_ref(7).and_then(|value| Ok(value.as_str_or_null()?)).map_err(broken)?;
    let parts = Parts {
        id: text(0)?,
        parent: text(1)?,
        name: text(2)?,
        labels: text(3)?,
        generation: row.get(4).map_err(broken)?,
        version: row.get(5).map_err(broken)?,
        created: text(6)?,
        deleting,
        spec: text(8)?,
        status: text(9)?,
    };
    parts.decode()
}

/// A failure of the engine or of what it stores.
pub(super) fn broken(error: impl Display) -> StoreError {
    StoreError::Engine(engine(error))
}
