//! A SQLite store in a folder that goes with it.

use freehold_model::{CommitError, Committed, Seq, Txn};
use freehold_reconcile::{Store, StoreError, SystemClock, View};
use freehold_store::SqliteStore;
use std::sync::Arc;
use tokio::sync::watch;

/// The store is dropped before its folder.
pub struct TempStore {
    pub store: SqliteStore,
    _dir: tempfile::TempDir,
}

impl TempStore {
    pub fn new() -> TempStore {
        let dir = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(dir.path().join("state.db"), Arc::new(SystemClock)).expect("a store");
        TempStore { store, _dir: dir }
    }
}

#[async_trait::async_trait]
impl Store for TempStore {
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
}
