//! Leases in SQLite. One process has the file open, so renewals are counted in memory and cost no write.

use super::{apply::Refusal, row::broken};
use crate::row::parse;
use freehold_model::{CommitError, Fence, Lease, LeaseChange};
use freehold_reconcile::StoreError;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How often each lease was renewed since the file was opened.
#[derive(Debug, Clone, Default)]
pub(super) struct Renewals(Arc<Mutex<BTreeMap<String, u64>>>);

impl Renewals {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses a fence whose lease has moved on.
pub(super) fn check(db: &Connection, fence: &Fence) -> Result<(), Refusal> {
    let mut found = db.prepare_cached("SELECT version FROM leases WHERE name = ?1")?;
    let found = found.query_row([&fence.lease], |row| row.get::<_, i64>(0)).optional()?.unwrap_or(0) as u64;
    if found == fence.version {
        return Ok(());
    }
    Err(CommitError::LeaseLost { lease: fence.lease.clone(), held: fence.version, found }.into())
}

/// Applies one change within the writer's transaction.
pub(super) fn change(
    db: &Connection,
    renewals: &Renewals,
    change: &LeaseChange,
    now: Timestamp,
) -> Result<(), Refusal> {
    match change {
        LeaseChange::Take { name, holder, note, seen } => {
            if renewals.lock().get(name).copied().unwrap_or(0) != seen.1 {
                return Ok(());
            }
            let sql = "INSERT INTO leases (name, holder, version, since, note) VALUES (?1, ?2, 1, ?3, ?4)
                       ON CONFLICT DO UPDATE SET holder = excluded.holder, version = version + 1,
                           since = excluded.since, note = excluded.note WHERE version = ?5";
            let row = params![name, holder, now.to_string(), note, seen.0 as i64];
            if db.prepare_cached(sql)?.execute(row)? == 1 {
                *renewals.lock().entry(name.clone()).or_default() += 1;
            }
        }
        LeaseChange::Renew { holder } => {
            let mut held = db.prepare_cached("SELECT name FROM leases WHERE holder = ?1")?;
            for name in held.query_map([holder], |row| row.get::<_, String>(0))? {
                *renewals.lock().entry(name?).or_default() += 1;
            }
        }
        LeaseChange::Release { holder } => {
            let sql = "UPDATE leases SET holder = '', version = version + 1, since = ?2 WHERE holder = ?1";
            db.prepare_cached(sql)?.execute(params![holder, now.to_string()])?;
        }
        LeaseChange::GiveUp { name, holder } => {
            let sql = "UPDATE leases SET holder = '', version = version + 1, since = ?2
                       WHERE holder = ?1 AND name = ?3";
            db.prepare_cached(sql)?.execute(params![holder, now.to_string(), name])?;
        }
    }
    Ok(())
}

/// Every lease, in order of names.
pub(super) fn all(db: &Connection, renewals: &Renewals) -> Result<Vec<Lease>, StoreError> {
    let sql = "SELECT name, holder, version, since, note FROM leases ORDER BY name";
    let mut statement = db.prepare_cached(sql).map_err(broken)?;
    let mut rows = statement.query([]).map_err(broken)?;
    let renewals = renewals.lock();
    let mut leases = vec![];
    while let Some(row) = rows.next().map_err(broken)? {
        let text = |index| row.get::<_, String>(index).map_err(broken);
        let name = text(0)?;
        leases.push(Lease {
            holder: text(1)?,
            version: row.get::<_, i64>(2).map_err(broken)? as u64,
            renewals: renewals.get(&name).copied().unwrap_or(0),
            since: parse("time", &text(3)?)?,
            note: text(4)?,
            name,
        });
    }
    Ok(leases)
}
