//! A real PostgreSQL for tests of this crate and of those above it: one server for the whole run, a database
//! for each test. `scripts/test-postgres.sh` starts it; it opens no port.

use crate::{PostgresError, PostgresOptions, PostgresStore};
use freehold_reconcile::SystemClock;
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

/// A database of the run's server, dropped along with this.
#[derive(Debug)]
pub struct Database {
    socket: PathBuf,
    name: String,
}

/// Runs `scripts/test-postgres.sh`; answers where the server's socket is.
///
/// # Panics
/// When there is no PostgreSQL, or it does not start.
pub fn server(verb: &str, subject: &str) -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/test-postgres.sh");
    let output = Command::new(script).args([verb, subject]).output().expect("bash runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).expect("a path").trim())
}

/// The URL of a database behind a socket, as its superuser.
pub fn url(socket: &Path, name: &str) -> String {
    format!("postgres:///{name}?user=freehold&host={}", socket.display())
}

#[expect(clippy::new_without_default, reason = "it starts a server")]
impl Database {
    /// An empty one.
    ///
    /// # Panics
    /// As [`server`].
    pub fn new() -> Database {
        let runner = std::os::unix::process::parent_id().to_string();
        let name = format!("t{}", ulid::Ulid::new()).to_lowercase();
        let database = Database { socket: server("shared", &runner), name };
        database.maintain(&format!("CREATE DATABASE {}", database.name));
        database
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder of the server's socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its URL, as its superuser, without a password.
    pub fn url(&self) -> String {
        url(&self.socket, &self.name)
    }

    /// How a store opens it.
    ///
    /// # Panics
    /// Never.
    pub fn options(&self) -> PostgresOptions {
        PostgresOptions::parse(&self.url()).expect("a URL")
    }

    /// Opens it.
    ///
    /// # Errors
    /// As [`PostgresStore::open`].
    pub async fn open(&self) -> Result<PostgresStore, PostgresError> {
        PostgresStore::open(self.options(), Arc::new(SystemClock)).await
    }

    /// Runs SQL in it, behind every store's back; answers what it prints.
    ///
    /// # Panics
    /// When it fails; likewise below.
    pub fn edit(&self, sql: &str) -> String {
        self.psql(&self.name, sql)
    }

    /// Runs SQL beside it.
    pub fn maintain(&self, sql: &str) -> String {
        self.psql("postgres", sql)
    }

    fn psql(&self, database: &str, sql: &str) -> String {
        let mut psql = Command::new("psql");
        psql.args(["-qtA", "-v", "ON_ERROR_STOP=1", "-h"]).arg(&self.socket);
        let output = psql.args(["-U", "freehold", "-d", database, "-c", sql]).output().expect("psql runs");
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let mut psql = Command::new("psql");
        psql.args(["-q", "-U", "freehold", "-d", "postgres", "-c", &sql, "-h"]).arg(&self.socket);
        let _ = psql.output();
    }
}
