//! Connections for snapshots: made when needed, kept when idle. All of them are driven by the store's own
//! runtime, so that a thread that waits for a read never waits for itself.
//!
//! A share of the server's connections at most is open at once: who wants one more waits. At most [`IDLE`]
//! are kept when nobody uses them.

use super::connect::{PostgresOptions, Session};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    runtime::{Handle, Runtime},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_postgres::Error;

const IDLE: usize = 16;
/// A server that restarts is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);

/// A runtime that may be dropped anywhere.
pub(super) struct Engine(Option<Runtime>);

/// The readers of one database.
pub(super) struct Pool {
    options: PostgresOptions,
    engine: Engine,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Session>>,
}

/// A connection on loan. Whatever read transaction it is in ends when it is dropped.
pub(super) struct Reader {
    session: Option<Session>,
    pool: Arc<Pool>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Engine {
    /// Two threads: one for the writer, one for whoever reads.
    pub(super) fn start() -> std::io::Result<Engine> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).thread_name("store-postgres").enable_all().build()?;
        Ok(Engine(Some(runtime)))
    }

    pub(super) fn handle(&self) -> &Handle {
        self.0.as_ref().expect("a runtime until it is dropped").handle()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Pool {
    /// No connections yet, and never more than `most`.
    pub(super) fn new(options: PostgresOptions, engine: Engine, most: usize) -> Arc<Pool> {
        let permits = Arc::new(Semaphore::new(most));
        Arc::new(Pool { options, engine, permits, idle: Mutex::default() })
    }

    pub(super) fn handle(&self) -> &Handle {
        self.engine.handle()
    }

    /// Lends a connection in a fresh snapshot, waiting while too many are out; with it the sequence number
    /// that it sees. `None` once the pool is closed.
    pub(super) async fn lend(self: &Arc<Pool>) -> Result<Option<(Reader, i64)>, String> {
        let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else { return Ok(None) };
        let pool = Arc::clone(self);
        let begun = self.handle().spawn(async move {
            let (session, seq) = pool.begin().await.map_err(|error| super::engine(&error))?;
            Ok(Some((Reader { session: Some(session), pool, permit: Some(permit) }, seq)))
        });
        begun.await.unwrap_or(Ok(None))
    }

    /// A snapshot on an idle connection, or on a new one.
    async fn begin(&self) -> Result<(Session, i64), Error> {
        let start = Instant::now();
        loop {
            let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let was_idle = kept.is_some();
            let session = match kept {
                Some(session) => Ok(session),
                None => self.options.connect().await,
            };
            let begun = match session {
                Ok(session) => snapshot(&session).await.map(|seq| (session, seq)),
                Err(error) => Err(error),
            };
            match begun {
                Err(_) if was_idle => {}
                Err(error) if super::error::is_lost(&error) && start.elapsed() < PATIENCE => {
                    tokio::time::sleep(PAUSE).await;
                }
                begun => return begun,
            }
        }
    }

    /// Lends no more, and closes what is idle; what is on loan closes when it comes back.
    pub(super) fn close(&self) {
        self.permits.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Begins a read transaction and fixes what it sees by a first read, in one round trip.
async fn snapshot(session: &Session) -> Result<i64, Error> {
    let statement = session.prepare("SELECT seq FROM freehold.head").await?;
    let begin = session.client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    let (_, row) = futures::try_join!(begin, session.client.query_one(&statement, &[]))?;
    row.try_get(0)
}

impl Reader {
    /// The connection.
    pub(super) fn session(&self) -> &Session {
        self.session.as_ref().expect("a reader has its connection until it is dropped")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let (Some(session), permit) = (self.session.take(), self.permit.take()) else { return };
        let pool = Arc::clone(&self.pool);
        self.pool.handle().spawn(async move {
            let clean = session.client.batch_execute("ROLLBACK").await.is_ok();
            let mut idle = pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if clean && idle.len() < IDLE && !pool.permits.is_closed() {
                idle.push(session);
            }
            drop(permit);
        });
    }
}
