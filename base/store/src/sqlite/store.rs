//! The public face of the SQLite store.

use super::{
    leases, leases::Renewals, lock::Lock, pool::Pool, reserve::Reserve, row::broken, schema,
    view::SqliteView, writer::Writer,
};
use crate::{
    ChainError, OpenError, chain,
    queue::{CLOSED, Queue},
};
use freehold_model::{CommitError, Committed, Lease, LeaseChange, Seq, Txn};
use freehold_reconcile::{Clock, Store, StoreError, View};
use jiff::Timestamp;
use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};
use tokio::sync::watch;

/// Resources and events in one SQLite file, open in one process at a time.
///
/// Dropping it commits what is queued, as [`SqliteStore::close`] does, and blocks meanwhile.
pub struct SqliteStore {
    queue: Queue,
    head: watch::Receiver<Seq>,
    readers: Arc<Pool>,
    renewals: Renewals,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl SqliteStore {
    /// Opens the database at `path`, making it if it is not there and migrating an older schema. `clock`
    /// stamps events. Reads and writes files: call it where blocking is allowed.
    ///
    /// # Errors
    /// When another process has it open, a newer Freehold or another program wrote it, or a file fails.
    pub fn open(path: impl AsRef<Path>, clock: Arc<dyn Clock>) -> Result<SqliteStore, OpenError> {
        let path = path.as_ref();
        let failed = |source| OpenError::Engine { path: path.to_owned(), source };
        let lock = Lock::take(path)?;
        let db = schema::open_writer(path)?;
        let renewals = Renewals::default();
        let mut writer = Writer::new(db, clock, renewals.clone(), lock).map_err(failed)?;
        writer.keep_reserve(Reserve::beside(path));
        let head = writer.head();
        let (queue, jobs) = Queue::new();
        let thread = std::thread::Builder::new().name("store-writer".into());
        let thread = thread.spawn(move || writer.run(jobs));
        let thread = thread.map_err(|source| OpenError::File { path: path.to_owned(), source })?;
        let readers = Pool::new(path.to_owned());
        Ok(SqliteStore { queue, head, readers, renewals, writer: Mutex::new(Some(thread)) })
    }

    /// Commits what is queued, checkpoints the journal into the database and gives the lock back. Every
    /// later commit and view fails. A second call does nothing.
    pub async fn close(&self) {
        self.readers.close();
        self.queue.close().await;
    }

    /// Walks the event log from its beginning and checks that nothing was cut or edited; answers the
    /// number of events.
    ///
    /// # Errors
    /// The first row that is not as it was committed.
    pub async fn verify_chain(&self) -> Result<Seq, ChainError> {
        let failed = |error: String| ChainError::Engine(error);
        let view = self.snapshot().await.map_err(|error| failed(error.to_string()))?;
        let walk = tokio::task::spawn_blocking(move || {
            let reached = view.greatest_version().map_err(|error| ChainError::Engine(error.to_string()))?;
            chain::verify(&view, reached)
        });
        walk.await.map_err(|error| failed(error.to_string()))?
    }

    async fn snapshot(&self) -> Result<SqliteView, StoreError> {
        let reader = self.readers.lend().await.map_err(broken)?;
        let reader = reader.ok_or_else(|| StoreError::Engine(CLOSED.into()))?;
        SqliteView::begin(reader).map_err(broken)
    }
}

#[async_trait::async_trait]
impl Store for SqliteStore {
    /// A caller that stops waiting does not stop the commit.
    async fn commit(&self, txn: Txn) -> Result<Committed, CommitError> {
        self.queue.commit(txn).await
    }

    async fn view(&self) -> Result<Box<dyn View + Send>, StoreError> {
        Ok(Box::new(self.snapshot().await?))
    }

    fn head(&self) -> watch::Receiver<Seq> {
        self.head.clone()
    }

    async fn cursor(&self, name: &str) -> Result<Seq, StoreError> {
        self.snapshot().await?.cursor(name)
    }

    async fn advance(&self, name: &str, seq: Seq) -> Result<(), StoreError> {
        self.queue.advance(name, seq).await
    }

    async fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        leases::all(self.snapshot().await?.db(), &self.renewals)
    }

    async fn change_lease(&self, change: LeaseChange) -> Result<(), StoreError> {
        self.queue.change_lease(change).await
    }

    async fn forget_answers(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.queue.forget_answers(before, limit).await
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.readers.close();
        self.queue.hang_up();
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let _ = writer.join();
        }
    }
}
