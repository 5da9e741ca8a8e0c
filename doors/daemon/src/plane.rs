//! The control plane's part of a process: API, registry, reconcilers under leases, collection of images.
//!
//! Started by [`crate::up`], beside a node (`freehold up`) or alone (`freehold control`). Invariant: several
//! of these work on one store; whatever only one may do at a time is a reconciler under a lease. What works on
//! this machine's own files (the collection of images) runs in each.

use crate::{
    absent::Absent,
    collect, forget,
    house_images::HouseImages,
    machines, name,
    node::Door,
    nodes::{Dispatch, Hearing, Nodes},
    peers::Peers,
    serve,
    tasks::Tasks,
    up::reachable,
};
use anyhow::{Context, Result, bail};
use freehold_agent::remote::Answerer;
use freehold_api::{ApiState, CallDesk, Controls, EdgePort, NodeDoor, Tail, agent_router};
use freehold_deploy::{DrainReconciler, RolloutReconciler, TeardownReconciler};
use freehold_identity::{
    Authority, RetentionReconciler, Tokens,
    oidc::Signer,
    sso::{Relying, Web},
};
use freehold_image::ImageStore;
use freehold_model::{Network, NodeId, PublicUrl, controls::Presence};
use freehold_reconcile::{Clock, Keeper, Reconciler, Store, TaskSpec};
use freehold_runtime::doctor;
use freehold_secrets::Vault;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::{Mutex, watch},
};

/// How often nodes are judged.
const NODES: Duration = Duration::from_secs(1);

/// What a control plane works with.
pub(crate) struct Parts {
    pub data: PathBuf,
    /// For the API, and for machines that joined.
    pub listeners: (TcpListener, Option<TcpListener>),
    pub address: SocketAddr,
    /// Where machines that joined reach the door for them.
    pub node_url: Option<String>,
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub images: ImageStore,
    pub vault: Arc<Vault>,
    pub tokens: Tokens,
    /// The node that runs in the same process.
    pub near: Option<(NodeId, Door)>,
    /// Who answers for that node what other control planes ask of it.
    pub answerer: Option<(NodeId, Arc<dyn Answerer>)>,
    /// The address by which browsers and apps reach this house.
    pub public_url: Option<PublicUrl>,
    /// Who says whose connections theirs are.
    pub trusted_proxies: Vec<Network>,
    /// What endpoints carry.
    pub edge: Arc<dyn EdgePort>,
}

/// Starts everything into `tasks`; what is answered says whether it serves.
pub(crate) async fn start(parts: Parts, tasks: &mut Tasks) -> Result<watch::Sender<bool>> {
    let Parts { data, listeners: (listener, door), address, node_url, store, .. } = parts;
    let Parts { clock, images, vault, tokens, near, answerer, edge, public_url, trusted_proxies, .. } = parts;
    let own = name::own(&data)?;
    let presence = Presence {
        url: format!("http://{}", reachable(address)),
        version: env!("CARGO_PKG_VERSION").into(),
        node: near.is_some(),
        node_url,
    };
    let mut keeper = Keeper::new(store.clone(), &own, &serde_json::to_string(&presence)?);
    // Nobody else contends for it: it says that this control plane lives.
    let seat = keeper.seat(&Presence::lease(&own));
    reconcile(tasks, &mut keeper, &store, &clock);
    let controls = Controls { own, leases: keeper.watched(), tasks: tasks.board.clone() };
    keep_house(tasks, keeper, (&store, &clock), &images);
    let shutdown = tasks.shutdown.clone();
    let authority = Arc::new(Authority::new(store.clone(), clock.clone(), vault.clone()));
    let signer = Arc::new(Signer::new(store.clone(), clock.clone(), vault.clone()));
    let (ready, is_ready) = watch::channel(false);
    let hearing = Hearing { own: controls.own.clone(), leases: controls.leases.clone(), seat: Some(seat) };
    let nodes = Nodes::new(store.clone(), vault.clone(), clock.clone(), hearing);
    let calls = Arc::new(CallDesk::default());
    let absent = Absent(store.clone());
    let peers =
        Peers { own: controls.own.clone(), leases: controls.leases.clone(), authority: authority.clone() };
    let house = HouseImages { store: store.clone(), clock: clock.clone(), peers: peers.clone() };
    images.join_house(Arc::new(house)).await.context("cannot name the images that are here")?;
    if let Some((node, answerer)) = answerer {
        calls.seat(node, answerer);
    }
    let dispatch = Dispatch { store: store.clone(), desk: calls.clone(), near, absent, peers };
    let hall = NodeDoor { hall: nodes.clone(), images: images.clone(), calls, ready: is_ready.clone() };
    let doctor = Arc::new(move || doctor::examine(&data));
    let state = Arc::new(ApiState {
        tail: Tail::of(store.clone()),
        store,
        images,
        vault,
        authority: authority.clone(),
        public_url,
        signer,
        sso: Arc::new(Relying::new(Arc::new(Web::default()))),
        agent: Arc::new(dispatch),
        edge,
        clock,
        tokens,
        controls,
        attempts: Default::default(),
        rates: Default::default(),
        known: Default::default(),
        devices: Default::default(),
        streams: Default::default(),
        ready: is_ready,
        doctor,
    });
    if let Some(door) = door {
        authority.refresh().await.context("cannot open the door for nodes")?;
        // Whom no node can reach hears none, and knows nothing of them.
        let (watching, stop) = (nodes.clone(), shutdown.clone());
        let spec = TaskSpec::new("watch-nodes", "Says of nodes whether they are heard.").every(NODES);
        tasks.keep(spec, move |task| watching.clone().watch(task, stop.clone()));
        let router = freehold_api::node_router(state.clone()).merge(agent_router(hall));
        tasks.spawn(machines::serve(door, router, authority.clone(), shutdown.clone()));
        let (purpose, stop) = ("Knows which machines may come in.", shutdown.clone());
        tasks.keep(TaskSpec::new("admit-machines", purpose), move |_| {
            let (authority, stop) = (authority.clone(), stop.clone());
            async move { authority.run(stop).await }
        });
    }
    let router = freehold_api::router(state);
    let limits = serve::Limits::default();
    tasks.spawn(serve::serve(listener, router, shutdown.clone(), limits, trusted_proxies));
    ready.send_replace(true);
    Ok(ready)
}

