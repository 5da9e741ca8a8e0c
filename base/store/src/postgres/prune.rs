//! Pruning the log in PostgreSQL: what a group must know beforehand, what it leaves behind, and reading what is
//! kept of what went.

use super::{connect::Session, desk::Desk, engine};
use crate::prune::{ANCHOR, AnchorParts, Graves};
use freehold_model::{Anchor, Event, Prune, Seq};
use freehold_reconcile::StoreError;
use std::collections::BTreeMap;
use tokio_postgres::{Error, Row};

/// What was loaded of the log for a group that prunes.
#[derive(Debug, Default)]
pub(super) struct Beginning {
    /// The hashes of the events up to which it is to be pruned, where they are there.
    pub hashes: BTreeMap<Seq, String>,
    /// The creations and deletions up to there.
    pub events: Vec<Event>,
}

const HASHES: &str = "SELECT seq, hash FROM freehold.events WHERE seq = ANY($1)";
const BURY: &str = "INSERT INTO freehold.tombstones (id, parent) SELECT * FROM unnest($1::text[], $2::text[])
    ON CONFLICT (id) DO UPDATE SET parent = excluded.parent";
const LEAVE: &str = "DELETE FROM freehold.tombstones WHERE id = ANY($1)";
const DELETE: &str = "DELETE FROM freehold.events WHERE seq <= $1";
const FORGET: &str = "DELETE FROM freehold.anchor";
const KEEP: &str = "INSERT INTO freehold.anchor (seq, hash, said, time, policy) VALUES ($1, $2, $3, $4, $5)";

/// How a stored anchor is asked for.
pub(super) fn asked() -> String {
    format!("SELECT {ANCHOR} FROM freehold.anchor")
}

/// The anchor that was answered.
pub(super) fn decode(rows: &[Row]) -> Result<Option<Anchor>, StoreError> {
    let broken = |error: Error| StoreError::Engine(engine(&error));
    let Some(row) = rows.first() else { return Ok(None) };
    let parts = AnchorParts {
        seq: row.try_get(0).map_err(broken)?,
        hash: row.try_get(1).map_err(broken)?,
        said: row.try_get(2).map_err(broken)?,
        time: row.try_get(3).map_err(broken)?,
        policy: row.try_get(4).map_err(broken)?,
    };
    parts.decode().map(Some)
}

/// Loads what pruning up to `cuts` takes, within a group's transaction.
pub(super) async fn load(
    session: &Session,
    cuts: &[i64],
) -> Result<(Option<Anchor>, Beginning), super::load::Trouble> {
    let columns = crate::log::COLUMNS;
    let dead = format!(
        "SELECT {columns} FROM freehold.events
         WHERE seq <= $1 AND (what LIKE '%.created' OR what LIKE '%.deleted') ORDER BY seq LIMIT $2"
    );
    let (asked, hashes, dead) =
        (session.prepare(&asked()).await?, session.prepare(HASHES).await?, session.prepare(&dead).await?);
    // More than a transaction may take of them is refused anyway.
    let most = Prune::MOST as i64 * cuts.len() as i64;
    let last = cuts.iter().copied().max().unwrap_or(0);
    let anchor = session.client.query(&asked, &[]).await?;
    let hashes = session.client.query(&hashes, &[&cuts]).await?;
    let dead = session.client.query(&dead, &[&last, &most]).await?;
    let mut beginning = Beginning::default();
    for row in &hashes {
        let hash: &[u8] = row.try_get(1)?;
        beginning.hashes.insert(row.try_get::<_, i64>(0)? as Seq, hex::encode(hash));
    }
    for row in &dead {
        beginning.events.push(super::view::decode_event(row)?);
    }
    Ok((decode(&anchor)?, beginning))
}

/// Takes off the log what a group prunes, one statement after the other: before those that end the group, which are
/// sent together.
pub(super) async fn save(session: &Session, desk: &Desk) -> Result<(), Error> {
    let Some(anchor) = &desk.changed.anchor else { return Ok(()) };
    let dead = desk.beginning.events.iter().chain(&desk.events).filter(|event| event.seq <= anchor.seq);
    let Graves { made, left } = Graves::of(dead.cloned());
    let (seq, said) = (anchor.seq as i64, anchor.said as i64);
    let (hash, time) = (hex::decode(&anchor.hash).expect("a chain hash is hex"), anchor.time.to_string());
    if !made.0.is_empty() {
        session.client.execute(&session.prepare(BURY).await?, &[&made.0, &made.1]).await?;
    }
    if !left.is_empty() {
        session.client.execute(&session.prepare(LEAVE).await?, &[&left]).await?;
    }
    let (delete, forget, keep) =
        (session.prepare(DELETE).await?, session.prepare(FORGET).await?, session.prepare(KEEP).await?);
    session.client.execute(&delete, &[&seq]).await?;
    session.client.execute(&forget, &[]).await?;
    session.client.execute(&keep, &[&seq, &hash, &said, &time, &anchor.policy]).await.map(drop)
}
