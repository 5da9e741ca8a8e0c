//! The agent as the daemon holds it: start, stop, logs, exec.

use crate::{
    control::Control,
    dns::{NameServers, Resolver},
    drill,
    images::Images,
    journal::Journal,
    log_search::{LogTrail, Search},
    network::{Live, Network},
    residents::Residents,
    sources::{self, LogSource},
    supervisor::{Known, Supervisor},
    volumes::{Keeper, Volumes},
};
use freehold_model::{InstanceId, NodeId, drill::EgressTry, exec::ExecRequest, logs::LogQuery};
use freehold_reconcile::Clock;
use freehold_runtime::{ExecSession, Handle, Installation, Launch, Runtime, RuntimeError, logs::Patterns};
use freehold_secrets::{KeyFile, KeyFileError};
use futures::Stream;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};
use tokio_util::task::AbortOnDropHandle;

/// What an agent must be told.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// The node it works for.
    pub node: NodeId,
    /// The data directory: the journal is in `agent/journal`, logs are in `logs`, the node's key is
    /// `keys/node.key`.
    pub data: PathBuf,
    /// Whose node it is: what it makes on the machine carries this.
    pub installation: Option<Installation>,
    /// The node's address on the links of its instances.
    pub gateway: Ipv4Addr,
    /// How many bits of the gateway's address are those of all instances.
    pub network_bits: u8,
    /// Who is asked for the names outside that instances may know; `None`: there is no resolver.
    pub name_servers: Option<NameServers>,
}

impl AgentConfig {
    /// Where the logs are, one directory per instance.
    pub(crate) fn logs(&self) -> PathBuf {
        self.data.join("logs")
    }
}

