//! Room for connections: how many may be open at a time, so that the store, the API and the agent are left the
//! files that they need.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

/// The open connections of all endpoints, and room for more.
#[derive(Clone)]
pub(crate) struct Connections {
    pub(crate) tasks: TaskTracker,
    room: Arc<Semaphore>,
}

impl Connections {
    /// Room for `most` at a time.
    pub(crate) fn new(most: usize) -> Connections {
        Connections { tasks: TaskTracker::new(), room: Arc::new(Semaphore::new(most)) }
    }

    /// Waits for room: clients wait where the kernel keeps them, and the store, the API and the agent
    /// are left the files that they need.
    pub(crate) async fn room(&self) -> OwnedSemaphorePermit {
        if let Ok(room) = Arc::clone(&self.room).try_acquire_owned() {
            return room;
        }
        tracing::warn!("as many connections are open as may be; others wait");
        Arc::clone(&self.room).acquire_owned().await.expect("it is never closed")
    }

    /// Room for one that would rather be turned away than wait.
    pub(crate) fn room_now(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).try_acquire_owned().ok()
    }
}

/// How the `limit` of open files is shared out: so many connections, of two files each, and so many
/// pipes, likewise, leave a quarter of the files to others.
pub(crate) fn shares(limit: Option<u64>) -> (usize, usize) {
    let limit = usize::try_from(limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX).min(1 << 20);
    let pipes = (limit / 16).min(512);
    ((limit - limit / 4) / 2 - pipes, pipes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_files_is_left_to_others() {
        for limit in [1024_u64, 20_000, 1 << 20] {
            let (connections, pipes) = shares(Some(limit));
            assert!(2 * (connections + pipes) as u64 <= limit - limit / 4, "{limit}");
            assert!(connections as u64 > limit / 4 && pipes > 32, "{limit}: {connections}, {pipes}");
        }
        assert!(shares(None).0 < Semaphore::MAX_PERMITS);
    }
}
