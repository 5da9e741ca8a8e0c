//! Keeps one instance as it is wanted: a task of its own, so that a slow one holds up nobody.
//!
//! The loop looks ([`Worker::see`]), asks the decider, acts (`act`), says what it saw, and waits for a
//! change. Invariant: an instance has at most one worker, and only its worker touches its run.

mod act;
mod run;

use crate::{
    agent::Shared,
    backoff::Memory,
    decide::{Action, Goal, Observed, decide},
    health::Health,
    journal::Entry,
    probe::Prober,
    status::{Facts, Stage, status},
};
use freehold_model::{CheckAnswer, Digest, InstanceId, InstanceSpec, InstanceStatus, Millis, Name};
use freehold_reconcile::Backoff;
use freehold_runtime::{Handle, Launch, RunState};
use freehold_secrets::Delivered;
use jiff::Timestamp;
use run::Current;
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, time::sleep};

/// What the supervisor wants of a worker.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Order {
    /// Watch only: the control plane has not spoken yet.
    Leave,
    /// Keep it running.
    Run(Box<InstanceSpec>),
    /// Stop and remove it. The spec is missing when the instance is unknown to the control plane.
    Stop(Option<Box<InstanceSpec>>),
    /// Stop it because the node stops; it stays assigned.
    Halt,
    /// Stop it for as long as its node does something with its volumes; it is about to run again, so those
    /// who come after it go on.
    Pause,
    /// Leave it running and end.
    Detach,
}

/// How an unknown instance is stopped.
const PATIENCE: Millis = Millis(10_000);

/// When to try a signal or a removal again that did not work.
const AGAIN: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(60));

/// The keeper of one instance.
pub(crate) struct Worker {
    id: InstanceId,
    shared: Arc<Shared>,
    orders: watch::Receiver<Order>,
    said: watch::Sender<Option<InstanceStatus>>,
    order: Order,
    spec: Option<InstanceSpec>,
    memory: Memory,
    /// Its secrets, as the control plane sealed them for this node.
    sealed: Vec<Delivered>,
    journaled: Option<Entry>,
    /// The journal lacks what is so now: the disk is full, say.
    unjournaled: bool,
    run: Current,
    preparing: bool,
    /// For which volume its start waits, and why.
    awaited: Option<String>,
    gone: bool,
    act_at: Option<Timestamp>,
    /// The waits of a signal or a removal that does not work.
    again: Backoff,
    trouble: Option<String>,
    /// So many kills for want of memory in this run are in its log already; `None`: not known.
    noted_kills: Option<u64>,
    image: Option<Digest>,
    tail: Vec<String>,
    neighbours: watch::Receiver<u64>,
    lacks: Vec<Name>,
    /// Who has its room still.
    room_of: Vec<InstanceId>,
}

impl Worker {
    /// A worker for what the journal and the runtime know of an instance, if they do.
    pub(crate) fn new(
        id: InstanceId,
        shared: Arc<Shared>,
        orders: watch::Receiver<Order>,
        said: watch::Sender<Option<InstanceStatus>>,
        known: Option<Entry>,
        adopted: Option<(Launch, Arc<dyn Handle>)>,
    ) -> Worker {
        let neighbours = shared.residents.changed();
        let mut worker = Worker {
            id,
            shared,
            orders,
            said,
            order: Order::Leave,
            spec: known.as_ref().map(|entry| entry.spec.clone()),
            memory: known.as_ref().map(|entry| entry.memory.clone()).unwrap_or_default(),
            sealed: known.as_ref().map(|entry| entry.sealed.clone()).unwrap_or_default(),
            journaled: known,
            unjournaled: false,
            run: Current::Absent,
            preparing: false,
            awaited: None,
            gone: false,
            act_at: None,
            again: AGAIN,
            trouble: None,
            noted_kills: None,
            image: None,
            tail: vec![],
            neighbours,
            lacks: vec![],
            room_of: vec![],
        };
        if let Some((launch, handle)) = adopted {
            worker.follow(&launch, handle);
        }
        worker
    }

    /// Works until there is nothing left to do, or until it is told to leave things as they are.
    pub(crate) async fn work(mut self) {
        loop {
            self.see();
            if self.order == Order::Detach {
                return;
            }
            let observed = self.observed();
            let action = decide(self.goal(), &observed, self.now());
            self.save();
            match action {
                Action::Start => self.start().await,
                Action::Signal => self.signal().await,
                Action::Kill => self.kill().await,
                Action::Remove => self.remove().await,
                Action::Forget => return self.forget(),
                Action::Wait(until) => {
                    self.say();
                    self.wait(until, observed.held).await;
                }
            }
        }
    }

    /// Takes in the order, how far the run is, and what its checks say.
    fn see(&mut self) {
        // Without a supervisor there is nobody to obey: leave things as they are.
        let abandoned = self.orders.has_changed().is_err();
        self.order = if abandoned { Order::Detach } else { self.orders.borrow_and_update().clone() };
        if let Order::Run(spec) | Order::Stop(Some(spec)) = &self.order {
            self.spec = Some((**spec).clone());
        }
        match self.run.look() {
            Some(RunState::Running { since, .. }) => self.check(since),
            Some(RunState::Exited(exit)) => self.ended(exit),
            Some(RunState::StartFailed { message }) => self.start_failed(message),
            Some(RunState::Starting) | None => {}
        }
        self.neighbours.mark_unchanged();
        let wanted = matches!(self.order, Order::Run(_) | Order::Pause);
        let live = matches!(self.run, Current::Live(_));
        self.shared.residents.observed(self.id, wanted, live, self.run.health().healthy);
        let waits = wanted && !live && self.order != Order::Pause;
        self.lacks = if waits { self.shared.residents.lacks(self.id) } else { vec![] };
        self.room_of = if waits { self.shared.residents.room_of(self.id) } else { vec![] };
    }

