//! A real PostgreSQL for tests: one server for the whole run, a database for each test; or a server of its
//! own for a test that kills it. `scripts/test-postgres.sh` starts them.

use freehold_model::{CommitError, Committed, Seq, Txn};
use freehold_reconcile::{Clock, Store, StoreError, SystemClock, View};
use freehold_store::{PostgresError, PostgresOptions, PostgresStore};
use std::{path::PathBuf, process::Command, sync::Arc};
use tokio::sync::watch;

/// A database of the shared server, dropped along with this.
pub(crate) struct Database {
    socket: PathBuf,
    pub(crate) name: String,
}

/// Runs the script; answers where the server's socket is.
pub(crate) fn server(verb: &str, subject: &str) -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/test-postgres.sh");
    let output = Command::new(script).args([verb, subject]).output().expect("bash runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).expect("a path").trim())
}

impl Database {
    /// An empty one.
    pub(crate) async fn new() -> Database {
        let runner = std::os::unix::process::parent_id();
        let name = format!("t{}", ulid::Ulid::new()).to_lowercase();
        let database = Database { socket: server("shared", &runner.to_string()), name };
        database.maintain(&format!("CREATE DATABASE {}", database.name)).await;
        database
    }

    /// The folder of the server's socket.
    pub(crate) fn socket(&self) -> &std::path::Path {
        &self.socket
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        url(&self.socket, &self.name)
    }

    /// How a store opens it.
    pub(crate) fn options(&self) -> PostgresOptions {
        PostgresOptions::parse(&self.url()).expect("a URL")
    }

    /// Opens it.
    pub(crate) async fn open(&self) -> Result<PostgresStore, PostgresError> {
        PostgresStore::open(self.options(), Arc::new(SystemClock)).await
    }

    /// Runs SQL in it, behind every store's back.
    pub(crate) async fn edit(&self, sql: &str) {
        run(&self.url(), sql).await;
    }

    /// Runs SQL beside it.
    pub(crate) async fn maintain(&self, sql: &str) {
        run(&url(&self.socket, "postgres"), sql).await;
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let sql = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        let _ = Command::new("psql")
            .args(["-q", "-h"])
            .arg(&self.socket)
            .args(["-U", "freehold", "-d", "postgres", "-c", &sql])
            .output();
    }
}

/// The URL of a database behind a socket.
pub(crate) fn url(socket: &std::path::Path, name: &str) -> String {
    format!("postgres:///{name}?user=freehold&host={}", socket.display())
}

async fn run(url: &str, sql: &str) {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("a server");
    let connection = tokio::spawn(connection);
    client.batch_execute(sql).await.expect(sql);
    drop(client);
    connection.await.expect("no panic").expect("no failure");
}

/// The store is dropped before its database.
pub(crate) struct TempPostgres {
    pub(crate) store: PostgresStore,
    pub(crate) database: Database,
}

impl TempPostgres {
    pub(crate) async fn new() -> TempPostgres {
        let database = Database::new().await;
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
}

/// The store with a clock of the test's.
pub(crate) async fn open_with(database: &Database, clock: Arc<dyn Clock>) -> PostgresStore {
    PostgresStore::open(database.options(), clock).await.expect("a store")
}
