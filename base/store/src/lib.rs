//! Transactions and the event log on SQLite or PostgreSQL.
//!
//! [`SqliteStore`] is the backend of one machine, [`PostgresStore`] that of several. [`conformance`] says what
//! every backend must do, and runs against any [`freehold_reconcile::Store`].

mod caused;
mod chain;
pub mod conformance;
mod copy;
mod error;
mod inventory;
mod job;
mod log;
mod postgres;
mod prune;
mod queue;
mod row;
mod sqlite;
#[cfg(feature = "testing")]
pub mod testing;

pub use copy::{Copied, CopyError, Place, backup, copy, refuse_users};
pub use error::{BackupError, ChainError, OpenError};
pub use inventory::{ImportError, export, import};
pub use postgres::{PostgresError, PostgresOptions, PostgresStore};
pub use sqlite::SqliteStore;
