//! The pulses of far nodes: heartbeats are memory, and only what changes is committed.
//!
//! Several control planes hear nodes at once. Each writes down that it hears a node when it first does, and
//! takes that back when it heard nothing for [`LEASE`]; [`judge`](super::judge) says when a node is lost.
//! Invariants: nothing is committed while nothing changes, however many nodes there are; a control plane that
//! has just started, or was paused, gives every node a whole lease before it says that it does not hear it; it
//! judges only while it holds its own lease, and its commits name it.

use super::{
    hearing::{Dead, Hearing},
    judge::{Heard as Hears, judge},
    written::{Book, Known, written},
};
use freehold_agent::remote::protocol::{Heard, Heartbeat, Registration};
use freehold_deploy::address::Range;
use freehold_model::{
    Actor, Bytes, Code, CommitError, Condition, Fence, Node, NodeId, NodeSpec, NodeStatus, Problem, Seq, Txn,
};
use freehold_reconcile::{Clock, Store, StoreError, TaskHandle, ViewExt as _};
use jiff::Timestamp;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Three heartbeats that did not come.
pub(super) const LEASE: Duration = Duration::from_secs(15);
/// Looked at so often.
const EVERY: Duration = Duration::from_secs(1);
/// Whoever looks so late was paused, and knows nothing of that time.
const PAUSED: Duration = Duration::from_secs(5);
/// A commit that others came before is tried so often.
const ATTEMPTS: usize = 8;
/// The reason of a node that was not heard.
pub(super) const STOPPED: &str = "HeartbeatsStopped";

/// Every far node's.
pub(super) struct Pulses {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    hearing: Hearing,
    dead: Dead,
    pulses: Mutex<BTreeMap<NodeId, Pulse>>,
    /// The range of instances' addresses, and as of when.
    range: Mutex<(Seq, Option<String>)>,
}

#[derive(Debug, Clone)]
struct Pulse {
    /// When it was heard last, or since when it is waited for.
    heard: Instant,
    heard_at: Timestamp,
    /// A heartbeat came since this process began or woke up.
    beats: bool,
    /// The start of the agent that has registered.
    registered: Option<Timestamp>,
    low_disk: Option<Bytes>,
}

