//! Background tasks that are seen and kept alive: what each does and how it went is on a board, and one that
//! panics, hangs or ends too early gives up its lease and is started again.
//!
//! The daemon runs each of its loops through [`supervise`]; the API reads the [`TaskBoard`]. Invariant: a task
//! that no longer works never holds a lease for longer than its deadline.

use crate::lease::Seat;
use freehold_model::tasks::{BackgroundTask, TaskResult, TaskRun, TaskState};
use jiff::Timestamp;
use std::{
    any::Any,
    collections::BTreeMap,
    fmt::Display,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::JoinError, time::sleep};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// The wait before the first restart; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait before a restart. A task that worked for longer begins with the first wait again.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The background tasks of one process. Clones share one board.
#[derive(Debug, Clone, Default)]
pub struct TaskBoard(Arc<Mutex<BTreeMap<String, TaskHandle>>>);

/// What is known of a task before it runs.
#[derive(Debug, Clone)]
pub struct TaskSpec {
    /// Its name, unique on its board.
    pub name: String,
    /// What it does, in one sentence.
    pub purpose: &'static str,
    /// How often it runs by itself, if it does.
    pub period: Option<Duration>,
    /// A run that takes longer is taken to hang.
    pub deadline: Duration,
    /// How long a task that was told to end may take before it counts as stuck.
    pub patience: Duration,
    /// The lease under which it works, if any: given up while the task is broken.
    pub seat: Option<Seat>,
}

impl TaskSpec {
    /// A task whose runs are short: one that takes a minute hangs.
    pub fn new(name: impl Into<String>, purpose: &'static str) -> TaskSpec {
        let (deadline, patience) = (Duration::from_secs(60), Duration::from_secs(10));
        TaskSpec { name: name.into(), purpose, period: None, deadline, patience, seat: None }
    }

    /// The same, for a task that runs every `period`.
    #[must_use]
    pub fn every(self, period: Duration) -> TaskSpec {
        TaskSpec { period: Some(period), ..self }
    }

    /// The same, for a task whose runs may take up to `deadline`.
    #[must_use]
    pub fn within(self, deadline: Duration) -> TaskSpec {
        TaskSpec { deadline, ..self }
    }

    /// The same, for a task that works only while this process leads.
    #[must_use]
    pub fn under(self, seat: Seat) -> TaskSpec {
        TaskSpec { seat: Some(seat), ..self }
    }
}

/// A task's place on the board. Clones share it.
#[derive(Debug, Clone)]
pub struct TaskHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    spec: TaskSpec,
    kept: Mutex<Kept>,
    /// Changes whenever a run begins or ends.
    began: watch::Sender<Option<Instant>>,
}

/// The state of a task that outlives one run.
#[derive(Debug, Default)]
struct Kept {
    running: Option<TaskRun>,
    last: Option<TaskResult>,
    runs: u64,
    failures: u64,
    restarts: u64,
    trouble: Option<String>,
    lag: Option<u64>,
    broken: Option<TaskState>,
}

impl TaskBoard {
    /// Every task, in order of names.
    pub fn list(&self) -> Vec<BackgroundTask> {
        self.lock().values().map(TaskHandle::describe).collect()
    }

