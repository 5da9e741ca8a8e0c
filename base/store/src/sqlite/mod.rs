//! The store of one machine: one writer thread that commits in groups, and a pool of snapshots.
//!
//! A commit is turned into rows by its caller ([`crate::row`], [`crate::job`]), queued to the writer thread
//! ([`writer`]), applied in a savepoint ([`apply`]), and answered once the group it belongs to is on
//! disk. Reads never wait for writes: each [`view`] is a read transaction on a connection of its own.

mod apply;
mod backup;
mod claims;
mod copy;
mod leases;
mod lock;
mod log;
mod pool;
mod prune;
mod reserve;
mod row;
mod schema;
mod store;
mod view;
mod work;
mod writer;

pub(crate) use copy::{CopySource, CopyTarget};
pub use store::SqliteStore;

use freehold_model::CommitError;

/// What a failed statement means to whoever commits.
fn failed(error: rusqlite::Error) -> CommitError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => CommitError::Full,
        _ => CommitError::Engine(engine(error)),
    }
}

/// The engine's complaint as the text that the port's errors carry.
fn engine(error: impl std::fmt::Display) -> String {
    format!("SQLite: {error}")
}
