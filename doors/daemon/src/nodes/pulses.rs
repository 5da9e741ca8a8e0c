//! The pulses of far nodes: heartbeats are memory, and only what changes is committed.
//!
//! A node that was not heard for [`LEASE`] is written down as not ready, once; when it is heard again, as
//! ready, once. Invariant: nothing is committed while nothing changes, however many nodes there are; and a
//! control plane that has just started, or was paused, gives every node a whole lease before it judges.

use freehold_agent::remote::protocol::{Heard, Heartbeat, Registration};
use freehold_model::{
    Actor, Bytes, Code, CommitError, Condition, Node, NodeId, NodeSpec, NodeStatus, Problem, Txn,
};
use freehold_reconcile::{Clock, Store, ViewExt as _};
use jiff::Timestamp;
use serde_json::json;
use std::{
    collections::BTreeMap,
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
const STOPPED: &str = "HeartbeatsStopped";

/// Every far node's.
pub(super) struct Pulses {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    known: Mutex<BTreeMap<NodeId, Pulse>>,
}

#[derive(Clone)]
struct Pulse {
    /// When it was heard last.
    heard: Instant,
    heard_at: Timestamp,
    /// The start of the agent that has registered.
    registered: Option<Timestamp>,
    low_disk: Option<Bytes>,
    /// What is written down: whether it is lost, whether its disk is low.
    lost: bool,
    low: bool,
}

impl Pulses {
    pub(super) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Pulses {
        Pulses { store, clock, known: Mutex::default() }
    }

    /// A heartbeat came.
    pub(super) fn heard(&self, node: NodeId, beat: &Heartbeat) -> Heard {
        let now = self.clock.now();
        let mut known = self.lock();
        let pulse = known.entry(node).or_insert_with(|| Pulse::new(now));
        (pulse.heard, pulse.heard_at, pulse.low_disk) = (Instant::now(), now, beat.low_disk);
        Heard { register: pulse.registered != Some(beat.started) }
    }

    /// Writes down what a node has to give. Written again, it changes nothing.
    pub(super) async fn register(&self, node: NodeId, said: Registration) -> Result<(), Problem> {
        let started = said.started;
        self.write(node, "start", |old, now| {
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
            status.conditions = std::iter::once(ready).chain(egress).chain(keep(NodeStatus::DISK)).collect();
            for condition in &mut status.conditions {
                let before = keep(&condition.kind).filter(|it| it.state == condition.state);
                condition.since = before.map_or(now, |it| it.since);
            }
            status
        })
        .await?;
        let mut known = self.lock();
        let now = self.clock.now();
        let pulse = known.entry(node).or_insert_with(|| Pulse::new(now));
        (pulse.registered, pulse.lost) = (Some(started), false);
        Ok(())
    }

    /// Looks at all of them until `shutdown`.
    pub(super) async fn watch(&self, shutdown: CancellationToken) {
        while let Err(error) = self.remember().await {
            tracing::warn!(%error, "the nodes are not known yet");
            if shutdown.run_until_cancelled(sleep(EVERY)).await.is_none() {
                return;
            }
        }
        let mut looked = Instant::now();
        while shutdown.run_until_cancelled(sleep(EVERY)).await.is_some() {
            if looked.elapsed() > PAUSED {
                tracing::warn!(paused = ?looked.elapsed(), "this process stood still: every node has a new lease");
                let mut known = self.lock();
                known.values_mut().for_each(|pulse| pulse.heard = Instant::now());
            }
            looked = Instant::now();
            self.look().await;
        }
    }

    /// Nodes that were known before this process have a lease from now on.
    async fn remember(&self) -> Result<(), freehold_reconcile::StoreError> {
        let view = self.store.view().await?;
        let now = self.clock.now();
        for node in view.all::<NodeSpec>(None)?.into_iter().filter(|node| node.status.remote) {
            let of = |kind: &str| node.status.conditions.iter().find(|it| it.kind == kind);
            let mut known = self.lock();
            let pulse = known.entry(node.id).or_insert_with(|| Pulse::new(now));
            pulse.registered = pulse.registered.or(node.status.started);
            pulse.lost = of("Ready").is_some_and(|it| !it.state && it.reason == STOPPED);
            pulse.low = of(NodeStatus::DISK).is_some_and(|it| !it.state);
        }
        Ok(())
    }

    async fn look(&self) {
        let changed: Vec<(NodeId, Pulse)> = {
            let known = self.lock();
            let differs = |(_, pulse): &(&NodeId, &Pulse)| {
                pulse.registered.is_some()
                    && (pulse.is_silent() != pulse.lost || pulse.low_disk.is_some() != pulse.low)
            };
            known.iter().filter(differs).map(|(node, pulse)| (*node, pulse.clone())).collect()
        };
        for (node, pulse) in changed {
            let (lost, low) = (pulse.is_silent(), pulse.low_disk.is_some());
            let written = self.write(node, "heartbeats", |old, now| told(old, &pulse, now)).await;
            let mut known = self.lock();
            match written {
                Ok(()) => {
                    tracing::info!(%node, lost, low_disk = low, "the node's state was written down");
                    if let Some(pulse) = known.get_mut(&node) {
                        (pulse.lost, pulse.low) = (lost, low);
                    }
                }
                // Removed: nobody needs to know any more.
                Err(problem) if problem.code == Code::NotFound => drop(known.remove(&node)),
                Err(problem) => tracing::warn!(%node, %problem, "the node's state cannot be written down"),
            }
        }
    }

    /// Replaces a node's status by what `change` makes of it.
    async fn write(
        &self,
        id: NodeId,
        why: &str,
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
            match self.store.commit(txn(&old, status, why)).await {
                Ok(_) => return Ok(()),
                Err(CommitError::Missing { .. }) => {}
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(Problem::new(Code::Unavailable, "Others keep writing to the same node."))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Pulse>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pulse {
    fn new(now: Timestamp) -> Pulse {
        let (registered, low_disk) = (None, None);
        Pulse { heard: Instant::now(), heard_at: now, registered, low_disk, lost: false, low: false }
    }

    fn is_silent(&self) -> bool {
        self.heard.elapsed() > LEASE
    }
}

/// The status that a pulse asks for.
fn told(old: &NodeStatus, pulse: &Pulse, now: Timestamp) -> NodeStatus {
    let mut status = old.clone();
    let was_lost = old.conditions.iter().any(|it| it.kind == "Ready" && it.reason == STOPPED);
    if pulse.is_silent() != was_lost {
        let condition = if pulse.is_silent() {
            Condition {
                kind: "Ready".into(),
                state: false,
                reason: STOPPED.into(),
                message: format!(
                    "nothing was heard from it since {:.0}; what runs there goes on",
                    pulse.heard_at
                ),
                since: now,
            }
        } else {
            ready(&None, old.drivers.is_empty(), now)
        };
        put(&mut status, condition);
    }
    if pulse.low_disk.is_some() != pulse.low {
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
