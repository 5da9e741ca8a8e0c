//! The public face of the PostgreSQL store.

use super::{
    connect::PostgresOptions, error::PostgresError, leases::Leases, listen::listen, pool::Engine, pool::Pool,
    schema, view::PostgresView, writer::Writer,
};
use crate::{
    ChainError, chain,
    queue::{CLOSED, Queue},
};
use freehold_model::{CommitError, Committed, Lease, LeaseChange, Seq, Txn};
use freehold_reconcile::{Clock, Store, StoreError, View};
use jiff::Timestamp;
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
    mpsc as blocking,
};
use tokio::sync::watch;

/// Resources and events in one PostgreSQL database, which many processes may have open.
///
/// Dropping it commits what is queued, as [`PostgresStore::close`] does, and blocks meanwhile.
pub struct PostgresStore {
    queue: Queue,
    head: watch::Receiver<Seq>,
    readers: Arc<Pool>,
    leases: Arc<Leases>,
    installation: String,
    closing: Arc<AtomicBool>,
    listener: tokio::task::JoinHandle<()>,
    /// Tells when the writer has ended.
    ended: Mutex<blocking::Receiver<()>>,
}

impl PostgresStore {
    /// Opens the database, making or migrating its tables. `clock` stamps events.
    ///
    /// # Errors
    /// When it cannot be reached or used; nothing was changed then.
    pub async fn open(
        options: PostgresOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<PostgresStore, PostgresError> {
        let place = options.place().to_owned();
        let problem = |problem: String| PostgresError::Engine { place, problem };
        let engine = Engine::start().map_err(|error| problem.clone()(error.to_string()))?;
        let handle = engine.handle().clone();
        let opened = handle.spawn(PostgresStore::assemble(options, clock, engine));
        opened.await.map_err(|error| problem(error.to_string()))?
    }

    async fn assemble(
        options: PostgresOptions,
        clock: Arc<dyn Clock>,
        engine: Engine,
    ) -> Result<PostgresStore, PostgresError> {
        let failed = |error: tokio_postgres::Error| PostgresError::of(options.place(), &error);
        let (sender, head) = watch::channel(0);
        let (sender, closing) = (Arc::new(sender), Arc::new(AtomicBool::new(false)));
        let writer = Writer::open(options.clone(), clock, sender.clone(), closing.clone()).await?;
        let session = writer.session().expect("open connects");
        schema::open(session, options.place()).await?;
        let sql = "DELETE FROM freehold.writers WHERE at < now() - interval '30 days'";
        session.client.batch_execute(sql).await.map_err(failed)?;
        let sql = "SELECT (SELECT seq FROM freehold.head), current_setting('max_connections')::bigint,
                          (SELECT installation FROM freehold.meta)";
        let row = session.client.query_one(sql, &[]).await.map_err(failed)?;
        super::writer::advance(&sender, row.get::<_, i64>(0) as Seq);
        // A quarter: other control planes want theirs.
        let readers = (row.get::<_, i64>(1) / 4).clamp(4, 256) as usize;
        let installation = row.get(2);
        let (queue, jobs) = Queue::new();
        let (tell, ended) = blocking::channel();
        tokio::spawn(async move {
            writer.run(jobs).await;
            let _ = tell.send(());
        });
        let listener = tokio::spawn(listen(options.clone(), sender));
        let leases = Arc::new(Leases::new(options.clone()));
        let readers = Pool::new(options, engine, readers);
        Ok(PostgresStore {
            queue,
            head,
            readers,
            leases,
            installation,
            closing,
            listener,
            ended: Mutex::new(ended),
        })
    }

    /// Whose state it is: made along with the tables, and never changed.
    pub fn installation(&self) -> &str {
        &self.installation
    }

    /// Commits what is queued and ends the connections. Every later commit and view fails. A second call
    /// does nothing.
    pub async fn close(&self) {
        self.readers.close();
        self.closing.store(true, Ordering::Relaxed);
        self.listener.abort();
        self.queue.close().await;
        self.leases.close().await;
    }

    /// Walks the event log from its beginning and checks that nothing was cut or edited; answers the
    /// number of events.
    ///
    /// # Errors
    /// The first row that is not as it was committed.
    pub async fn verify_chain(&self) -> Result<Seq, ChainError> {
        let failed = |error: StoreError| ChainError::Engine(error.to_string());
        let view = self.snapshot().await.map_err(failed)?;
        let walk = tokio::task::spawn_blocking(move || {
            let reached = view.reached().map_err(failed)?;
            chain::verify(&view, reached)
        });
        walk.await.map_err(|error| ChainError::Engine(error.to_string()))?
    }

    /// Runs `work` on the store's own runtime, which drives its connection.
    async fn drive<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let done = self.readers.handle().spawn(work).await;
        done.unwrap_or_else(|_| Err(StoreError::Engine(CLOSED.into())))
    }

    async fn snapshot(&self) -> Result<PostgresView, StoreError> {
        let lent = self.readers.lend().await.map_err(StoreError::Engine)?;
        let (reader, seq) = lent.ok_or_else(|| StoreError::Engine(CLOSED.into()))?;
        Ok(PostgresView::new(reader, seq as Seq))
    }
}

#[async_trait::async_trait]
impl Store for PostgresStore {
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
        let leases = Arc::clone(&self.leases);
        self.drive(async move { leases.all().await }).await
    }

    async fn change_lease(&self, change: LeaseChange) -> Result<(), StoreError> {
        let leases = Arc::clone(&self.leases);
        self.drive(async move { leases.change(&change).await }).await
    }

    async fn forget_answers(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let leases = Arc::clone(&self.leases);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let gone = self.drive(async move { leases.forget_answers(&before.to_string(), limit).await }).await?;
        Ok(usize::try_from(gone).unwrap_or(usize::MAX))
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.readers.close();
        self.closing.store(true, Ordering::Relaxed);
        self.listener.abort();
        self.queue.hang_up();
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = ended.recv();
    }
}
