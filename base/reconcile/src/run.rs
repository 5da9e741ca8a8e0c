//! The loop that runs a reconciler against a store, in real time. Started by the daemon, once for each
//! reconciler.
//!
//! Events only say where to look; what to do is decided from a fresh view. The loop never ends before
//! `shutdown`: whatever fails is logged and tried again, less and less often.
//!
//! It decides only while its process leads, and every commit names the lease's version: what was decided
//! before the lead was lost, and comes late, is refused by the store. Each term begins from nothing.

use crate::{
    agenda::Agenda,
    lease::Seat,
    ports::{Clock, Store, StoreError, SystemIds},
    reconciler::{Decision, Reconciler},
    tasks::{TaskHandle, panic_message},
    watch::{EventWatch, watch_from},
};
use freehold_model::{AnyId, CommitError, Event, Fence};
use jiff::{SignedDuration, Timestamp};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::block_in_place,
};
use tokio_util::sync::CancellationToken;

/// Everything is looked at again so often, in case a signal was lost.
pub const RESYNC: Duration = Duration::from_secs(30);
/// How soon reading the log is tried again after the store failed.
const RETRY: SignedDuration = SignedDuration::from_secs(1);

/// Runs `reconciler` until `shutdown`, whenever `seat` leads.
pub async fn run(
    reconciler: Arc<dyn Reconciler>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    mut seat: Seat,
    task: TaskHandle,
    shutdown: CancellationToken,
) {
    let mut lost = None;
    loop {
        let fence = tokio::select! {
            () = shutdown.cancelled() => return,
            led = seat.led(lost) => match led {
                Some(fence) => fence,
                None => return,
            },
        };
        lost = Some(fence.version);
        let head = *store.head().borrow();
        let watch = watch_from(Arc::clone(&store), head);
        let term = Loop {
            reconciler: reconciler.clone(),
            store: store.clone(),
            clock: clock.clone(),
            task: task.clone(),
            watch,
            agenda: Agenda::default(),
            resync: clock.now(),
            fence: fence.clone(),
            is_over: false,
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = seat.lost(&fence) => {}
            () = term.run() => {}
        }
    }
}

struct Loop {
    reconciler: Arc<dyn Reconciler>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// Where it says what it does.
    task: TaskHandle,
    watch: EventWatch,
    agenda: Agenda,
    /// When to ask for all subjects next; at start, now.
    resync: Timestamp,
    /// The lease under which this term runs.
    fence: Fence,
    /// Whether the store says that the lease has moved on.
    is_over: bool,
}

/// Why a subject could not be brought forward.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Read(#[from] StoreError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error("it panicked: {0}")]
    Panic(String),
}

impl Loop {
    /// Works until the lease is lost or the store is closed.
    async fn run(mut self) {
        loop {
            self.round().await;
            if self.is_over {
                return;
            }
            let pause = self.pause();
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                more = self.watch.changed() => if !more { return },
            }
        }
    }

    /// Reads what happened, then brings forward every subject that is due.
    async fn round(&mut self) {
        if self.clock.now() >= self.resync {
            let run = self.task.begin("everything");
            let all = run.end(self.resync().await);
            let next =
                if self.noted(all) { SignedDuration::from_secs(RESYNC.as_secs() as i64) } else { RETRY };
            self.resync = later(self.clock.now(), next);
        }
        loop {
            let followed = self.follow().await;
            self.task.lags(self.watch.lag());
            if !self.noted(followed) {
                // An event that cannot be handled must not hide others: look at everything instead.
                self.resync = self.resync.min(later(self.clock.now(), RETRY));
            }
            let Some(subject) = self.agenda.take(self.clock.now()) else { return };
            self.bring_forward(subject).await;
            if self.is_over {
                return;
            }
        }
    }

    fn noted(&self, outcome: Result<(), StoreError>) -> bool {
        if let Err(error) = &outcome {
            tracing::warn!(reconciler = self.reconciler.name(), %error, "cannot follow the store");
        }
        outcome.is_ok()
    }

    async fn resync(&mut self) -> Result<(), StoreError> {
        let view = self.store.view().await?;
        let now = self.clock.now();
        for subject in apart(|| self.reconciler.subjects(&*view))? {
            self.agenda.add(subject, now);
        }
        Ok(())
    }

    async fn follow(&mut self) -> Result<(), StoreError> {
        loop {
            let events = self.watch.ready().await?;
            if events.is_empty() {
                return Ok(());
            }
            let run = self.task.begin("events");
            let noted = self.note(events).await;
            run.end(noted)?;
        }
    }

    async fn note(&mut self, events: Vec<Event>) -> Result<(), StoreError> {
        let view = self.store.view().await?;
        let now = self.clock.now();
        let reconciler = &self.reconciler;
        let concerned: Result<Vec<_>, _> =
            apart(|| events.iter().map(|event| reconciler.concerns(event, &*view)).collect());
        concerned?.into_iter().flatten().for_each(|subject| self.agenda.add(subject, now));
        Ok(())
    }

    async fn bring_forward(&mut self, subject: AnyId) {
        let run = self.task.begin(subject);
        let outcome = self.decide_and_commit(subject).await;
        // A conflict only says that somebody else was quicker.
        let failed = |trouble: &&Trouble| !matches!(trouble, Trouble::Commit(it) if it.is_conflict());
        let _ = run.end(outcome.as_ref().err().filter(failed).map_or(Ok(()), Err));
        let now = self.clock.now();
        let name = self.reconciler.name();
        match outcome {
            Ok(wake) => self.agenda.settle(subject, wake),
            Err(Trouble::Commit(lost @ CommitError::LeaseLost { .. })) => {
                tracing::warn!(reconciler = name, %subject, %lost, "another leads: nothing was changed");
                self.is_over = true;
            }
            Err(Trouble::Commit(conflict)) if conflict.is_conflict() => {
                tracing::debug!(reconciler = name, %subject, %conflict, "deciding again");
                self.agenda.conflicted(subject, now);
            }
            Err(error) => {
                let wait = self.agenda.failed(subject, now);
                tracing::warn!(reconciler = name, %subject, %error, "trying again in {wait:#}");
            }
        }
    }

    async fn decide_and_commit(&self, subject: AnyId) -> Result<Option<Timestamp>, Trouble> {
        let view = self.store.view().await?;
        let now = self.clock.now();
        let decide = AssertUnwindSafe(|| self.reconciler.decide(subject, &*view, now, &mut SystemIds));
        let decided = apart(|| catch_unwind(decide));
        let Decision { txn, wake } = decided.map_err(|panic| Trouble::Panic(panic_message(&*panic)))??;
        drop(view);
        if let Some(mut txn) = txn.filter(|txn| !txn.is_empty()) {
            txn.fence = Some(self.fence.clone());
            self.store.commit(txn).await?;
        }
        Ok(wake)
    }

    /// How long nothing needs to be done, if nothing happens.
    fn pause(&self) -> Duration {
        let next = self.agenda.next().map_or(self.resync, |next| next.min(self.resync));
        next.duration_since(self.clock.now()).try_into().unwrap_or(Duration::ZERO)
    }
}

fn later(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.saturating_add(by).unwrap_or(now)
}

/// Runs what reads and computes where it holds up no other task of this thread, however long it takes.
fn apart<T>(work: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => block_in_place(work),
        // There is no other thread to hand tasks to.
        _ => work(),
    }
}