    /// Whether others must start, or stop, first.
    fn is_held(&self) -> bool {
        let halt = self.order == Order::Halt;
        match self.goal() {
            Goal::Run => !self.lacks.is_empty() || !self.room_of.is_empty(),
            Goal::Stop if self.order == Order::Pause => false,
            Goal::Stop => self.shared.residents.is_needed(self.id, halt),
            Goal::Leave => false,
        }
    }

    fn goal(&self) -> Goal {
        match self.order {
            Order::Leave | Order::Detach => Goal::Leave,
            Order::Run(_) => Goal::Run,
            Order::Stop(_) | Order::Halt | Order::Pause => Goal::Stop,
        }
    }

    fn observed(&self) -> Observed {
        let held = self.is_held();
        let patience = self.spec.as_ref().map_or(PATIENCE, |spec| spec.template.stop_timeout);
        Observed {
            run: self.run.observed(),
            start_at: self.memory.start_at,
            act_at: self.act_at,
            patience: patience.duration(),
            held,
            excess: self.run.usage().excess().is_some() || self.run.usage().lost.is_some(),
            restart_at: self.restart_at().map(|(at, _)| at),
        }
    }

    /// When a run that fails its check is stopped to be started again, and after how long.
    fn restart_at(&self) -> Option<(Timestamp, Millis)> {
        let check = self.spec.as_ref()?.template.check.as_ref()?;
        self.memory.restart_at(check.restart_after)
    }

    /// Reports how things are, if they are not as they were.
    fn say(&self) {
        if self.spec.is_none() && !self.gone || self.run.is_unseen(&self.memory) {
            return;
        }
        let health = self.run.health();
        let facts = Facts {
            stage: self.stage(),
            memory: &self.memory,
            health,
            trouble: self.trouble.as_deref(),
            usage: self.run.usage(),
            excess: if let Current::Live(live) = &self.run { live.excess } else { None },
            overdue: if let Current::Live(live) = &self.run { live.overdue } else { None },
            answers: self.run.answers(),
            awaited: self.awaited.as_deref(),
            lost: if let Current::Live(live) = &self.run { live.lost } else { None },
            lacks: &self.lacks,
            room_of: &self.room_of,
            image: self.image.as_ref(),
            tail: &self.tail,
        };
        let new = status(&facts);
        self.said.send_if_modified(|old| {
            // Every check has another answer: what it says alone is no news.
            let same = old
                .as_ref()
                .is_some_and(|old| *old == InstanceStatus { answers: old.answers.clone(), ..new.clone() });
            if !same {
                *old = Some(new);
            }
            !same
        });
    }

    fn stage(&self) -> Stage {
        match (&self.run, self.preparing) {
            _ if self.gone && matches!(self.order, Order::Halt | Order::Pause) => Stage::Halted,
            _ if self.gone => Stage::Gone,
            (Current::Live(live), _) => match (live.asked, live.since) {
                (Some(_), _) => Stage::Stopping,
                (None, Some(since)) => Stage::Running(since),
                (None, None) => Stage::Preparing,
            },
            (_, true) => Stage::Preparing,
            (..) => Stage::Waiting,
        }
    }

    fn save(&mut self) {
        let Some(spec) = &self.spec else { return };
        let same =
            |known: &Entry| known.spec == *spec && known.memory == self.memory && known.sealed == self.sealed;
        if self.journaled.as_ref().is_some_and(same) {
            return;
        }
        let env = self.shared.residents.env(self.id);
        let (memory, sealed) = (self.memory.clone(), self.sealed.clone());
        let entry = Entry { spec: spec.clone(), env, memory, sealed };
        match self.shared.journal.save(self.id, &entry, self.journaled.as_ref()) {
            Ok(()) => {
                self.journaled = Some(entry);
                self.unjournaled = false;
            }
            // With the next thing that happens it is tried again.
            Err(error) => {
                if !std::mem::replace(&mut self.unjournaled, true) {
                    tracing::warn!(instance = %self.id, %error, "its journal cannot be written");
                }
            }
        }
    }

    async fn wait(&mut self, until: Option<Timestamp>, held: bool) {
        let now = self.now();
        let nap = async {
            match until {
                Some(time) => sleep(Duration::try_from(time.duration_since(now)).unwrap_or_default()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // An error means that the supervisor is gone, which `see` finds.
            _ = self.orders.changed() => {}
            () = self.run.changed() => {}
            _ = self.neighbours.changed(), if held => {}
            () = nap => {}
        }
    }

    fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }
}

impl Current {
    /// What the checks of the run say; unhealthy when nothing runs.
    fn health(&self) -> Health {
        let checks = if let Current::Live(live) = self { live.prober.as_ref() } else { None };
        checks.map(|prober| prober.health.borrow().clone()).unwrap_or_default()
    }

    /// What the checks of the run said last.
    fn answers(&self) -> Vec<CheckAnswer> {
        let checks = if let Current::Live(live) = self { live.prober.as_ref() } else { None };
        checks.map(Prober::answers).unwrap_or_default()
    }
}