/// What the agent could not do.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The journal cannot be used.
    #[error("the journal under {path} cannot be used: {source}; see that Freehold may write there")]
    Journal {
        /// The data directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The node's key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// What runs already could not be found out.
    #[error("cannot find what runs already: {0}")]
    Adopt(#[source] RuntimeError),
    /// The instance does not run here.
    #[error("{0} does not run on this node now; `freehold status` says what runs")]
    NotRunning(InstanceId),
    /// The runtime failed.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

/// What every worker shares.
pub(crate) struct Shared {
    pub(crate) config: AgentConfig,
    pub(crate) control: Arc<dyn Control>,
    pub(crate) images: Arc<dyn Images>,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) journal: Journal,
    pub(crate) residents: Arc<Residents>,
    pub(crate) network: Network,
    pub(crate) volumes: Arc<Volumes>,
    /// The node's own: opens what the control plane sealed for it.
    pub(crate) key: KeyFile,
    live: Live,
    kept: watch::Sender<BTreeSet<InstanceId>>,
}

/// A run that a worker follows: what another one needs to go on.
pub(crate) type Run = (Launch, Arc<dyn Handle>);

impl Shared {
    /// Every run there is, for exec and for the successors of workers that ended badly.
    pub(crate) fn live(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Run>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The instances that have a worker, for those who follow their logs.
    pub(crate) fn kept(&self) -> watch::Receiver<BTreeSet<InstanceId>> {
        self.kept.subscribe()
    }

    /// Tells which instances have a worker.
    pub(crate) fn keep(&self, all: BTreeSet<InstanceId>) {
        self.kept.send_if_modified(|old| std::mem::replace(old, all.clone()) != all);
    }

    /// Where an instance's log is.
    pub(crate) fn log_dir(&self, id: InstanceId) -> PathBuf {
        self.config.logs().join(id.to_string())
    }
}

/// The running agent of one node. Dropped, it leaves everything running.
pub struct Agent {
    shared: Arc<Shared>,
    /// How to end the supervisor; taken by the first who does.
    running: Mutex<Option<(oneshot::Sender<bool>, JoinHandle<()>)>>,
    /// The resolver.
    _answering: Option<[AbortOnDropHandle<()>; 2]>,
    /// Tells of the node's surroundings.
    _telling: AbortOnDropHandle<()>,
    /// Ends the keeper of volumes when it is dropped.
    _keeping: oneshot::Sender<()>,
}

impl Agent {
    /// Adopts what runs, and begins to match the assignments of `control`; if that does not answer, those
    /// of the journal.
    ///
    /// # Errors
    /// When the journal or what runs cannot be read.
    pub async fn start(
        config: AgentConfig,
        control: Arc<dyn Control>,
        images: Arc<dyn Images>,
        runtime: Arc<dyn Runtime>,
        clock: Arc<dyn Clock>,
    ) -> Result<Agent, AgentError> {
        let path = config.data.clone();
        let failed = |source| AgentError::Journal { path: path.clone(), source };
        let journal = Journal::open(&config.data).map_err(failed)?;
        let key = KeyFile::open(&config.data.join("keys/node.key"))?;
        let mut known: BTreeMap<InstanceId, Known> = BTreeMap::new();
        for (id, entry) in journal.load().map_err(failed)? {
            known.entry(id).or_default().entry = Some(entry);
        }
        for adopted in runtime.adopt().await.map_err(AgentError::Adopt)? {
            let id = adopted.0.instance;
            if !adopted.0.volumes.is_empty() {
                // Whoever froze it for a copy is gone.
                freehold_runtime::volume::Frozen::thaw(id);
            }
            known.entry(id).or_default().adopted = Some(adopted);
        }
        tracing::info!(node = %config.node, known = known.len(), "the agent starts");
        let residents = Arc::new(Residents::default());
        let resolver = resolver(&config);
        let port = resolver.as_ref().and_then(|resolver| resolver.port().ok());
        let (live, kept) = (Live::default(), watch::channel(BTreeSet::new()).0);
        let (around, who) = (Arc::clone(&runtime), Arc::clone(&residents));
        let network = Network::new(&config, port, around, who, Arc::clone(&live));
        let telling = network.outbox().tell(Arc::clone(&control));
        let volumes = Arc::new(Volumes::new(&config.data));
        let keeper = Keeper::new(Arc::clone(&volumes), Arc::clone(&control), Arc::clone(&clock));
        let shared = Shared {
            config,
            control,
            images,
            runtime,
            clock,
            journal,
            residents,
            network,
            volumes,
            key,
            live,
            kept,
        };
        let shared = Arc::new(shared);
        let answering = resolver.map(|resolver| resolver.serve(Arc::clone(&shared)));
        let supervisor = Supervisor::start(Arc::clone(&shared), known).await;
        let (stop, stopped) = oneshot::channel();
        let running = Mutex::new(Some((stop, tokio::spawn(supervisor.run(stopped)))));
        // After the supervisor has adopted: by then it is known who has which volume.
        let (keeping, kept) = oneshot::channel();
        tokio::spawn(keeper.run(kept));
        Ok(Agent { shared, running, _answering: answering, _telling: telling, _keeping: keeping })
    }

    /// Ends the agent. Instances run on and are adopted by the next one; with `stop_apps` they are stopped,
    /// each with its patience, and started again by the next one.
    pub async fn stop(&self, stop_apps: bool) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((stop, supervisor)) = running else { return };
        let _ = stop.send(stop_apps);
        if let Err(error) = supervisor.await {
            tracing::error!(%error, "the agent ended badly");
        }
    }

    /// The logs that fit, of instances that are gone too. With `query.follow` the stream goes on and brings
    /// those of new instances as soon as there are any; the log of one that goes ends with its last line.
    pub async fn logs<F: Fn(&LogSource) -> bool + Send + Sync + 'static>(
        &self,
        fits: F,
        query: LogQuery,
        patterns: Patterns,
    ) -> impl Stream<Item = LogTrail> + Send + use<F> {
        Search::new(Arc::clone(&self.shared), fits, query, patterns).trails().await
    }

    /// Whose logs are on this node, instances that are gone included.
    pub fn log_sources(&self) -> Vec<LogSource> {
        sources::list(&self.shared.config.logs())
    }

    /// Tries from inside an instance where it can connect to. `node_ports` are the node's own, and what
    /// they are.
    ///
    /// # Errors
    /// Why it cannot be tried: it does not run here, or has no network of its own.
    pub async fn drill_egress(
        &self,
        instance: InstanceId,
        node_ports: Vec<(u16, String)>,
    ) -> Result<Vec<EgressTry>, String> {
        drill::drill(&self.shared, instance, node_ports).await
    }

    /// Runs one more command inside an instance.
    ///
    /// # Errors
    /// When it does not run here, or the command cannot be run.
    pub async fn exec(&self, instance: InstanceId, request: &ExecRequest) -> Result<ExecSession, AgentError> {
        let run = self.shared.live().get(&instance).cloned();
        let (_, handle) = run.ok_or(AgentError::NotRunning(instance))?;
        Ok(handle.exec(request).await?)
    }
}

/// Without one, instances know no names; they run all the same.
fn resolver(config: &AgentConfig) -> Option<Resolver> {
    let bound = Resolver::bind(config.gateway, config.name_servers.clone()?);
    bound.inspect_err(|error| tracing::error!(%error, "instances have no name server")).ok()
}
