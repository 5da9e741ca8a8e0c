//! What an endpoint has carried since the edge knows it. Kept in memory, read through the API, never
//! written to the store: a number that changes with every connection is no news.

use freehold_model::{EndpointId, traffic::EndpointTraffic};
use jiff::Timestamp;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// The numbers of one endpoint. For UDP a session is a connection.
pub(crate) struct Counters {
    since: Timestamp,
    /// Open now, those that wait for a backend included.
    pub(crate) active: AtomicU32,
    /// Ever accepted.
    pub(crate) connections: AtomicU64,
    /// Reset because there were too many.
    pub(crate) refused: AtomicU64,
    /// Ended because no backend answered.
    pub(crate) failed: AtomicU64,
    /// Broken off by either side.
    pub(crate) broken: AtomicU64,
    /// Ended for silence.
    pub(crate) idled: AtomicU64,
    /// From clients.
    pub(crate) bytes_in: AtomicU64,
    /// To clients.
    pub(crate) bytes_out: AtomicU64,
    /// Ended because a trusted proxy's PROXY header was wrong, missing or slow.
    pub(crate) bad_headers: AtomicU64,
    /// Datagrams that were thrown away: no backend, or a full buffer.
    pub(crate) dropped: AtomicU64,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters {
            since: Timestamp::now(),
            active: AtomicU32::default(),
            connections: AtomicU64::default(),
            refused: AtomicU64::default(),
            failed: AtomicU64::default(),
            broken: AtomicU64::default(),
            idled: AtomicU64::default(),
            bytes_in: AtomicU64::default(),
            bytes_out: AtomicU64::default(),
            bad_headers: AtomicU64::default(),
            dropped: AtomicU64::default(),
        }
    }
}

impl Counters {
    /// The numbers as they are now, without the backends' and the log's.
    pub(crate) fn read(&self, endpoint: EndpointId) -> EndpointTraffic {
        EndpointTraffic {
            endpoint,
            since: self.since,
            active: self.active.load(Relaxed),
            connections: self.connections.load(Relaxed),
            refused: self.refused.load(Relaxed),
            failed: self.failed.load(Relaxed),
            broken: self.broken.load(Relaxed),
            idled: self.idled.load(Relaxed),
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            bad_headers: self.bad_headers.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            unlogged: 0,
            backends: vec![],
        }
    }

    /// Counts one more open connection, unless there are `most`. Whoever enters leaves.
    pub(crate) fn enter(&self, most: Option<u32>) -> bool {
        let open = self.active.fetch_add(1, Relaxed);
        if most.is_some_and(|most| open >= most) {
            self.active.fetch_sub(1, Relaxed);
            self.refused.fetch_add(1, Relaxed);
            return false;
        }
        self.connections.fetch_add(1, Relaxed);
        true
    }

    /// One that entered has ended.
    pub(crate) fn leave(&self) {
        self.active.fetch_sub(1, Relaxed);
    }
}