/// The reconcilers, each under a lease of its own.
fn reconcile(tasks: &mut Tasks, keeper: &mut Keeper, store: &Arc<dyn Store>, clock: &Arc<dyn Clock>) {
    let reconcilers: [(Arc<dyn Reconciler>, &'static str); 4] = [
        (Arc::new(RolloutReconciler), "Brings rollouts forward."),
        (Arc::new(TeardownReconciler), "Removes apps with everything in them."),
        (Arc::new(DrainReconciler), "Moves instances off nodes that are drained."),
        (Arc::new(RetentionReconciler), "Prunes the event log as the house wants it kept."),
    ];
    for (reconciler, purpose) in reconcilers {
        let (store, clock, seat) = (store.clone(), clock.clone(), keeper.seat(reconciler.name()));
        let (spec, stop) = (TaskSpec::new(reconciler.name(), purpose), tasks.shutdown.clone());
        let spec = spec.every(freehold_reconcile::run::RESYNC).under(seat.clone());
        tasks.keep(spec, move |task| {
            let (store, clock) = (store.clone(), clock.clone());
            freehold_reconcile::run(reconciler.clone(), store, clock, seat.clone(), task, stop.clone())
        });
    }
}

/// Leases, old answers and images.
fn keep_house(
    tasks: &mut Tasks,
    keeper: Keeper,
    (store, clock): (&Arc<dyn Store>, &Arc<dyn Clock>),
    images: &ImageStore,
) {
    let (keeper, stop) = (Arc::new(Mutex::new(keeper)), tasks.shutdown.clone());
    let spec = TaskSpec::new("keep-leases", "Renews the leases of this control plane and takes free ones.");
    tasks.keep(spec, move |_| {
        let (keeper, stop) = (keeper.clone(), stop.clone());
        async move { keeper.lock().await.run(stop).await }
    });
    let (parts, stop) = ((store.clone(), clock.clone()), tasks.shutdown.clone());
    tasks.keep(forget::spec(), move |task| forget::run(parts.0.clone(), parts.1.clone(), task, stop.clone()));
    let (store, images, stop) = (store.clone(), images.clone(), tasks.shutdown.clone());
    tasks.keep(collect::spec(), move |task| collect::run(store.clone(), images.clone(), task, stop.clone()));
}

/// The house's secrets. A rotation that was interrupted goes on here; should it fail, both keys stay. Where
/// the store is `shared`, the key must be the house's, and none is made beside it.
pub(crate) async fn vault(
    data: &Path,
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    shared: bool,
) -> Result<Arc<Vault>> {
    let file = data.join("keys/secrets.key");
    if shared && !file.exists() {
        let view = store.view().await?;
        if let Some(house) = Vault::house_key(&*view).context("cannot read the house's key")? {
            bail!(
                "{} is not there, and the house has a root key already ({house}): copy keys/secrets.key from the data \
                 directory of a control plane that runs, with mode 0600; copy `token` along with it, and one token \
                 opens both",
                file.display()
            );
        }
    }
    let vault = Vault::open(&file, store.clone(), clock.clone())?;
    if shared {
        vault.join_house().await?;
    }
    match vault.resume_rotation().await {
        Ok(0) => {}
        Ok(resealed) => tracing::info!(resealed, "ended the rotation of the root key"),
        Err(error) => {
            tracing::error!(%error, "the rotation of the root key cannot go on; the older key is kept")
        }
    }
    Ok(Arc::new(vault))
}
