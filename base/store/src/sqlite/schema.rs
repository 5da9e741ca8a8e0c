//! The database file: how a connection is set up, and which schema it must have.
//!
//! `PRAGMA user_version` counts the migrations that were applied. A migration that was ever released
//! never changes; a new one is a new file under `migrations/sqlite/` and a new row in [`MIGRATIONS`].

use crate::OpenError;
use rusqlite::{Connection, OpenFlags};
use std::{
    fs::{OpenOptions, Permissions},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
    time::Duration,
};

/// Every migration, oldest first; the n-th leads to schema n.
const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/sqlite/0001_initial.sql"),
    include_str!("../../migrations/sqlite/0002_leases.sql"),
    include_str!("../../migrations/sqlite/0003_prune.sql"),
];

/// The schema that this program writes.
pub(super) fn current() -> usize {
    MIGRATIONS.len()
}

/// Marks the file as ours (`PRAGMA application_id`): "frhd".
const APPLICATION: i64 = 0x6672_6864;

/// Opens the writer's connection to `path`, making the file or bringing its schema up to date.
pub(super) fn open_writer(path: &Path) -> Result<Connection, OpenError> {
    make_private(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failed = |source| OpenError::Engine { path: path.to_owned(), source };
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    set_up(&connection).map_err(failed)?;
    let found = check(&connection, path)?;
    migrate(&mut connection, found).map_err(failed)?;
    Ok(connection)
}

/// Opens a reader's connection to a database that a writer has open.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

const BUSY: Duration = Duration::from_secs(10);

/// The file holds what only its owner may read; SQLite gives its journal the same mode.
fn make_private(path: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::File { path: path.to_owned(), source };
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(path).map_err(failed)?;
    file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)
}

fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cache_size", -32_768)?;
    // A checkpoint syncs the database itself: 16 MiB of journal between two keeps it off most commits.
    connection.pragma_update(None, "wal_autocheckpoint", 4096)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)
}

/// The schema of the file, if this program may touch it.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<usize, OpenError> {
    let failed = |source| OpenError::Engine { path: path.to_owned(), source };
    let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(failed);
    let found = number("PRAGMA user_version")?;
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    if tables > 0 && number("PRAGMA application_id")? != APPLICATION {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    match usize::try_from(found) {
        Ok(version) if version <= MIGRATIONS.len() => Ok(version),
        _ => Err(OpenError::Newer { path: path.to_owned(), found, known: MIGRATIONS.len() as i64 }),
    }
}

fn migrate(connection: &mut Connection, found: usize) -> rusqlite::Result<()> {
    for (index, sql) in MIGRATIONS.iter().enumerate().skip(found) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", index as i64 + 1)?;
        transaction.commit()?;
        tracing::info!(schema = index + 1, "migrated the store");
    }
    Ok(())
}
