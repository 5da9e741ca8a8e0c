//! The one task of this process that writes: takes what waits in its queue as a group, makes it one
//! database transaction, then answers everybody.
//!
//! Invariants: nobody is answered, and the head does not move, before what the answer speaks of is
//! committed. A group whose COMMIT got no answer is *in doubt*: it carries a number, which the transaction
//! stored, and after reconnecting that number says whether it happened. The question is asked under the
//! lock of the log's end, so a server process that still works on the old connection was waited for.

use super::{
    connect::{PostgresOptions, Session},
    desk::{Desk, Need},
    error::{PostgresError, is_lost, say},
    load::{Trouble, load},
    save::{Outcome, save},
    work::{apply, unfit},
};
use crate::job::{Job, Prepared};
use freehold_model::{CommitError, Committed, Seq};
use freehold_reconcile::{Clock, StoreError};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_postgres::error::SqlState;

/// A group is never larger: it bounds how long the first of it waits for the last.
const GROUP: usize = 256;
/// A group that is not in doubt fails when the server was away for so long.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause before the second attempt; each one doubles, up to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// The advisory lock of a process that works on the database alone: "frhd" and 2.
const SOLE: i64 = 0x6672_6864_0002;

/// Owns the writing connection and, where that was asked for, the right to write.
pub(super) struct Writer {
    pub options: PostgresOptions,
    /// This process among all that ever wrote.
    pub name: String,
    pub clock: Arc<dyn Clock>,
    pub head: Arc<watch::Sender<Seq>>,
    /// Set when the store is being closed: nobody is waited for without end any more.
    pub closing: Arc<AtomicBool>,
    session: Option<Session>,
    number: i64,
}

/// What a group came to.
struct Decided {
    answers: Vec<Result<Committed, CommitError>>,
    seq: Seq,
}

/// Why an attempt at a group came to nothing.
enum Failure {
    /// It did not happen, and would not at the next attempt either.
    Failed(CommitError),
    /// The server is away, or has just gone.
    Away(String),
}

type Commits = (Vec<Prepared>, Vec<oneshot::Sender<Result<Committed, CommitError>>>);
type Advances = (Vec<(String, Seq)>, Vec<oneshot::Sender<Result<(), StoreError>>>);

impl Writer {
    /// Connected already, so that whatever is wrong shows at once.
    pub(super) async fn open(
        options: PostgresOptions,
        clock: Arc<dyn Clock>,
        head: Arc<watch::Sender<Seq>>,
        closing: Arc<AtomicBool>,
    ) -> Result<Writer, PostgresError> {
        let name = ulid::Ulid::new().to_string().to_lowercase();
        let mut writer = Writer { options, name, clock, head, closing, session: None, number: 0 };
        writer.session = Some(writer.connect().await?);
        Ok(writer)
    }

