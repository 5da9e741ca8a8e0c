//! The callers' end of a writer's queue, the same for every engine.

use crate::job::{Job, Prepared};
use freehold_model::{CommitError, Committed, LeaseChange, Seq, Txn};
use freehold_reconcile::StoreError;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

/// Callers beyond this many wait before they may queue.
const LENGTH: usize = 1024;
pub(crate) const CLOSED: &str = "the store is closed";

/// Hands jobs to the writer and answers to their callers. A caller that stops waiting does not stop the
/// job.
pub(crate) struct Queue(Option<mpsc::Sender<Job>>);

impl Queue {
    /// And the writer's end.
    pub(crate) fn new() -> (Queue, mpsc::Receiver<Job>) {
        let (sender, jobs) = mpsc::channel(LENGTH);
        (Queue(Some(sender)), jobs)
    }

    pub(crate) async fn commit(&self, txn: Txn) -> Result<Committed, CommitError> {
        let (to, answer) = oneshot::channel();
        self.push(Job::Commit(Box::new(Prepared::from(txn)), to)).await;
        answer.await.unwrap_or_else(|_| Err(CommitError::Engine(CLOSED.into())))
    }

    pub(crate) async fn advance(&self, name: &str, seq: Seq) -> Result<(), StoreError> {
        let (to, answer) = oneshot::channel();
        self.push(Job::Advance(name.to_owned(), seq, to)).await;
        answer.await.unwrap_or_else(|_| Err(StoreError::Engine(CLOSED.into())))
    }

    pub(crate) async fn change_lease(&self, change: LeaseChange) -> Result<(), StoreError> {
        let (to, answer) = oneshot::channel();
        self.push(Job::Lease(change, to)).await;
        answer.await.unwrap_or_else(|_| Err(StoreError::Engine(CLOSED.into())))
    }

    pub(crate) async fn forget_answers(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let (to, answer) = oneshot::channel();
        self.push(Job::Forget(before, limit, to)).await;
        answer.await.unwrap_or_else(|_| Err(StoreError::Engine(CLOSED.into())))
    }

    /// Waits until the writer has done what was queued before, and has ended.
    pub(crate) async fn close(&self) {
        let (to, closed) = oneshot::channel();
        self.push(Job::Close(to)).await;
        // Nobody answers where the writer had ended already.
        let _ = closed.await;
    }

    /// Lets the writer end once it has done what is queued.
    pub(crate) fn hang_up(&mut self) {
        self.0 = None;
    }

    /// A job that the writer will not see goes, and with it the place of its answer.
    async fn push(&self, job: Job) {
        if let Some(queue) = &self.0 {
            let _ = queue.send(job).await;
        }
    }
}
