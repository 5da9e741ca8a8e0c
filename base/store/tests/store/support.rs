//! A SQLite store in a folder that goes with it.

use freehold_model::{CommitError, Committed, Seq, Txn};
use freehold_reconcile::{Store, StoreError, SystemClock, View};
use freehold_store::{OpenError, SqliteStore};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::watch;

/// The store is dropped before its folder.
pub(crate) struct TempStore {
    pub(crate) store: SqliteStore,
    pub(crate) dir: tempfile::TempDir,
}

impl TempStore {
    pub(crate) fn new() -> TempStore {
        let dir = tempfile::tempdir().expect("a folder");
        let store = open(dir.path()).expect("a store");
        TempStore { store, dir }
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

impl TempStore {
    /// Where the database is.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("state.db")
    }

    /// Closes the store and leaves its folder.
    pub(crate) async fn close(self) -> tempfile::TempDir {
        self.store.close().await;
        self.dir
    }
}

/// Opens the database in `dir`.
pub(crate) fn open(dir: &Path) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(dir.join("state.db"), Arc::new(SystemClock))
}
