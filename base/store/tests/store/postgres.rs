//! Stores on a real PostgreSQL.

use freehold_model::{CommitError, Committed, Seq, Txn};
use freehold_reconcile::{Clock, Store, StoreError, View};
use freehold_store::{PostgresStore, testing::Database};
use std::sync::Arc;
use tokio::sync::watch;

/// The store is dropped before its database.
pub(crate) struct TempPostgres {
    pub(crate) store: PostgresStore,
    pub(crate) database: Database,
}

impl TempPostgres {
    pub(crate) async fn new() -> TempPostgres {
        let database = Database::new();
        let store = database.open().await.expect("a store");
        TempPostgres { store, database }
    }
}

#[async_trait::async_trait]
impl Store for TempPostgres {
    async fn commit(&self, txn: Txn) -> Result<Committed, CommitError> {
        self.store.commit(txn).await
    }

    async fn view(&self) -> Result<Box<dyn View + Send>, StoreError> {
        self.store.view().await
    }

    fn head(&self) -> watch::Receiver<Seq> {
        self.store.head()
    }

    async fn cursor(&self, name: &str) -> Result<Seq, StoreError> {
        self.store.cursor(name).await
    }

    async fn advance(&self, name: &str, seq: Seq) -> Result<(), StoreError> {
        self.store.advance(name, seq).await
    }

    async fn leases(&self) -> Result<Vec<freehold_model::Lease>, StoreError> {
        self.store.leases().await
    }

    async fn change_lease(&self, change: freehold_model::LeaseChange) -> Result<(), StoreError> {
        self.store.change_lease(change).await
    }

    async fn forget_answers(&self, before: jiff::Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.store.forget_answers(before, limit).await
    }
}

/// The store with a clock of the test's.
pub(crate) async fn open_with(database: &Database, clock: Arc<dyn Clock>) -> PostgresStore {
    PostgresStore::open(database.options(), clock).await.expect("a store")
}
