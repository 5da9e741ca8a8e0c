//! One lease as whoever needs it sees it: held under which version, if at all.

use freehold_model::Fence;
use tokio::sync::watch;

/// Tells whether this process leads. Given by [`super::Keeper::seat`].
#[derive(Debug, Clone)]
pub struct Seat {
    lease: String,
    version: watch::Receiver<Option<u64>>,
}

impl Seat {
    pub(super) fn new(lease: String, version: watch::Receiver<Option<u64>>) -> Seat {
        Seat { lease, version }
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
}
