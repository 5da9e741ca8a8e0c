//! Ctrl-C while a command waits: the wait ends, what it waits for goes on.

/// The exit code of a command that Ctrl-C ended, as shells give it.
pub(crate) const EXIT: u8 = 130;

/// Waits for `work`; `None` when Ctrl-C came first.
pub(crate) async fn or_interrupted<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        Ok(()) = tokio::signal::ctrl_c() => None,
    }
}
