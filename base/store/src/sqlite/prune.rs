//! Pruning the log in SQLite, within the writer's transaction, and reading what is kept of what went.

use super::{apply::Refusal, log, row::broken};
use crate::prune::{ANCHOR, AnchorParts, Graves, tombstone};
use freehold_model::{Anchor, AnyId, NewEvent, Prune, Seq, Tombstone};
use freehold_reconcile::StoreError;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

/// What a transaction will take off the log.
pub(super) struct Cut<'a> {
    prune: &'a Prune,
    hash: Vec<u8>,
    /// The event about it.
    pub(super) event: NewEvent,
}

impl<'a> Cut<'a> {
    /// Nothing where all of it went before.
    pub(super) fn plan(db: &Connection, prune: &'a Prune) -> Result<Option<Cut<'a>>, Refusal> {
        let begin = anchor(db)?.map_or(0, |anchor| anchor.seq);
        let mut hash = db.prepare_cached("SELECT hash FROM events WHERE seq = ?1")?;
        let last = i64::try_from(prune.last).unwrap_or(i64::MAX);
        let hash: Option<Vec<u8>> = hash.query_row([last], |row| row.get(0)).optional()?;
        let text = hash.as_ref().map(hex::encode);
        let event = prune.plan(begin, text.as_deref())?;
        Ok(event.zip(hash).map(|(event, hash)| Cut { prune, hash, event }))
    }

    /// Takes it off; `said` is the event about it.
    pub(super) fn make(&self, db: &Connection, said: Seq, now: Timestamp) -> Result<(), Refusal> {
        let last = self.prune.last as i64;
        let graves = Graves::of(gone(db, last)?);
        let mut insert =
            db.prepare_cached("INSERT OR REPLACE INTO tombstones (id, parent) VALUES (?1, ?2)")?;
        for (id, parent) in graves.made.0.iter().zip(&graves.made.1) {
            insert.execute([id, parent])?;
        }
        let mut delete = db.prepare_cached("DELETE FROM tombstones WHERE id = ?1")?;
        for id in &graves.left {
            delete.execute([id])?;
        }
        db.prepare_cached("DELETE FROM events WHERE seq <= ?1")?.execute([last])?;
        db.prepare_cached("DELETE FROM anchor")?.execute([])?;
        let sql = "INSERT INTO anchor (seq, hash, said, time, policy) VALUES (?1, ?2, ?3, ?4, ?5)";
        let row = params![last, self.hash, said as i64, now.to_string(), self.prune.policy];
        db.prepare_cached(sql)?.execute(row)?;
        Ok(())
    }
}

/// The creations and deletions among what goes.
fn gone(db: &Connection, last: i64) -> Result<Vec<freehold_model::Event>, Refusal> {
    let sql = format!(
        "SELECT {} FROM events WHERE seq <= ?1 AND (what LIKE '%.created' OR what LIKE '%.deleted') ORDER BY seq",
        crate::log::COLUMNS
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query([last])?;
    let mut events = vec![];
    while let Some(row) = rows.next()? {
        events.push(log::decode(row)?);
    }
    Ok(events)
}

/// Behind which the log begins.
pub(super) fn anchor(db: &Connection) -> Result<Option<Anchor>, StoreError> {
    let sql = format!("SELECT {ANCHOR} FROM anchor");
    let mut statement = db.prepare_cached(&sql).map_err(broken)?;
    let mut rows = statement.query([]).map_err(broken)?;
    let Some(row) = rows.next().map_err(broken)? else { return Ok(None) };
    let text = |index| row.get_ref(index).and_then(|value| Ok(value.as_str()?)).map_err(broken);
    let parts = AnchorParts {
        seq: row.get(0).map_err(broken)?,
        hash: row.get_ref(1).and_then(|value| Ok(value.as_blob()?)).map_err(broken)?,
        said: row.get(2).map_err(broken)?,
        time: text(3)?,
        policy: text(4)?,
    };
    parts.decode().map(Some)
}

/// What is kept of `id`.
pub(super) fn buried(db: &Connection, id: AnyId) -> Result<Option<Tombstone>, StoreError> {
    let mut statement = db.prepare_cached("SELECT parent FROM tombstones WHERE id = ?1").map_err(broken)?;
    let parent = statement.query_row([id.to_string()], |row| row.get::<_, String>(0)).optional();
    parent.map_err(broken)?.map(|parent| tombstone(&parent)).transpose()
}
