//! Transactions and the event log on SQLite.