    /// The connection that was opened first, to look at the database with.
    pub(super) fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// Works until the queue is closed or a job says so.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut jobs = vec![];
        let mut closed = vec![];
        while queue.recv_many(&mut jobs, GROUP).await > 0 {
            let (mut commits, mut advances) = (Commits::default(), Advances::default());
            for job in jobs.drain(..) {
                match job {
                    Job::Commit(txn, to) => match unfit(&txn) {
                        Some(error) => drop(to.send(Err(error))),
                        None => {
                            commits.0.push(*txn);
                            commits.1.push(to);
                        }
                    },
                    Job::Advance(name, seq, to) => {
                        advances.0.push((name, seq));
                        advances.1.push(to);
                    }
                    Job::Lease(_, to) => {
                        drop(to.send(Err(StoreError::Engine("leases go another way".into()))))
                    }
                    Job::Forget(_, _, to) => {
                        drop(to.send(Err(StoreError::Engine("answers go another way".into()))))
                    }
                    Job::Close(to) => {
                        queue.close();
                        closed.push(to);
                    }
                }
            }
            if !commits.0.is_empty() || !advances.0.is_empty() {
                self.group(commits, advances).await;
            }
        }
        drop(self.session.take());
        for to in closed {
            let _ = to.send(());
        }
    }

    /// Makes one group durable and answers it.
    async fn group(&mut self, (txns, commits): Commits, (cursors, advances): Advances) {
        match self.settle(&txns, &cursors).await {
            Ok(Decided { answers, seq }) => {
                advance(&self.head, seq);
                commits.into_iter().zip(answers).for_each(|(to, answer)| drop(to.send(answer)));
                advances.into_iter().for_each(|to| drop(to.send(Ok(()))));
            }
            Err(error) => {
                tracing::error!(%error, jobs = txns.len() + cursors.len(), "a group of commits failed");
                commits.into_iter().for_each(|to| drop(to.send(Err(error.clone()))));
                let advance = || Err(StoreError::Engine(error.to_string()));
                advances.into_iter().for_each(|to| drop(to.send(advance())));
            }
        }
    }

    /// Tries until it is known what became of the group, or it is known not to have happened and the
    /// server stays away.
    async fn settle(&mut self, txns: &[Prepared], cursors: &[(String, Seq)]) -> Result<Decided, CommitError> {
        self.number += 1;
        let (start, mut pause, mut doubt) = (Instant::now(), PAUSES.0, None);
        loop {
            let text = match self.attempt(txns, cursors, &mut doubt).await {
                Ok(decided) => return Ok(decided),
                Err(Failure::Failed(error)) if doubt.is_none() => {
                    self.session = None;
                    return Err(error);
                }
                Err(Failure::Failed(error)) => error.to_string(),
                Err(Failure::Away(text)) => text,
            };
            self.session = None;
            let late = start.elapsed() > PATIENCE;
            match &doubt {
                None if late => return Err(CommitError::Engine(text)),
                Some(_) if late && self.closing.load(Ordering::Relaxed) => {
                    let text = format!("{text}; whether the last commits happened is not known");
                    return Err(CommitError::Engine(text));
                }
                _ => {}
            }
            tracing::warn!(error = text, in_doubt = doubt.is_some(), "the store's database is away");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn attempt(
        &mut self,
        txns: &[Prepared],
        cursors: &[(String, Seq)],
        doubt: &mut Option<Decided>,
    ) -> Result<Decided, Failure> {
        if self.session.as_ref().is_none_or(|session| session.client.is_closed()) {
            self.session = None;
            self.session = Some(self.connect().await.map_err(|error| Failure::Away(error.to_string()))?);
        }
        let session = self.session.as_ref().expect("connected above");
        let mut need = Need::default();
        txns.iter().for_each(|txn| need.add(txn));
        let found = load(session, &self.name, &need).await?;
        if let Some(decided) = doubt.take()
            && found.groups >= self.number
        {
            tracing::info!(group = self.number, "the group in doubt was committed");
            self.leave().await;
            return Ok(decided);
        }
        let (mut desk, mut head) = (Desk::new(found.layer, found.beginning), found.head.clone());
        let answers = txns.iter().map(|txn| apply(&mut desk, &mut head, txn, self.clock.now())).collect();
        let decided = Decided { answers, seq: head.seq };
        if desk.is_unchanged() && cursors.is_empty() {
            self.leave().await;
            return Ok(decided);
        }
        let grew = head != found.head;
        let (writer, number) = (&*self.name, self.number);
        let outcome = Outcome { desk: &desk, head: &head, grew, cursors, writer, number };
        match save(session, &outcome).await {
            Ok(()) => Ok(decided),
            Err(error) if is_lost(&error) => {
                *doubt = Some(decided);
                Err(Failure::Away(super::engine(&error)))
            }
            Err(error) => Err(Failure::Failed(failed(&error))),
        }
    }

    /// Ends a transaction that wrote nothing.
    async fn leave(&mut self) {
        if let Some(session) = &self.session
            && session.client.batch_execute("ROLLBACK").await.is_err()
        {
            self.session = None;
        }
    }

    /// A connection that keeps what it promises: commits are flushed, and a process that was stopped in
    /// the middle of a group does not keep everybody else out for ever.
    ///
    /// All that is looked up here is looked up by key: a plan that was made while the tables were small must
    /// not go on reading all of them. Whatever that forbids looks so costly that it would be compiled first.
    async fn connect(&self) -> Result<Session, PostgresError> {
        let place = self.options.place();
        let failed = |error: tokio_postgres::Error| PostgresError::of(place, &error);
        let session = self.options.connect().await.map_err(failed)?;
        let sql = "SET idle_in_transaction_session_timeout = '2s'; SET statement_timeout = 0;
                   SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off;
                   SELECT set_config('synchronous_commit', 'on', false)
                   WHERE current_setting('synchronous_commit') IN ('off', 'local')";
        session.client.batch_execute(sql).await.map_err(failed)?;
        if self.options.sole {
            self.take_alone(&session).await?;
        }
        Ok(session)
    }

    /// Takes the lock of a single process, for which one that just died is waited for a little.
    async fn take_alone(&self, session: &Session) -> Result<(), PostgresError> {
        let failed = |error| PostgresError::of(self.options.place(), &error);
        let start = Instant::now();
        loop {
            let sql = "SELECT pg_try_advisory_lock($1)";
            let row = session.client.query_one(sql, &[&SOLE]).await.map_err(failed)?;
            if row.get(0) {
                return Ok(());
            }
            if start.elapsed() > Duration::from_secs(3) {
                let sql = "SELECT a.application_name, coalesce(host(a.client_addr), 'this machine')
                           FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                           WHERE l.locktype = 'advisory' AND l.granted AND a.datname = current_database()
                             AND (l.classid::bigint << 32 | l.objid::bigint) = $1 LIMIT 1";
                let row = session.client.query_opt(sql, &[&SOLE]).await.map_err(failed)?;
                let words = |row: tokio_postgres::Row| {
                    format!("`{}` on {}", row.get::<_, String>(0), row.get::<_, String>(1))
                };
                let holder = row.map(words).unwrap_or_else(|| "process unknown".into());
                return Err(PostgresError::InUse { place: self.options.place().to_owned(), holder });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// What a refused statement means to whoever commits.
fn failed(error: &tokio_postgres::Error) -> CommitError {
    match error.code() {
        Some(&SqlState::DISK_FULL) => CommitError::Full,
        _ => CommitError::Engine(super::engine(error)),
    }
}

/// Moves the head on, never back.
pub(super) fn advance(head: &watch::Sender<Seq>, seq: Seq) {
    head.send_if_modified(|head| {
        let grew = seq > *head;
        *head = seq.max(*head);
        grew
    });
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Failure {
        match trouble {
            Trouble::Engine(error) if is_lost(&error) => {
                Failure::Away(format!("PostgreSQL cannot be reached: {}", say(&error)))
            }
            Trouble::Engine(error) => Failure::Failed(failed(&error)),
            Trouble::Stored(error) => Failure::Failed(CommitError::Engine(error.to_string())),
        }
    }
}
