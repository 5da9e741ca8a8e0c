//! The edge's loop: reads the store, makes the ports so, writes what became of it.
//!
//! Level-based: every round starts from one view and from what is stored, so a lost signal, a restart
//! or a refused write costs another round and nothing else.

use crate::{
    ports::Ports,
    proxy::{self, Connections},
    routing::Routing,
    status,
};
use freehold_model::{
    Actor, CommitError, EndpointSpec, InstanceSpec, Kind, Rollout, RolloutId, RolloutSpec, Seq, Txn,
};
use freehold_reconcile::{Store, StoreError, View, ViewExt};
use rustix::process::{Resource, getrlimit};
use std::{net::IpAddr, sync::Arc, time::Duration};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Connections that end together are reported together.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// How soon to try again after the store failed.
const RETRY: Duration = Duration::from_secs(1);
/// A round now and then, in case a signal was lost.
const RESYNC: Duration = Duration::from_secs(30);
/// More events than this since the last round, and the round is made without looking at them.
const EVENTS: usize = 1000;

/// The running proxy.
pub struct Edge {
    control: JoinHandle<()>,
    connections: TaskTracker,
}

impl Edge {
    /// Starts to carry connections for every endpoint in `store`, on each of `listen_on` (on all
    /// addresses, IPv6 and IPv4, if it is empty), until `shutdown`: then it accepts no more at once.
    pub fn start(store: Arc<dyn Store>, listen_on: Vec<IpAddr>, shutdown: CancellationToken) -> Edge {
        let files = getrlimit(Resource::Nofile).current;
        let (connections, drained) = (Connections::new(proxy::most(files)), Arc::new(Notify::new()));
        let ports = Ports::new(listen_on, connections.clone(), Arc::clone(&drained));
        let control = Control { store, ports, drained, seen: None };
        Edge { control: tokio::spawn(control.run(shutdown)), connections: connections.tasks }
    }

    /// Waits, after `shutdown`, until the open connections have ended, at most `patience`.
    pub async fn stopped(self, patience: Duration) {
        let _ = self.control.await;
        self.connections.close();
        if timeout(patience, self.connections.wait()).await.is_err() {
            tracing::info!(open = self.connections.len(), "connections were cut at shutdown");
        }
    }
}

struct Control {
    store: Arc<dyn Store>,
    ports: Ports,
    drained: Arc<Notify>,
    /// The version of the view of the last round.
    seen: Option<Seq>,
}

impl Control {
    async fn run(mut self, shutdown: CancellationToken) {
        let mut head = self.store.head();
        let mut resync = Instant::now() + RESYNC;
        loop {
            head.borrow_and_update();
            if let Err(error) = self.round().await {
                tracing::warn!(%error, "the edge cannot follow the store");
                self.seen = None;
                resync = Instant::now() + RETRY;
            }
            let next = self.ports.next_try().map_or(resync, |again| again.min(resync));
            tokio::select! {
                () = shutdown.cancelled() => break,
                changed = head.changed() => if changed.is_err() { break },
                () = self.drained.notified() => {
                    sleep(DEBOUNCE).await;
                    self.seen = None;
                }
                () = sleep_until(next) => {
                    self.seen = None;
                    resync = Instant::now() + RESYNC;
                }
            }
        }
        self.ports.close().await;
    }

    async fn round(&mut self) -> Result<(), RoundError> {
        let view = self.store.view().await?;
        let routing = if self.is_concerned(&*view)? { Some(routing(&*view)?) } else { None };
        drop(view);
        let Some(routing) = routing else { return Ok(()) };
        self.ports.apply(&routing).await;
        self.write(&routing).await
    }

    /// Whether anything happened since the last round that the routing depends on.
    fn is_concerned(&mut self, view: &dyn View) -> Result<bool, StoreError> {
        let version = view.version()?;
        let Some(seen) = self.seen.replace(version) else { return Ok(true) };
        let events = view.events(seen, EVENTS, None)?;
        let ours = |kind| matches!(kind, Kind::Endpoint | Kind::Instance | Kind::Rollout);
        Ok(events.len() == EVENTS || events.iter().any(|event| ours(event.subject.kind)))
    }

    async fn write(&self, routing: &Routing) -> Result<(), RoundError> {
        let mut txn = Txn::new(Actor::Controller("edge".into()), "routing was applied", "edge");
        for (id, route) in &routing.routes {
            let outcome = self.ports.outcome(*id);
            if let Some(status) = outcome.and_then(|outcome| status::to_write(routing, route, outcome)) {
                txn.observe::<EndpointSpec>(*id, &status);
            }
        }
        if txn.is_empty() {
            return Ok(());
        }
        match self.store.commit(txn).await {
            // An endpoint went meanwhile: that is an event, and the next round leaves it out.
            Err(error) if error.is_conflict() => Ok(()),
            done => Ok(done.map(drop)?),
        }
    }
}

fn routing(view: &dyn View) -> Result<Routing, StoreError> {
    let (endpoints, instances) = (view.all::<EndpointSpec>(None)?, view.all::<InstanceSpec>(None)?);
    Ok(Routing::new(endpoints, &instances, &active(view)?, view.version()?))
}

/// The rollouts under way: each holds the claim of its env.
fn active(view: &dyn View) -> Result<Vec<Rollout>, StoreError> {
    let owners =
        view.claims("rollout")?.into_iter().filter_map(|claim| RolloutId::try_from(claim.owner).ok());
    let rollouts = owners.map(|id| view.find::<RolloutSpec>(id)).collect::<Result<Vec<_>, _>>()?;
    Ok(rollouts.into_iter().flatten().collect())
}

/// A round that could not be finished.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error("reading endpoints and instances: {0}")]
    Read(#[from] StoreError),
    #[error("writing the status of endpoints: {0}")]
    Write(#[from] CommitError),
}
