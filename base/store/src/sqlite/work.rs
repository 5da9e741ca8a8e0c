//! The writes of one transaction, one SQL statement or two each, and the events that they cause.
//!
//! [`super::apply`] calls these in order. Written rows get the version of the transaction's last event,
//! which is guessed first (as if no write were idle) and mended at the end if the guess was wrong.

use super::{apply::Refusal, claims};
use crate::{
    caused::{Before, Caused, stale},
    job::Step,
    row::{Row, parent_text, parse, parse_parent, same_json},
};
use freehold_model::{AnyId, CommitError, NewEvent, Seq};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;

/// One transaction under way.
pub(super) struct Work<'a> {
    db: &'a Connection,
    /// The version that written rows get, unless it turns out otherwise.
    guess: Seq,
    now: Timestamp,
    /// What each touched resource was before the transaction.
    before: BTreeMap<AnyId, Before>,
    caused: Vec<Caused>,
}

/// What a write needs to know of a stored row.
struct Stored {
    rowid: i64,
    parent: String,
    name: String,
    generation: u64,
    version: u64,
    labels: String,
    deleting: Option<String>,
    spec: String,
    status: String,
}

impl<'a> Work<'a> {
    /// Nothing written yet. `guess` must be greater than every version stored.
    pub(super) fn new(db: &'a Connection, guess: Seq, now: Timestamp) -> Work<'a> {
        Work { db, guess, now, before: BTreeMap::new(), caused: vec![] }
    }

    fn run(&self, sql: &str, params: impl rusqlite::Params) -> rusqlite::Result<usize> {
        self.db.prepare_cached(sql)?.execute(params)
    }

    /// Refuses unless `id` has `version` (0: does not exist).
    pub(super) fn expect(&self, id: AnyId, version: u64) -> Result<(), Refusal> {
        let sql = "SELECT version FROM resources WHERE id = ?1";
        let found = self.db.prepare_cached(sql)?.query_row([id.to_string()], |row| row.get::<_, i64>(0));
        let found = found.optional()?.unwrap_or(0) as u64;
        if found == version { Ok(()) } else { Err(stale(id, version, found).into()) }
    }

    /// Does one write.
    pub(super) fn step(&mut self, step: &Step) -> Result<(), Refusal> {
        step.check()?;
        match step {
            Step::Put(row) if row.version == 0 => self.create(row),
            Step::Put(row) => self.replace(row),
            Step::Spec { id, spec, generation } => self.spec(*id, spec, *generation),
            Step::Status { id, status, version } => self.status(*id, status, *version),
            Step::Deleting { id } => self.deleting(*id),
            Step::Delete { id } => self.delete(*id),
        }
    }

    fn create(&mut self, row: &Row) -> Result<(), Refusal> {
        let sql = "INSERT INTO resources
                   (id, kind, parent, name, labels, generation, version, created, deleting, spec, status)
                   VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING";
        let written = self.run(
            sql,
            params![
                row.id.to_string(),
                row.kind.name(),
                parent_text(row.parent),
                row.name,
                row.labels,
                self.guess as i64,
                row.created,
                row.deleting,
                row.spec,
                row.status,
            ],
        )?;
        if written == 0 {
            return Err(match self.find(row.id)? {
                Some(stored) => stale(row.id, 0, stored.version).into(),
                None => self.name_taken(row)?,
            });
        }
        self.before.entry(row.id).or_default();
        self.cause(row.id, "created", 1, Some((row.name.clone(), row.parent)));
        Ok(())
    }

    fn replace(&mut self, row: &Row) -> Result<(), Refusal> {
        let (stored, before) = self.touch(row.id)?;
        if before.version != row.version {
            return Err(stale(row.id, row.version, stored.version).into());
        }
        let same_spec = same_json(&stored.spec, &row.spec);
        if same_spec && stored.equals_but_for_spec(row) {
            return Ok(());
        }
        let generation = stored.generation + u64::from(!same_spec);
        let sql = "UPDATE OR IGNORE resources SET parent = ?2, name = ?3, labels = ?4, generation = ?5,
                   version = ?6, deleting = ?7, spec = ?8, status = ?9 WHERE rowid = ?1";
        let written = self.run(
            sql,
            params![
                stored.rowid,
                parent_text(row.parent),
                row.name,
                row.labels,
                generation as i64,
                self.guess as i64,
                row.deleting,
                row.spec,
                row.status,
            ],
        )?;
        if written == 0 {
            return Err(self.name_taken(row)?);
        }
        self.cause(row.id, "changed", generation, None);
        Ok(())
    }

    fn spec(&mut self, id: AnyId, spec: &str, seen: Option<u64>) -> Result<(), Refusal> {
        let (stored, before) = self.touch(id)?;
        if let Some(seen) = seen.filter(|seen| *seen != before.generation) {
            let expected = format!("generation {seen}");
            return Err(CommitError::Stale {
                id,
                expected,
                found: format!("generation {}", stored.generation),
            }
            .into());
        }
        if same_json(&stored.spec, spec) {
            return Ok(());
        }
        let generation = stored.generation + 1;
        let sql = "UPDATE resources SET spec = ?2, generation = ?3, version = ?4 WHERE rowid = ?1";
        self.run(sql, params![stored.rowid, spec, generation as i64, self.guess as i64])?;
        self.cause(id, "changed", generation, None);
        Ok(())
    }

    fn status(&mut self, id: AnyId, status: &str, seen: Option<u64>) -> Result<(), Refusal> {
        let (stored, before) = self.touch(id)?;
        if let Some(seen) = seen.filter(|seen| *seen != before.version) {
            return Err(stale(id, seen, stored.version).into());
        }
        if same_json(&stored.status, status) {
            return Ok(());
        }
        let sql = "UPDATE resources SET status = ?2, version = ?3 WHERE rowid = ?1";
        self.run(sql, params![stored.rowid, status, self.guess as i64])?;
        self.cause(id, "observed", stored.generation, None);
        Ok(())
    }

    fn deleting(&mut self, id: AnyId) -> Result<(), Refusal> {
        let (stored, _) = self.touch(id)?;
        if stored.deleting.is_some() {
            return Ok(());
        }
        let sql = "UPDATE resources SET deleting = ?2, version = ?3 WHERE rowid = ?1";
        self.run(sql, params![stored.rowid, self.now.to_string(), self.guess as i64])?;
        self.cause(id, "deleting", stored.generation, None);
        Ok(())
    }

    fn delete(&mut self, id: AnyId) -> Result<(), Refusal> {
        let (stored, _) = self.touch(id)?;
        self.run("DELETE FROM resources WHERE rowid = ?1", [stored.rowid])?;
        claims::release_all(self.db, id)?;
        // Whatever takes the id from here on starts from nothing.
        self.before.insert(id, Before::default());
        let parent = parse_parent(&stored.parent)?;
        self.cause(id, "deleted", stored.generation, Some((stored.name, parent)));
        Ok(())
    }

    /// How many events the writes cause.
    pub(super) fn caused(&self) -> usize {
        self.caused.len()
    }

    /// Gives every written row its final `version`, and hands out the events that the writes caused.
    pub(super) fn finish(self, version: Seq, reason: &str) -> Result<Vec<NewEvent>, Refusal> {
        if version != self.guess {
            let sql = "UPDATE resources SET version = ?1 WHERE id = ?2 AND version = ?3";
            for id in self.before.keys() {
                self.run(sql, params![version as i64, id.to_string(), self.guess as i64])?;
            }
        }
        Ok(self.caused.into_iter().map(|caused| caused.event(version, reason)).collect())
    }

    fn cause(
        &mut self,
        id: AnyId,
        verb: &'static str,
        generation: u64,
        place: Option<(String, Option<AnyId>)>,
    ) {
        self.caused.push(Caused { id, verb, generation, place });
    }

    /// The stored row of `id`, which must exist, and what it was before the transaction.
    fn touch(&mut self, id: AnyId) -> Result<(Stored, Before), Refusal> {
        let stored = self.find(id)?.ok_or(CommitError::Missing { id })?;
        let now = Before { version: stored.version, generation: stored.generation };
        let before = *self.before.entry(id).or_insert(now);
        Ok((stored, before))
    }

    fn find(&self, id: AnyId) -> Result<Option<Stored>, Refusal> {
        let sql = "SELECT rowid, parent, name, generation, version, labels, deleting, spec, status
                   FROM resources WHERE id = ?1";
        let found = self.db.prepare_cached(sql)?.query_row([id.to_string()], |row| {
            Ok(Stored {
                rowid: row.get(0)?,
                parent: row.get(1)?,
                name: row.get(2)?,
                generation: row.get::<_, i64>(3)? as u64,
                version: row.get::<_, i64>(4)? as u64,
                labels: row.get(5)?,
                deleting: row.get(6)?,
                spec: row.get(7)?,
                status: row.get(8)?,
            })
        });
        Ok(found.optional()?)
    }

    /// The refusal of a row whose name another row has.
    fn name_taken(&self, row: &Row) -> Result<Refusal, Refusal> {
        let sql = "SELECT id FROM resources WHERE kind = ?1 AND parent = ?2 AND name = ?3";
        let key = [row.kind.name(), &parent_text(row.parent), &row.name];
        let owner: String = self.db.prepare_cached(sql)?.query_row(key, |row| row.get(0))?;
        let owner = parse("id", &owner)?;
        Ok(CommitError::NameTaken { kind: row.kind, name: row.name.clone(), owner }.into())
    }
}

impl Stored {
    fn equals_but_for_spec(&self, row: &Row) -> bool {
        self.name == row.name
            && self.parent == parent_text(row.parent)
            && self.labels == row.labels
            && self.deleting == row.deleting
            && same_json(&self.status, &row.status)
    }
}