impl Pulses {
    pub(super) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, hearing: Hearing) -> Pulses {
        Pulses {
            store,
            clock,
            hearing,
            dead: Dead::default(),
            pulses: Mutex::default(),
            range: Mutex::default(),
        }
    }

    /// A heartbeat came.
    pub(super) fn heard(&self, node: NodeId, beat: &Heartbeat) -> Heard {
        let now = self.clock.now();
        let mut pulses = self.lock();
        let pulse = pulses.entry(node).or_insert_with(|| Pulse::new(now));
        (pulse.heard, pulse.heard_at, pulse.beats, pulse.low_disk) =
            (Instant::now(), now, true, beat.low_disk);
        let register = pulse.registered != Some(beat.started);
        let range = self.range.lock().unwrap_or_else(PoisonError::into_inner).1.clone();
        Heard { register, controls: self.hearing.doors(), range }
    }

    /// Writes down what a node has to give. Written again, it changes nothing.
    pub(super) async fn register(&self, node: NodeId, said: Registration) -> Result<(), Problem> {
        let started = said.started;
        self.write(node, "start", None, |old, now| {
            let keep = |kind: &str| old.conditions.iter().find(|it| it.kind == kind).cloned();
            let ready = ready(&said.trouble, said.drivers.is_empty(), now);
            let egress = said.no_egress.as_ref().map(|why| Condition {
                kind: NodeStatus::EGRESS.into(),
                state: false,
                reason: "Rootless".into(),
                message: why.clone(),
                since: now,
            });
            let mut status = old.clone();
            (status.capacity, status.drivers) = (said.capacity, said.drivers.clone());
            (status.version, status.started) = (said.version.clone(), Some(said.started));
            (status.lowest_port, status.remote) = (said.lowest_port, true);
            status.heard_by.insert(self.hearing.own.clone());
            let kept = [NodeStatus::DISK, NodeStatus::ISOLATION, NodeStatus::RANGE, NodeStatus::NETWORK]
                .into_iter()
                .filter_map(keep);
            status.conditions = std::iter::once(ready).chain(egress).chain(kept).collect();
            for condition in &mut status.conditions {
                let before = keep(&condition.kind).filter(|it| it.state == condition.state);
                condition.since = before.map_or(now, |it| it.since);
            }
            status
        })
        .await?;
        let now = self.clock.now();
        self.lock().entry(node).or_insert_with(|| Pulse::new(now)).registered = Some(started);
        Ok(())
    }

    /// Looks at all of them until `shutdown`.
    pub(super) async fn watch(&self, task: TaskHandle, shutdown: CancellationToken) {
        let (mut looked, mut book) = (Instant::now(), Book::default());
        loop {
            let run = task.begin("timer");
            self.look(&mut book).await;
            let _ = run.end(Ok::<_, Infallible>(()));
            if shutdown.run_until_cancelled(sleep(EVERY)).await.is_none() {
                return;
            }
            if looked.elapsed() > PAUSED {
                tracing::warn!(paused = ?looked.elapsed(), "this process stood still: every node has a new lease");
                self.dead.forget();
                self.lock()
                    .values_mut()
                    .for_each(|pulse| (pulse.heard, pulse.beats) = (Instant::now(), false));
            }
            looked = Instant::now();
        }
    }

    async fn look(&self, book: &mut Book) {
        if let Err(error) = book.refresh(&self.store).await {
            return tracing::warn!(%error, "the nodes are not known");
        }
        if let Err(error) = self.read_range().await {
            tracing::warn!(%error, "the range of instances is not known");
        }
        let Some(fence) = self.hearing.may_judge() else { return };
        let (changed, gone) = self.changed(book);
        for (node, pulse) in changed {
            let told = |old: &NodeStatus, now| told(&self.hearing.own, old, &pulse, &gone, now);
            match self.write(node, "heartbeats", fence.as_ref(), told).await {
                Ok(()) => tracing::info!(%node, heard = ?pulse.hears(), "the node's state was written down"),
                // Removed: nobody needs to know any more.
                Err(problem) if problem.code == Code::NotFound => {
                    let _ = self.lock().remove(&node);
                }
                Err(problem) => tracing::warn!(%node, %problem, "the node's state cannot be written down"),
            }
        }
    }

    /// A start chooses it, with nothing running.
    async fn read_range(&self) -> Result<(), StoreError> {
        let head = *self.store.head().borrow();
        if self.range.lock().unwrap_or_else(PoisonError::into_inner).0 == head {
            return Ok(());
        }
        let range = Range::of(&*self.store.view().await?)?.to_string();
        *self.range.lock().unwrap_or_else(PoisonError::into_inner) = (head, Some(range));
        Ok(())
    }

    /// The nodes of which something else is to be written, and the control planes that are gone.
    fn changed(&self, book: &Book) -> (Vec<(NodeId, Pulse)>, Vec<String>) {
        let now = self.clock.now();
        let mut pulses = self.lock();
        let by: BTreeSet<&String> = book.nodes.values().flat_map(|known| &known.written.by).collect();
        let gone = self.dead.gone(&self.hearing, by.into_iter().cloned());
        let mut changed = vec![];
        for (node, known) in &book.nodes {
            let pulse = pulses.entry(*node).or_insert_with(|| Pulse::new(now));
            pulse.registered = known.started;
            if pulse.differs(&self.hearing.own, known, &gone) {
                changed.push((*node, pulse.clone()));
            }
        }
        (changed, gone)
    }

    /// Replaces a node's status by what `change` makes of it.
    async fn write(
        &self,
        id: NodeId,
        why: &str,
        fence: Option<&Fence>,
        change: impl Fn(&NodeStatus, Timestamp) -> NodeStatus,
    ) -> Result<(), Problem> {
        for _ in 0..ATTEMPTS {
            let view = self.store.view().await.map_err(failed)?;
            let found = view.find::<NodeSpec>(id).map_err(failed)?;
            drop(view);
            let old = found.ok_or_else(|| {
                Problem::new(Code::NotFound, format!("There is no node {id} any more."))
                    .hint("It was removed: `freehold node join` with a new token makes it a node again.")
            })?;
            let status = change(&old.status, self.clock.now());
            if status == old.status {
                return Ok(());
            }
            let txn = Txn { fence: fence.cloned(), ..txn(&old, status, why) };
            match self.store.commit(txn).await {
                Ok(_) => return Ok(()),
                Err(CommitError::Missing { .. }) => {}
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(Problem::new(Code::Unavailable, "Others keep writing to the same node."))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Pulse>> {
        self.pulses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pulse {
    /// One that has a lease from now on.
    fn new(now: Timestamp) -> Pulse {
        let (registered, low_disk) = (None, None);
        Pulse { heard: Instant::now(), heard_at: now, beats: false, registered, low_disk }
    }

    fn hears(&self) -> Hears {
        match (self.heard.elapsed() > LEASE, self.beats) {
            (true, _) => Hears::Silent,
            (false, true) => Hears::Beats,
            (false, false) => Hears::Awaited,
        }
    }

    /// Whether its disk is otherwise than what is written; who does not hear it does not know.
    fn disk_differs(&self, low: bool) -> bool {
        self.hears() == Hears::Beats && self.low_disk.is_some() != low
    }

    fn differs(&self, own: &str, known: &Known, gone: &[String]) -> bool {
        let gone = |name: &str| gone.iter().any(|it| it == name);
        judge(own, self.hears(), gone, &known.written).is_some() || self.disk_differs(known.low)
    }
}

/// The status that a pulse asks for.
fn told(own: &str, old: &NodeStatus, pulse: &Pulse, gone: &[String], now: Timestamp) -> NodeStatus {
    let mut status = old.clone();
    let before = written(old);
    if let Some(judged) = judge(own, pulse.hears(), |name| gone.iter().any(|it| it == name), &before) {
        if judged.lost && !before.lost {
            let since = pulse.heard_at;
            let condition = Condition {
                kind: "Ready".into(),
                state: false,
                reason: STOPPED.into(),
                message: format!("nothing was heard from it since {since:.0}; what runs there goes on"),
                since: now,
            };
            put(&mut status, condition);
        } else if before.lost && !judged.lost {
            put(&mut status, ready(&None, old.drivers.is_empty(), now));
        }
        status.heard_by = judged.by;
    }
    let low = old.conditions.iter().any(|it| it.kind == NodeStatus::DISK && !it.state);
    if pulse.disk_differs(low) {
        let (reason, message) = match pulse.low_disk {
            Some(free) => ("LowDisk", format!("only {} are free", free.rounded())),
            None => ("Room", "enough is free".into()),
        };
        let (kind, state) = (NodeStatus::DISK.into(), pulse.low_disk.is_none());
        put(&mut status, Condition { kind, state, reason: reason.into(), message, since: now });
    }
    status
}

fn put(status: &mut NodeStatus, condition: Condition) {
    status.conditions.retain(|it| it.kind != condition.kind);
    status.conditions.push(condition);
}

fn ready(trouble: &Option<String>, no_driver: bool, now: Timestamp) -> Condition {
    Condition {
        kind: "Ready".into(),
        state: !no_driver,
        reason: if no_driver { "NoDriver" } else { "DriversWork" }.into(),
        message: match (no_driver, trouble) {
            (false, _) => "takes instances".into(),
            (true, Some(trouble)) => trouble.clone(),
            (true, None) => "no driver works there: see `freehold doctor` on it".into(),
        },
        since: now,
    }
}

fn txn(old: &Node, status: NodeStatus, why: &str) -> Txn {
    let state = |status: &NodeStatus| {
        status.conditions.iter().find(|it| it.kind == "Ready").map(|it| (it.state, it.reason.clone()))
    };
    let (before, after) = (state(&old.status), state(&status));
    let mut txn = Txn::new(Actor::Controller("nodes".into()), why, "nodes");
    let lost = |state: &Option<(bool, String)>| state.as_ref().is_some_and(|(_, reason)| reason == STOPPED);
    txn.put_status(&Node { status, ..old.clone() });
    match (lost(&before), lost(&after)) {
        (false, true) => drop(txn.event(old.id, "node.lost", json!({ "lease": LEASE.as_secs() }))),
        (true, false) => drop(txn.event(old.id, "node.back", json!({}))),
        _ => {}
    }
    txn
}

fn failed(error: impl std::fmt::Display) -> Problem {
    tracing::warn!(%error, "a node's state was not written");
    Problem::new(Code::Unavailable, "The store does not answer.")
}
