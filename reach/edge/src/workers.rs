//! The threads that carry traffic, apart from those that serve the API and write the store.
//!
//! Each has a runtime of its own and its own listener on every port (`SO_REUSEPORT`): a connection is
//! accepted, connected and carried by one thread, and no thread wakes another. Invariant: whatever runs
//! here never blocks.

use std::thread::{self, JoinHandle};
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// More threads than this help nobody: the kernel's share of the work is done by whoever sends.
const MOST: usize = 8;

/// The threads. Dropping them ends what runs there at once.
pub(crate) struct Workers {
    handles: Vec<Handle>,
    threads: Vec<JoinHandle<()>>,
    stop: CancellationToken,
}

impl Workers {
    /// One for each processor.
    ///
    /// # Panics
    /// When the machine gives no thread or no epoll, without which nothing here can go on.
    pub(crate) fn start() -> Workers {
        let count = thread::available_parallelism().map_or(1, usize::from).min(MOST);
        let stop = CancellationToken::new();
        let (mut handles, mut threads) = (vec![], vec![]);
        for number in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build().expect("an epoll instance");
            handles.push(runtime.handle().clone());
            let until = stop.clone();
            let work = move || runtime.block_on(until.cancelled());
            let thread = thread::Builder::new().name(format!("edge-{number}")).spawn(work);
            threads.push(thread.expect("a thread"));
        }
        Workers { handles, threads, stop }
    }

    /// One handle for each thread.
    pub(crate) fn handles(&self) -> &[Handle] {
        &self.handles
    }

    /// Ends what still runs, and waits for the threads.
    pub(crate) fn stop(mut self) {
        self.stop.cancel();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
