//! What was done to a store in memory and how it answered, so that a test can ask another engine the same.

use freehold_model::{CommitError, Committed, LeaseChange, Txn};
use jiff::Timestamp;

/// One thing that was done.
#[derive(Debug, Clone)]
pub enum Done {
    /// A commit.
    Commit {
        /// The store's time.
        at: Timestamp,
        /// What was asked.
        txn: Box<Txn>,
        /// What it answered.
        outcome: Result<Committed, CommitError>,
    },
    /// A change of leases.
    Lease {
        /// The store's time.
        at: Timestamp,
        /// What was asked.
        change: LeaseChange,
    },
}
