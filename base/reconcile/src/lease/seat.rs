//! A handle on one lease: whether this process leads, and under which fencing version.

use freehold_model::Fence;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// Tells whether this process leads. Given by [`super::Keeper::seat`].
#[derive(Debug, Clone)]
pub struct Seat {
    lease: String,
    version: watch::Receiver<Option<u64>>,
    withdrawn: Withdrawn,
}

/// The leases that this process does not want for now, because who would use them is broken.
#[derive(Debug, Clone, Default)]
pub(super) struct Withdrawn(Arc<Mutex<BTreeSet<String>>>);

impl Withdrawn {
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    pub(super) fn new(lease: String, version: watch::Receiver<Option<u64>>, withdrawn: Withdrawn) -> Seat {
        Seat { lease, version, withdrawn }
    }

    /// The lease's name.
    pub fn lease(&self) -> &str {
        &self.lease
    }

    /// Under what this process leads now, if it does.
    pub fn held(&self) -> Option<Fence> {
        let version = (*self.version.borrow())?;
        Some(Fence { lease: self.lease.clone(), version })
    }

    /// Waits until this process leads under another version than `lost`; `None` once nobody will say so.
    pub async fn led(&mut self, lost: Option<u64>) -> Option<Fence> {
        let held = self.version.wait_for(|held| held.is_some() && *held != lost).await.ok()?;
        Some(Fence { lease: self.lease.clone(), version: (*held)? })
    }

    /// Waits until this process no longer leads under `fence`.
    pub async fn lost(&mut self, fence: &Fence) {
        // A keeper that is gone renews nothing.
        let _ = self.version.wait_for(|held| *held != Some(fence.version)).await;
    }

    /// Gives the lease back at the keeper's next tick, and takes no part in its election until
    /// [`Seat::contend`]: another process leads meanwhile.
    pub fn give_up(&self) {
        self.withdrawn.lock().insert(self.lease.clone());
    }

    /// Takes part in the election again.
    pub fn contend(&self) {
        self.withdrawn.lock().remove(&self.lease);
    }
}
