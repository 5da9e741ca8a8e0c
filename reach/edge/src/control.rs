//! The edge's loop: reads the store, makes the ports so, writes what became of it.
//!
//! Level-based: every round starts from one view and from what is stored, so a lost signal, a restart
//! or a refused write costs another round and nothing else.

use crate::{
    access::{Access, Writing},
    connections::{self, Connections},
    door::{Hall, OwnPorts},
    hop::{HopKey, HopKeys, Hops},
    observer::Observer,
    own::{self, Network, Prefix},
    ports::Ports,
    reach::Reach,
    relay::Pipes,
    routing::{Route, Routing},
    scenery::{Scene, Scenery},
    status,
    workers::Workers,
};
use freehold_model::{
    Actor, AnyId, CommitError, EndpointId, EndpointSpec, EndpointStatus, InstanceSpec, Kind, Node, NodeId,
    NodeSpec, Seq, Txn,
};
use freehold_reconcile::{Store, StoreError, View, ViewExt};
use rustix::process::{Resource, getrlimit};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
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

/// How to run.
#[derive(Debug, Clone, Default)]
pub struct EdgeConfig {
    /// The addresses on which endpoints listen; all of the machine's, IPv6 and IPv4, if empty.
    pub listen_on: Vec<IpAddr>,
    /// Where access logs are kept; nowhere if not given.
    pub access_log: Option<PathBuf>,
    /// Whether each endpoint has an IPv6 address of its own, if the machine allows it.
    pub own_addresses: bool,
    /// How instances are reached.
    pub reach: Reach,
    /// The node of this edge; none where every instance is here.
    pub node: Option<NodeId>,
    /// The keys of all nodes, to hand connections over to their edges; far from the store an edge is told its own.
    pub hop_keys: HopKeys,
}

/// The running proxy.
pub struct Edge {
    control: JoinHandle<()>,
    connections: TaskTracker,
    observer: Observer,
    workers: Workers,
    writing: Writing,
}

impl Edge {
    /// Starts to carry traffic for every endpoint in `store` until `shutdown`: then it accepts no more
    /// at once.
    pub fn start(store: Arc<dyn Store>, config: EdgeConfig, shutdown: CancellationToken) -> Edge {
        Edge::begin(Plane::Near(store), config, shutdown)
    }

    /// The same far from the store. Endpoints have no addresses of their own there.
    pub fn start_far(scenery: Arc<dyn Scenery>, config: EdgeConfig, shutdown: CancellationToken) -> Edge {
        Edge::begin(Plane::Far(scenery), EdgeConfig { own_addresses: false, ..config }, shutdown)
    }

    fn begin(plane: Plane, config: EdgeConfig, shutdown: CancellationToken) -> Edge {
        let (most, pipes) = connections::shares(getrlimit(Resource::Nofile).current);
        let (connections, drained) = (Connections::new(most), Arc::new(Notify::new()));
        let (access, writing) = Access::start(config.access_log.clone());
        let hall = Hall {
            connections: connections.clone(),
            pipes: Pipes::new(pipes),
            access,
            own_ports: OwnPorts::default(),
            drained: Arc::clone(&drained),
            reach: config.reach,
            hops: Hops::default(),
        };
        let workers = Workers::start();
        let ports = Ports::new(config.listen_on, workers.handles().to_vec(), hall);
        let listen_on = ports.listen_on().to_vec();
        let observer = Observer { doors: ports.doors(), folder: config.access_log, listen_on };
        let network = if config.own_addresses { Own::Unknown } else { Own::None };
        let (node, hop_keys) = (config.node, config.hop_keys);
        let control = Control { plane, node, hop_keys, ports, drained, network, seen: None };
        let control = tokio::spawn(control.run(shutdown));
        Edge { control, connections: connections.tasks, observer, workers, writing }
    }

    /// Through which others see what it carries.
    pub fn observer(&self) -> Observer {
        self.observer.clone()
    }

    /// Waits, after `shutdown`, until the open connections have ended, at most `patience`.
    pub async fn stopped(self, patience: Duration) {
        let _ = self.control.await;
        self.connections.close();
        if timeout(patience, self.connections.wait()).await.is_err() {
            tracing::info!(open = self.connections.len(), "connections were cut at shutdown");
        }
        let (workers, writing) = (self.workers, self.writing);
        // What is cut leaves its last lines in the log, which is written after that.
        let ended = tokio::task::spawn_blocking(move || {
            workers.stop();
            drop(writing);
        });
        let _ = ended.await;
    }
}

