//! Applies one transaction inside a savepoint of the writer.
//!
//! The order is: fence, idempotency key, expected versions, writes, releases, claims, events, pruning. Versions and
//! generations that writes name are compared with what was stored *before* the transaction, so that one
//! transaction may write the spec and the status of a resource it read once.

use super::{claims, engine, failed, leases, log, prune::Cut, work::Work};
use crate::{job::Prepared, log::Stamp};
use freehold_model::{CommitError, Committed, Link, NewEvent};
use freehold_reconcile::StoreError;
use jiff::Timestamp;
use rusqlite::{Connection, params};
use serde_json::Value;

/// Why a transaction is rolled back to its savepoint.
pub(super) enum Refusal {
    Conflict(CommitError),
    Sqlite(rusqlite::Error),
}

impl From<CommitError> for Refusal {
    fn from(error: CommitError) -> Refusal {
        Refusal::Conflict(error)
    }
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Refusal {
        Refusal::Sqlite(error)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        Refusal::Conflict(CommitError::Engine(error.to_string()))
    }
}

impl From<Refusal> for CommitError {
    fn from(refusal: Refusal) -> CommitError {
        match refusal {
            Refusal::Conflict(error) => error,
            Refusal::Sqlite(error) => failed(error),
        }
    }
}

/// Applies `txn` after `head`, and moves `head` on. After a refusal `head` is as it was, and the caller
/// rolls back.
pub(super) fn apply(
    db: &Connection,
    head: &mut Link,
    txn: &Prepared,
    now: Timestamp,
) -> Result<Committed, Refusal> {
    if let Some(fence) = &txn.fence {
        leases::check(db, fence)?;
    }
    if let Some(answer) = replay(db, txn, now)? {
        return Ok(Committed { version: head.seq, replayed: Some(answer) });
    }
    let cut = txn.prune.as_ref().map(|prune| Cut::plan(db, prune)).transpose()?.flatten();
    let said: Vec<NewEvent> =
        txn.events.iter().cloned().chain(cut.iter().map(|cut| cut.event.clone())).collect();
    let guess = head.seq + (txn.writes.len() + said.len()) as u64;
    let mut work = Work::new(db, guess, now);
    for (id, version) in &txn.expect {
        work.expect(*id, *version)?;
    }
    for step in &txn.writes {
        work.step(step)?;
    }
    for (scope, key) in &txn.releases {
        claims::release(db, scope, key)?;
    }
    for claim in &txn.claims {
        claims::take(db, claim)?;
    }
    let version = head.seq + (work.caused() + said.len()) as u64;
    let caused = work.finish(version, &txn.reason)?;
    let mut end = head.clone();
    let stamp = Stamp { time: now, actor: &txn.actor, request: &txn.request };
    for event in caused.into_iter().chain(said) {
        log::insert(db, &stamp.append(&mut end, event))?;
    }
    if let Some(cut) = cut {
        cut.make(db, end.seq, now)?;
    }
    *head = end;
    Ok(Committed { version: head.seq, replayed: None })
}

/// The stored answer of the transaction's idempotency key, which is recorded if it is new.
fn replay(db: &Connection, txn: &Prepared, now: Timestamp) -> Result<Option<Value>, Refusal> {
    let Some(idempotency) = &txn.idempotency else { return Ok(None) };
    let sql = "INSERT INTO idempotency (key, time, answer) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    let row = params![idempotency.key, now.to_string(), idempotency.answer.to_string()];
    if db.prepare_cached(sql)?.execute(row)? == 1 {
        return Ok(None);
    }
    let sql = "SELECT answer FROM idempotency WHERE key = ?1";
    let answer: String = db.prepare_cached(sql)?.query_row([&idempotency.key], |row| row.get(0))?;
    let parsed = serde_json::from_str(&answer);
    parsed.map(Some).map_err(|error| CommitError::Engine(engine(error)).into())
}
