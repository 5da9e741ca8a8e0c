//! The event log in SQLite: where it ends, appending to it, reading it.

use super::row::broken;
use crate::log::Parts;
use freehold_model::{Event, Link, Seq};
use freehold_reconcile::StoreError;
use rusqlite::{Connection, OptionalExtension, params};

/// The end of the stored log.
pub(super) fn head(db: &Connection) -> rusqlite::Result<Link> {
    let mut last = db.prepare_cached("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1")?;
    let found = last.query_row([], |row| {
        let hash: Vec<u8> = row.get(1)?;
        Ok(Link { seq: row.get::<_, i64>(0)? as Seq, hash: hex::encode(hash) })
    });
    Ok(found.optional()?.unwrap_or_else(Link::genesis))
}

/// Appends one row.
pub(super) fn insert(db: &Connection, event: &Event) -> rusqlite::Result<()> {
    let sql = "INSERT INTO events (seq, time, actor, request, subject, what, data, hash)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    db.prepare_cached(sql)?.execute(params![
        event.seq as i64,
        event.time.to_string(),
        event.actor.to_string(),
        event.request,
        event.subject.to_string(),
        event.what,
        event.data.to_string(),
        hex::decode(&event.hash).expect("a chain hash is hex"),
    ])?;
    Ok(())
}

/// The event in a row of [`crate::log::COLUMNS`].
pub(super) fn decode(row: &rusqlite::Row<'_>) -> Result<Event, StoreError> {
    let text = |index| row.get_ref(index).and_then(|value| Ok(value.as_str()?)).map_err(broken);
    let parts = Parts {
        seq: row.get(0).map_err(broken)?,
        time: text(1)?,
        actor: text(2)?,
        request: text(3)?,
        subject: text(4)?,
        what: text(5)?,
        data: text(6)?,
        hash: row.get_ref(7).and_then(|value| Ok(value.as_blob()?)).map_err(broken)?,
    };
    parts.decode()
}