/// Where it is said what to route.
enum Plane {
    Near(Arc<dyn Store>),
    Far(Arc<dyn Scenery>),
}

struct Control {
    plane: Plane,
    node: Option<NodeId>,
    hop_keys: HopKeys,
    ports: Ports,
    drained: Arc<Notify>,
    network: Own,
    /// The version of the view of the last round.
    seen: Option<Seq>,
}

/// Whether endpoints have addresses of their own.
enum Own {
    /// It was not tried yet.
    Unknown,
    /// They do not: not wanted, or not allowed.
    None,
    Network(Prefix, #[expect(dead_code, reason = "takes the route away when dropped")] Network),
}

impl Control {
    async fn run(mut self, shutdown: CancellationToken) {
        let mut head = match &self.plane {
            Plane::Near(store) => store.head(),
            Plane::Far(scenery) => scenery.changed(),
        };
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
        match &self.plane {
            Plane::Near(store) => {
                let store = store.clone();
                self.near_round(&*store).await
            }
            Plane::Far(scenery) => {
                let scenery = scenery.clone();
                self.far_round(&*scenery).await
            }
        }
    }

    async fn far_round(&mut self, scenery: &dyn Scenery) -> Result<(), RoundError> {
        let Scene { version, endpoints, instances, rollouts, hop_key } =
            scenery.scene().await.map_err(RoundError::Far)?;
        if let Some(key) = &hop_key {
            self.ports.hops().accept_under(key.expose());
        }
        self.ports.take_hops(hop_key.is_some()).await;
        let routing = Routing::of(Some(scenery.node()), endpoints, &instances, &rollouts, version);
        self.ports.apply(&routing).await;
        let statuses = self.statuses(&routing, &|address| scenery.reached_at(address));
        match statuses.is_empty() {
            true => Ok(()),
            false => scenery.tell(statuses).await.map_err(RoundError::Far),
        }
    }

    async fn near_round(&mut self, store: &dyn Store) -> Result<(), RoundError> {
        let view = store.view().await?;
        let planned = match self.is_concerned(&*view)? {
            true => {
                let mut routing = routing(self.node, &*view)?;
                let claims = self.give_addresses(&*view, &mut routing)?;
                Some((routing, claims, self.know_hops(&*view)?))
            }
            false => None,
        };
        drop(view);
        let Some((routing, claims, takes_hops)) = planned else { return Ok(()) };
        self.ports.take_hops(takes_hops).await;
        if !claims.is_empty() {
            match store.commit(claims).await {
                // An endpoint went meanwhile, which is an event: the next round thinks again.
                Err(error) if error.is_conflict() => return Ok(()),
                done => drop(done?),
            }
        }
        self.ports.apply(&routing).await;
        self.write(store, &routing).await
    }

    /// Learns the keys of all nodes; answers whether others hand connections over to this one, as other control
    /// planes' edges do.
    fn know_hops(&self, view: &dyn View) -> Result<bool, StoreError> {
        let Some((own, secret)) = self.node.and_then(|node| Some((node, self.hop_keys.secret(node)?))) else {
            return Ok(false);
        };
        let mut others = view.all::<NodeSpec>(None)?;
        others.retain(|node| node.id != own);
        let key = |node: &Node| Some((node.id, HopKey::of(&self.hop_keys.secret(node.id)?)));
        self.ports.hops().know(others.iter().filter_map(key).collect());
        self.ports.hops().accept_under(&secret);
        Ok(others.iter().any(|node| !node.status.remote && node.status.away().is_none()))
    }

    /// Whether anything happened since the last round that the routing depends on.
    fn is_concerned(&mut self, view: &dyn View) -> Result<bool, StoreError> {
        let version = view.version()?;
        let Some(seen) = self.seen.replace(version) else { return Ok(true) };
        let events = match view.events(seen, EVENTS, None) {
            Err(StoreError::Pruned { .. }) => return Ok(true),
            read => read?,
        };
        let ours = |kind| matches!(kind, Kind::Endpoint | Kind::Instance | Kind::Rollout);
        Ok(events.len() == EVENTS || events.iter().any(|event| ours(event.subject.kind)))
    }

