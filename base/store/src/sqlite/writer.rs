//! The one thread that writes: drains its queue, applies each job in a savepoint, makes the group durable
//! with one commit, then answers everybody.
//!
//! Invariant: nobody is answered, and the head does not move, before what the answer speaks of is on disk.

use super::{
    apply::{Refusal, apply},
    failed,
    leases::{self, Renewals},
    lock::Lock,
    log,
    reserve::Reserve,
};
use crate::job::{Job, Prepared};
use freehold_model::{CommitError, Committed, LeaseChange, Link, Seq};
use freehold_reconcile::{Clock, StoreError};
use jiff::Timestamp;
use rusqlite::{Connection, params};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// A group is never larger: it bounds how long the first of it waits for the last.
const GROUP: usize = 256;

/// Owns the writer's connection and, with it, the right to write.
pub(super) struct Writer {
    db: Connection,
    end: Link,
    clock: Arc<dyn Clock>,
    head: watch::Sender<Seq>,
    renewals: Renewals,
    _lock: Lock,
    reserve: Option<Reserve>,
}

/// An answer that waits for its group to be on disk.
enum Answer {
    /// With the transaction, where it is tried again if the disk is full.
    Commit(
        oneshot::Sender<Result<Committed, CommitError>>,
        Result<Committed, CommitError>,
        Option<Box<Prepared>>,
    ),
    Done(oneshot::Sender<Result<(), StoreError>>, Result<(), CommitError>),
    Forgot(oneshot::Sender<Result<usize, StoreError>>, Result<usize, CommitError>),
}

impl Writer {
    /// Starts from the end of the stored log.
    pub(super) fn new(
        db: Connection,
        clock: Arc<dyn Clock>,
        renewals: Renewals,
        lock: Lock,
    ) -> rusqlite::Result<Writer> {
        let end = log::head(&db)?;
        let head = watch::Sender::new(end.seq);
        Ok(Writer { db, end, clock, head, renewals, _lock: lock, reserve: None })
    }

    /// Has room on the disk for what makes room.
    pub(super) fn keep_reserve(&mut self, reserve: Reserve) {
        self.reserve = Some(reserve);
    }

    /// The durable head.
    pub(super) fn head(&self) -> watch::Receiver<Seq> {
        self.head.subscribe()
    }

