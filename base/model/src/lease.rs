//! Leases: who of several control planes does a thing that only one may do at a time.
//!
//! A lease is held by renewing it, and changes hands when its renewals stop; no clock is compared with
//! another. Invariant: `version` grows whenever a lease changes hands or is given back, and never otherwise.
//! So it is a fencing token: a [`Fence`] names a version, and a store refuses a transaction whose fence
//! names another than the stored one.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A lease as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// What is led: a reconciler's name, or `control/NAME` for a control plane's own presence.
    pub name: String,
    /// Who holds it; empty when it was given back.
    pub holder: String,
    /// How often it changed hands or was given back; 1 at first.
    pub version: u64,
    /// How often it was renewed: as long as this grows, its holder lives.
    pub renewals: u64,
    /// When it changed hands last, by the store's clock; for people alone.
    pub since: Timestamp,
    /// What the holder says of itself.
    pub note: String,
}

/// What is done to leases. None of it is a commit: it leaves no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseChange {
    /// Takes the lease, if it is still as it was seen; it is made if there is none and none was seen.
    Take {
        /// Which lease.
        name: String,
        /// Who will hold it.
        holder: String,
        /// What the holder says of itself.
        note: String,
        /// The version and the renewals that were seen; zeros for a lease that was never there.
        seen: (u64, u64),
    },
    /// Renews every lease that `holder` holds.
    Renew {
        /// Who renews.
        holder: String,
    },
    /// Gives back every lease that `holder` holds.
    Release {
        /// Who gives back.
        holder: String,
    },
    /// Gives back one lease, if `holder` holds it.
    GiveUp {
        /// Which lease.
        name: String,
        /// Who gives it back.
        holder: String,
    },
}

/// Under which lease a transaction is committed: refused unless the lease has this very version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// The lease's name.
    pub lease: String,
    /// The version that the committer holds.
    pub version: u64,
}