    /// Gives each endpoint the address that is its own; answers with the claims that are new.
    fn give_addresses(&mut self, view: &dyn View, routing: &mut Routing) -> Result<Txn, StoreError> {
        let mut txn = Txn::new(Actor::Controller("edge".into()), "endpoints have addresses", "edge");
        if matches!(self.network, Own::Unknown) {
            self.network = match Prefix::claimed(&view.claims(own::PREFIX)?) {
                Some(prefix) => own_network(prefix),
                None => return Ok(txn),
            };
        }
        let Own::Network(prefix, _) = &self.network else { return Ok(txn) };
        let claims = view.claims(own::ADDRESS)?;
        let addresses = own::addresses(*prefix, routing.routes.keys().copied(), &claims);
        for (id, address) in addresses {
            if !claims.iter().any(|claim| claim.owner == id.into()) {
                txn.claim(own::ADDRESS, address, id);
            }
            if let Some(route) = routing.routes.get_mut(&id) {
                route.own = Some(address);
            }
        }
        Ok(txn)
    }

    /// What is worth telling of each endpoint, which is `reached_at` these addresses by others.
    fn statuses(
        &self,
        routing: &Routing,
        reached_at: &dyn Fn(SocketAddr) -> SocketAddr,
    ) -> BTreeMap<EndpointId, EndpointStatus> {
        let status = |(id, route): (&EndpointId, &Route)| {
            Some((*id, status::to_write(routing, route, self.ports.outcome(*id)?, reached_at)?))
        };
        routing.routes.iter().filter_map(status).collect()
    }

    async fn write(&self, store: &dyn Store, routing: &Routing) -> Result<(), RoundError> {
        let statuses = self.statuses(routing, &|address| address);
        if statuses.is_empty() {
            return Ok(());
        }
        let txn = match self.node {
            Some(node) => {
                let actor = Actor::Controller("edge".into());
                status::of_node(&*store.view().await?, node, statuses, actor)?
            }
            None => {
                let mut txn = Txn::new(Actor::Controller("edge".into()), "routing was applied", "edge");
                for (id, status) in &statuses {
                    txn.observe::<EndpointSpec>(*id, status);
                }
                txn
            }
        };
        match store.commit(txn).await {
            // An endpoint went meanwhile, or another edge wrote: that is an event, and the next round
            // begins with it.
            Err(error) if error.is_conflict() => Ok(()),
            done => Ok(done.map(drop)?),
        }
    }
}

fn own_network(prefix: Prefix) -> Own {
    match Network::open(prefix.endpoints()) {
        Ok(network) => Own::Network(prefix, network),
        Err(error) => {
            tracing::info!(%error, "endpoints have no addresses of their own: that needs IPv6 and CAP_NET_ADMIN");
            Own::None
        }
    }
}

fn routing(node: Option<NodeId>, view: &dyn View) -> Result<Routing, StoreError> {
    let (endpoints, instances) = (view.all::<EndpointSpec>(None)?, view.all::<InstanceSpec>(None)?);
    let mut routing = Routing::of(node, endpoints, &instances, &status::active(view)?, view.version()?);
    let mut orgs = BTreeMap::new();
    for route in routing.routes.values_mut() {
        let Some(env) = route.owner else { continue };
        let org = match orgs.get(&env) {
            Some(org) => *org,
            None => *orgs.entry(env).or_insert(org(view, env)?),
        };
        route.owner = Some(org);
    }
    Ok(routing)
}

/// The topmost of what stands above `id`.
fn org(view: &dyn View, id: AnyId) -> Result<AnyId, StoreError> {
    let mut top = id;
    while let Some(parent) = view.get(top)?.and_then(|found| found.parent) {
        top = parent;
    }
    Ok(top)
}

/// A round that could not be finished.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error("reading endpoints and instances: {0}")]
    Read(#[from] StoreError),
    #[error("writing the status of endpoints: {0}")]
    Write(#[from] CommitError),
    #[error("asking the control plane: {0}")]
    Far(String),
}
