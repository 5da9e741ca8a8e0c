//! Gives memory that a burst needed back to the machine, once a minute: glibc keeps what was freed in many small
//! pieces, after a thousand nodes have joined about a fifth of the process.
//!
//! Run along with everything else by [`crate::up`]. Where the C library is another, there is nothing to do.

use crate::tasks::periodically;
use freehold_reconcile::{TaskHandle, TaskSpec};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(60);

/// What [`run`] is on the board of tasks.
pub(crate) fn spec() -> TaskSpec {
    TaskSpec::new("trim-memory", "Gives memory that a burst needed back to the machine.").every(EVERY)
}

/// Gives back until `shutdown`.
pub(crate) async fn run(task: TaskHandle, shutdown: CancellationToken) {
    // It looks at every free page: milliseconds, which are not for a thread that others wait for.
    periodically(task, (EVERY, EVERY), shutdown, || tokio::task::spawn_blocking(trim)).await;
}

#[cfg(target_env = "gnu")]
fn trim() {
    // SAFETY: it takes no pointer, and may be called from any thread at any time (malloc_trim(3)).
    unsafe { nix::libc::malloc_trim(0) };
}

#[cfg(not(target_env = "gnu"))]
fn trim() {}