    fn enter(&self, spec: TaskSpec) -> TaskHandle {
        let handle = TaskHandle::of(spec.clone());
        self.lock().insert(spec.name, handle.clone());
        handle
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, TaskHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TaskHandle {
    /// A handle that is on no board, for callers that nobody watches.
    pub fn of(spec: TaskSpec) -> TaskHandle {
        TaskHandle(Arc::new(Shared { spec, kept: Mutex::default(), began: watch::Sender::new(None) }))
    }

    /// The task's name.
    pub fn name(&self) -> &str {
        &self.0.spec.name
    }

    /// Begins a run about `reason`. It ends with [`Run::end`]; dropped before that, it was cut off.
    pub fn begin(&self, reason: impl Display) -> Run {
        let run = TaskRun { reason: reason.to_string(), since: Timestamp::now() };
        self.lock().running = Some(run);
        let began = Instant::now();
        self.0.began.send_replace(Some(began));
        Run { task: self.clone(), began }
    }

    /// Says how many events of the log the task has not looked at yet.
    pub fn lags(&self, events: u64) {
        self.lock().lag = Some(events);
    }

    fn describe(&self) -> BackgroundTask {
        let (spec, kept) = (&self.0.spec, self.lock());
        let follows = spec.seat.as_ref().is_some_and(|seat| seat.held().is_none());
        let state = match kept.broken {
            Some(broken) => broken,
            None if kept.running.is_some() => TaskState::Running,
            None if follows => TaskState::Follower,
            None => TaskState::Idle,
        };
        BackgroundTask {
            name: spec.name.clone(),
            purpose: spec.purpose.into(),
            state,
            period: spec.period.map(|period| period.as_secs()),
            running: kept.running.clone(),
            last: kept.last.clone(),
            runs: kept.runs,
            failures: kept.failures,
            restarts: kept.restarts,
            trouble: kept.trouble.clone(),
            lag: kept.lag,
        }
    }

    fn end(&self, began: Instant, error: Option<String>) {
        let mut kept = self.lock();
        let Some(TaskRun { reason, .. }) = kept.running.take() else { return };
        kept.runs += 1;
        kept.failures += u64::from(error.is_some());
        let took = began.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
        kept.last = Some(TaskResult { reason, ended: Timestamp::now(), took, error });
        drop(kept);
        self.0.began.send_replace(None);
    }

    /// Returns what hangs, once a run takes longer than it may.
    async fn overdue(&self) -> String {
        let (mut began, deadline) = (self.0.began.subscribe(), self.0.spec.deadline);
        loop {
            let running = *began.borrow_and_update();
            let left = running.map(|began| deadline.saturating_sub(began.elapsed()));
            tokio::select! {
                // The handle holds the sender.
                _ = began.changed() => {}
                () = sleep(left.unwrap_or_default()), if left.is_some() => {
                    let kept = self.lock();
                    let reason = kept.running.as_ref().map_or("", |run| run.reason.as_str());
                    return format!("it hangs: \"{reason}\" takes longer than {} s", deadline.as_secs());
                }
            }
        }
    }

    fn broke(&self, state: TaskState, trouble: Option<&str>) {
        let mut kept = self.lock();
        kept.broken = Some(state);
        if let Some(trouble) = trouble {
            kept.restarts += 1;
            kept.trouble = Some(trouble.to_owned());
        }
    }

    fn starts(&self) {
        let mut kept = self.lock();
        (kept.broken, kept.running) = (None, None);
        drop(kept);
        self.0.began.send_replace(None);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run under way.
#[derive(Debug)]
#[must_use]
pub struct Run {
    task: TaskHandle,
    began: Instant,
}

impl Run {
    /// Ends the run, and hands its outcome on.
    pub fn end<T, E: Display>(self, outcome: Result<T, E>) -> Result<T, E> {
        self.task.end(self.began, outcome.as_ref().err().map(ToString::to_string));
        outcome
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // After `end` there is nothing left to end.
        self.task.end(self.began, Some("it was cut off".into()));
    }
}

/// Keeps the task that `start` makes running until `shutdown`, shown on `board`.
///
/// A task that panics, hangs or ends is said to be broken, gives up its lease, and is started again after a
/// wait. One that does not even end when it is aborted stays stuck and without its lease until it does.
pub async fn supervise<F>(
    board: TaskBoard,
    spec: TaskSpec,
    shutdown: CancellationToken,
    mut start: impl FnMut(TaskHandle) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let handle = board.enter(spec);
    let mut wait = FIRST_WAIT;
    loop {
        let began = Instant::now();
        handle.starts();
        let Some(trouble) = watch_over(&handle, &shutdown, start(handle.clone())).await else { return };
        if began.elapsed() > LONGEST_WAIT {
            wait = FIRST_WAIT;
        }
        tracing::error!(task = handle.0.spec.name, trouble, "starting it again in {} s", wait.as_secs());
        handle.broke(TaskState::Restarting, None);
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = sleep(wait) => wait = LONGEST_WAIT.min(wait * 2),
        }
        if let Some(seat) = &handle.0.spec.seat {
            seat.contend();
        }
    }
}

/// Runs one life of a task; answers what broke it, or nothing when the process stops. The lease is given up by
/// then, and nothing of that life runs any more.
async fn watch_over(
    handle: &TaskHandle,
    shutdown: &CancellationToken,
    life: impl Future<Output = ()> + Send + 'static,
) -> Option<String> {
    let mut task = AbortOnDropHandle::new(tokio::spawn(life));
    let give_up = |trouble: &str| {
        handle.broke(TaskState::Restarting, Some(trouble));
        if let Some(seat) = &handle.0.spec.seat {
            seat.give_up();
        }
    };
    let trouble = tokio::select! {
        ended = &mut task => trouble_of(ended, shutdown)?,
        hangs = handle.overdue() => {
            give_up(&hangs);
            task.abort();
            if !ends(&mut task, handle.0.spec.patience).await {
                tracing::error!(task = handle.0.spec.name, hangs, "it does not end: restart Freehold");
                handle.broke(TaskState::Stuck, None);
                tokio::select! {
                    () = shutdown.cancelled() => return None,
                    _ = &mut task => {}
                }
            }
            return Some(hangs);
        }
    };
    give_up(&trouble);
    Some(trouble)
}

/// Whether the task ends within `patience`.
async fn ends(task: &mut AbortOnDropHandle<()>, patience: Duration) -> bool {
    tokio::time::timeout(patience, task).await.is_ok()
}

fn trouble_of(ended: Result<(), JoinError>, shutdown: &CancellationToken) -> Option<String> {
    match ended {
        Err(error) if error.is_panic() => {
            Some(format!("it panicked: {}", panic_message(&*error.into_panic())))
        }
        _ if shutdown.is_cancelled() => None,
        _ => Some("it ended by itself".into()),
    }
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".into())
}
