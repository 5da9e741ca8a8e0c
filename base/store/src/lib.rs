//! Transactions and the event log on SQLite.
//!
//! [`SqliteStore`] is the backend of one machine. [`conformance`] says what every backend must do, and
//! runs against any [`freehold_reconcile::Store`].

pub mod conformance;
mod error;
mod sqlite;

pub use error::{ChainError, OpenError};
pub use sqlite::SqliteStore;
