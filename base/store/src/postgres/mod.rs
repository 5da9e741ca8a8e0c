//! The store of several machines: PostgreSQL 15 or newer.
//!
//! A commit is queued to this process's writer ([`writer`]), which takes what is waiting as one group and
//! makes it one database transaction: it locks the end of the log, loads what the group touches ([`load`]),
//! decides every transaction of it in memory ([`desk`], [`work`]: pure, no IO), writes what became of it
//! ([`save`]) and commits. Two round trips and one flush for the whole group.
//!
//! The lock makes the order total: whoever has it sees everything before, and nobody gives out a number
//! until it is committed. So a reader that sees event n sees every event before it.
//!
//! Reads are snapshots: each [`view`] is a read-only transaction on a connection of its own ([`pool`]).
//! Other processes hear of commits by NOTIFY, and ask every second in case it was lost ([`listen`]).

mod connect;
mod copy;
mod desk;
mod error;
mod leases;
mod listen;
mod load;
mod pool;
mod prune;
mod save;
mod schema;
mod store;
mod tls;
mod view;
mod work;
mod writer;

pub use connect::PostgresOptions;
pub(crate) use copy::{CopySource, CopyTarget};
pub use error::PostgresError;
pub use store::PostgresStore;

/// The engine's complaint as the text that the port's errors carry.
fn engine(error: &tokio_postgres::Error) -> String {
    format!("PostgreSQL: {}", error::say(error))
}
