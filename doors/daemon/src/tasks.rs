//! The background tasks of one process: each is supervised and on a board that the API shows.
//!
//! Called by [`crate::up`] and what it starts. Invariant: none ends before `shutdown` without the process noticing.

use anyhow::anyhow;
use freehold_reconcile::{TaskBoard, TaskHandle, TaskSpec, supervise};
use std::{fmt::Display, future::Future, time::Duration};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Everything that runs in the background.
#[derive(Default)]
pub(crate) struct Tasks {
    /// What each supervised task does.
    pub(crate) board: TaskBoard,
    /// Tells all of them to end.
    pub(crate) shutdown: CancellationToken,
    set: JoinSet<()>,
}

impl Tasks {
    /// Keeps a task running that can be started again: whenever it panics, hangs or ends.
    pub(crate) fn keep<F>(&mut self, spec: TaskSpec, start: impl FnMut(TaskHandle) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.set.spawn(supervise(self.board.clone(), spec, self.shutdown.clone(), start));
    }

    /// Runs what cannot be started again: where it ends too early, [`Tasks::failed`] says so.
    pub(crate) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.set.spawn(task);
    }

    /// Waits until a part ends that must not. Cancel-safe.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        match self.set.join_next().await {
            Some(Err(error)) => anyhow!("a part of Freehold broke: {error}"),
            Some(Ok(())) if !self.shutdown.is_cancelled() => anyhow!("a part of Freehold ended by itself"),
            _ => std::future::pending().await,
        }
    }

    /// Waits until every task has ended.
    pub(crate) async fn ended(&mut self) {
        while self.set.join_next().await.is_some() {}
    }

    /// Ends those that are left at once.
    pub(crate) fn abort(&mut self) {
        self.set.abort_all();
    }
}

/// Does `work` after `first` and then every `period`, until `shutdown`. A failure is logged and shown.
pub(crate) async fn periodically<F, E>(
    task: TaskHandle,
    (first, period): (Duration, Duration),
    shutdown: CancellationToken,
    work: impl Fn() -> F,
) where
    F: Future<Output = Result<(), E>>,
    E: Display,
{
    let mut wait = first;
    while shutdown.run_until_cancelled(tokio::time::sleep(wait)).await.is_some() {
        wait = period;
        let run = task.begin("timer");
        if let Err(error) = run.end(work().await) {
            tracing::warn!(task = task.name(), error = format!("{error:#}"), "it will be tried again");
        }
    }
}