    /// Works until the queue is closed or a job says so; then checkpoints.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut group = vec![];
        let mut closing = None;
        while closing.is_none() && queue.blocking_recv_many(&mut group, GROUP) > 0 {
            closing = self.group(group.drain(..));
        }
        queue.close();
        while queue.blocking_recv_many(&mut group, GROUP) > 0 {
            self.group(group.drain(..));
        }
        if let Err(error) = self.db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
            tracing::warn!(%error, "the store's journal stays until the next start");
        }
        drop(self);
        if let Some(closed) = closing {
            let _ = closed.send(());
        }
    }

    /// Makes one group durable and answers it; hands back whom to tell that the store is closed.
    fn group(&mut self, jobs: impl Iterator<Item = Job>) -> Option<oneshot::Sender<()>> {
        let before = self.end.clone();
        let mut failure = self.statement("BEGIN IMMEDIATE").err();
        let mut answers = vec![];
        let mut closing = None;
        for job in jobs {
            match job {
                Job::Commit(txn, to) => {
                    let result = self.attempt(&mut failure, |writer| writer.commit(&txn));
                    answers.push(Answer::Commit(to, result, txn.makes_room.then_some(txn)));
                }
                Job::Advance(name, seq, to) => {
                    let result = self.attempt(&mut failure, |writer| writer.advance(&name, seq));
                    answers.push(Answer::Done(to, result));
                }
                Job::Lease(change, to) => {
                    let result = self.attempt(&mut failure, |writer| writer.change_lease(&change));
                    answers.push(Answer::Done(to, result));
                }
                Job::Forget(before, limit, to) => {
                    let result = self.attempt(&mut failure, |writer| writer.forget(before, limit));
                    answers.push(Answer::Forgot(to, result));
                }
                Job::Close(to) => closing = Some(to),
            }
        }
        if failure.is_none() {
            failure = self.statement("COMMIT").err().filter(|_| !self.happened(&before));
        }
        if let Some(error) = &failure {
            tracing::error!(%error, jobs = answers.len(), "a group of commits failed; none of it happened");
            self.undo();
            self.end = before;
        }
        if matches!(failure, Some(CommitError::Full)) {
            answers = self.with_reserve(answers);
        } else if let Some(reserve) = &mut self.reserve {
            reserve.refill();
        }
        let end = self.end.seq;
        self.head.send_if_modified(|head| std::mem::replace(head, end) != end);
        answers.into_iter().for_each(|answer| answer.send(failure.as_ref()));
        closing
    }

    /// The disk is full: what makes room is done with what was kept for it, one at a time. Answers those, and
    /// hands back the others.
    fn with_reserve(&mut self, answers: Vec<Answer>) -> Vec<Answer> {
        let (urgent, others): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|answer| matches!(answer, Answer::Commit(_, _, Some(_))));
        let released = !urgent.is_empty() && self.reserve.as_mut().is_some_and(Reserve::release);
        if !released {
            return urgent.into_iter().chain(others).collect();
        }
        for answer in urgent {
            let Answer::Commit(to, _, Some(txn)) = answer else { continue };
            let _ = to.send(self.alone(&txn));
        }
        others
    }

    /// Makes one transaction durable by itself.
    fn alone(&mut self, txn: &Prepared) -> Result<Committed, CommitError> {
        let before = self.end.clone();
        let mut failure = self.statement("BEGIN IMMEDIATE").err();
        let result = self.attempt(&mut failure, |writer| writer.commit(txn));
        if failure.is_none() {
            failure = self.statement("COMMIT").err().filter(|_| !self.happened(&before));
        }
        match failure {
            None => result,
            Some(error) => {
                self.undo();
                self.end = before;
                Err(error)
            }
        }
    }

    /// Runs `work` in a savepoint: a refusal undoes this job alone. SQLite undoes the whole group by
    /// itself when the disk is full or fails; that goes to `failure`, and nothing more is attempted.
    fn attempt<T>(
        &mut self,
        failure: &mut Option<CommitError>,
        work: impl FnOnce(&mut Writer) -> Result<T, Refusal>,
    ) -> Result<T, CommitError> {
        if let Some(failure) = failure {
            return Err(failure.clone());
        }
        let result = match self.statement("SAVEPOINT job") {
            Ok(()) => work(self).map_err(CommitError::from),
            Err(error) => Err(error),
        };
        let undone = self.db.is_autocommit();
        let ended = match &result {
            Err(error) if undone => Err(error.clone()),
            Err(_) => self.statement("ROLLBACK TO job").and_then(|()| self.statement("RELEASE job")),
            Ok(_) => self.statement("RELEASE job"),
        };
        *failure = ended.err();
        result
    }

    fn commit(&mut self, txn: &Prepared) -> Result<Committed, Refusal> {
        apply(&self.db, &mut self.end, txn, self.clock.now())
    }

    fn advance(&mut self, name: &str, seq: Seq) -> Result<(), Refusal> {
        let sql = "INSERT INTO cursors (name, seq) VALUES (?1, ?2)
                   ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)";
        let seq = i64::try_from(seq).unwrap_or(i64::MAX);
        self.db.prepare_cached(sql)?.execute(params![name, seq])?;
        Ok(())
    }

    /// Times are texts in which a moment within a second sorts behind the next second's beginning: a second
    /// more or less is nothing here.
    fn forget(&mut self, before: Timestamp, limit: usize) -> Result<usize, Refusal> {
        let sql =
            "DELETE FROM idempotency WHERE key IN (SELECT key FROM idempotency WHERE time < ?1 LIMIT ?2)";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        Ok(self.db.prepare_cached(sql)?.execute(params![before.to_string(), limit])?)
    }

    fn change_lease(&mut self, change: &LeaseChange) -> Result<(), Refusal> {
        leases::change(&self.db, &self.renewals, change, self.clock.now())
    }

    fn statement(&self, sql: &str) -> Result<(), CommitError> {
        let run = || self.db.prepare_cached(sql)?.execute([]);
        run().map(drop).map_err(failed)
    }

    /// Whether a group whose COMMIT complained is there all the same: then the log ends where the group
    /// would have it end.
    fn happened(&self, before: &Link) -> bool {
        let over = self.db.is_autocommit() && self.end != *before;
        over && log::head(&self.db).is_ok_and(|stored| stored == self.end)
    }

    /// Leaves the transaction, if SQLite has not left it by itself.
    fn undo(&self) {
        if !self.db.is_autocommit()
            && let Err(error) = self.statement("ROLLBACK")
        {
            tracing::error!(%error, "a failed group of commits could not be rolled back");
        }
    }
}

impl Answer {
    /// Tells the caller, who may have gone away. What the group could not make durable failed.
    fn send(self, failure: Option<&CommitError>) {
        let failure = failure.cloned();
        match self {
            Answer::Commit(to, result, _) => drop(to.send(failure.map_or(result, Err))),
            Answer::Done(to, result) => {
                let result = failure.map_or(result, Err);
                let _ = to.send(result.map_err(|error| StoreError::Engine(error.to_string())));
            }
            Answer::Forgot(to, result) => {
                let result = failure.map_or(result, Err);
                let _ = to.send(result.map_err(|error| StoreError::Engine(error.to_string())));
            }
        }
    }
}

#[cfg(test)]
mod tests;
