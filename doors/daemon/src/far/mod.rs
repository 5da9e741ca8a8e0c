//! `freehold node run`: the agent and the edge of a machine whose control plane is elsewhere.
//!
//! Everything is dialled from here. Invariant: while no control plane answers, what runs here goes on, is
//! started again when it ends, and is served: the journal and the last routing are on this disk.

mod answer;
mod scenery;

use crate::{
    data, node, range,
    up::{Ended, PATIENCE, PidFile, StopSignals, allow_many_files, given_room, tell_service_manager},
};
pub(crate) use answer::Answers;
use anyhow::{Context as _, Result};
use freehold_agent::{
    Agent, AgentConfig, NameServers,
    remote::{
        Link, LinkConfig, Pulse, RemoteControl, RemoteImages, answer_calls, protocol::Registration, whole,
    },
};
use freehold_deploy::address::Range;
use freehold_edge::{Edge, EdgeConfig, HopKeys, Reach};
use freehold_identity::Membership;
use freehold_image::ImageStore;
use freehold_model::NodeId;
use freehold_reconcile::SystemClock;
use freehold_runtime::{
    LocalRuntime, RuntimeConfig,
    doctor::{self, Room},
    rootless,
};
use freehold_secrets::forbid_core_dumps;
use jiff::Timestamp;
use scenery::FarScenery;
use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// The disk is looked at so often.
const DISK: Duration = Duration::from_secs(60);

/// How to run a node.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// Where the node keeps all it needs, its identity among it.
    pub data: PathBuf,
    /// The addresses on which endpoints listen; all of the machine's if empty.
    pub endpoints_on: Vec<IpAddr>,
    /// Who is asked for names outside; those of `/etc/resolv.conf` if empty.
    pub name_servers: Vec<SocketAddr>,
    /// Whether instances are stopped along with Freehold.
    pub stop_apps: bool,
}

/// What a caller may tell people once the node runs.
#[derive(Debug, Clone)]
pub struct NodeReady {
    /// Which node.
    pub node: NodeId,
    /// What it is called.
    pub name: String,
    /// Where it looks for control planes.
    pub urls: Vec<String>,
}

/// Runs the node until SIGTERM, SIGINT or SIGUSR2. `on_ready` is called once, when every part runs, whether a
/// control plane answers or not.
///
/// # Errors
/// When this machine has not joined, or a part cannot be started.
pub async fn run_node(
    options: NodeOptions,
    on_ready: impl FnOnce(&NodeReady) -> Result<()>,
) -> Result<Ended> {
    forbid_core_dumps();
    let mut stop = StopSignals::listen()?;
    allow_many_files();
    data::prepare(&options.data)?;
    rootless::note(&options.data)?;
    let joined = Membership::open(&options.data)?.with_context(|| {
        format!(
            "{} holds no identity: `freehold node join URL` makes this machine a node",
            options.data.display()
        )
    })?;
    let _pid_file = given_room(PidFile::write(&options.data))?;
    let about = joined.about();
    let parse = |urls: &[String]| urls.iter().map(|url| whole(url).map_err(anyhow::Error::msg)).collect();
    let (urls, announced): (Result<Vec<_>>, Result<Vec<_>>) = (parse(&about.urls), parse(&about.announced));
    let link = Link::new(LinkConfig { urls: urls?, announced: announced?, tls: Some(joined.tls()) })?;
    let node = NodeId::try_from(about.machine)
        .with_context(|| format!("this machine joined as a {}: it runs nothing", about.machine.kind))?;
    let mut range = range::told(&options.data);
    let mut parts = Parts::start(&options, node, link.clone(), range).await?;
    let joined = Arc::new(joined);
    let _kept = AbortOnDropHandle::new(tokio::spawn(keep_urls(link.clone(), joined.clone())));
    let _certified = AbortOnDropHandle::new(tokio::spawn(keep_certified(link.clone(), joined)));
    let urls = about.urls.iter().chain(&about.announced).cloned().collect();
    on_ready(&NodeReady { node, name: about.name.to_string(), urls })?;
    tell_service_manager(&[sd_notify::NotifyState::Ready]);
    let ended = loop {
        tokio::select! {
            ended = stop.wait() => break ended,
            told = parts.told_other_range(range) => {
                tracing::warn!(%told, instead_of = %range, "instances get addresses in another range");
                range::keep(&options.data, told)?;
                range = told;
                parts.stop(false).await;
                parts = Parts::start(&options, node, link.clone(), range).await?;
            }
        }
    };
    if ended == Ended::Stopped {
        tell_service_manager(&[sd_notify::NotifyState::Stopping]);
    }
    let stop_apps = options.stop_apps && ended == Ended::Stopped;
    tracing::info!(stop_apps, ?ended, "stopping");
    tokio::select! {
        () = parts.stop(stop_apps) => Ok(ended),
        _ = stop.wait() => anyhow::bail!("stopped at once by a second signal; instances go on running"),
    }
}

/// Keeps the identity of a gateway or a device good until SIGTERM or SIGINT: all that there is for those yet.
///
/// # Errors
/// When this machine has not joined, or its identity cannot be used.
pub async fn keep_machine(data: &Path) -> Result<()> {
    forbid_core_dumps();
    let mut stop = StopSignals::listen()?;
    let joined = Membership::open(data)?
        .with_context(|| format!("{} holds no identity: join first", data.display()))?;
    let about = joined.about();
    let parse = |urls: &[String]| urls.iter().map(|url| whole(url).map_err(anyhow::Error::msg)).collect();
    let (urls, announced): (Result<Vec<_>>, Result<Vec<_>>) = (parse(&about.urls), parse(&about.announced));
    let link = Link::new(LinkConfig { urls: urls?, announced: announced?, tls: Some(joined.tls()) })?;
    tokio::select! {
        () = keep_certified(link, Arc::new(joined)) => Ok(()),
        _ = stop.wait() => Ok(()),
    }
}

async fn keep_certified(link: Arc<Link>, joined: Arc<Membership>) {
    let advised = || {
        let link = link.clone();
        async move { link.renewal_advised().await.map_err(|error| error.to_string()) }
    };
    freehold_client::keep_certified(&joined, advised).await;
}

/// Keeps on disk which control planes were announced, for the next start.
async fn keep_urls(link: Arc<Link>, joined: Arc<Membership>) {
    let mut urls = link.urls().follow();
    // What was announced before anybody looked, first.
    loop {
        let announced = link.urls().announced();
        if announced != joined.about().announced {
            tracing::info!(?announced, "the control planes that this node knows");
            if let Err(error) = joined.announced(announced) {
                tracing::warn!(%error, "the addresses of control planes are not kept");
            }
        }
        if urls.changed().await.is_err() {
            return;
        }
    }
}

/// Every part that runs.
struct Parts {
    shutdown: CancellationToken,
    agent: Arc<Agent>,
    edge: Edge,
    pulse: Arc<Pulse>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl Parts {
    async fn start(options: &NodeOptions, node: NodeId, link: Arc<Link>, range: Range) -> Result<Parts> {
        let data = &options.data;
        let control = Arc::new(RemoteControl::new(link.clone()));
        let upstream = Arc::new(RemoteImages(link.clone()));
        let images = ImageStore::open_behind(&data.join("images"), upstream)?;
        let installation = data::installation(data)?;
        let runtime = Arc::new(LocalRuntime::new(RuntimeConfig::new(data, installation.clone())?)?);
        let name_servers = Some(match options.name_servers.as_slice() {
            [] => NameServers::System,
            fixed => NameServers::Fixed(fixed.to_vec()),
        });
        let config = AgentConfig {
            node,
            data: data.clone(),
            installation: Some(installation),
            gateway: range.gateway(),
            network_bits: range.bits(),
            name_servers,
        };
        // Known before anything is asked of it.
        let pulse = Arc::new(Pulse::start(&link, registration(data)?));
        let agent = Agent::start(config, control.clone(), Arc::new(images), runtime, Arc::new(SystemClock));
        let agent = Arc::new(agent.await.context("starting the node's agent")?);
        let shutdown = CancellationToken::new();
        let config = EdgeConfig {
            listen_on: options.endpoints_on.clone(),
            access_log: Some(data.join("access")),
            own_addresses: false,
            reach: if rootless::is_rootless() { Reach::by(rootless::socket) } else { Reach::default() },
            node: Some(node),
            hop_keys: HopKeys::default(),
        };
        let scenery = FarScenery::new(node, control, link.clone(), data.join("agent/routing.json"));
        let edge = Edge::start_far(Arc::new(scenery), config, shutdown.clone());
        let answers = Answers { door: node::Door::far(agent.clone()), edge: edge.observer() };
        let mut tasks = vec![answer_calls(&link, Arc::new(answers))];
        let disk = tokio::spawn(watch_disk(data.clone(), pulse.clone()));
        tasks.push(AbortOnDropHandle::new(disk));
        Ok(Parts { shutdown, agent, edge, pulse, _tasks: tasks })
    }

    /// Resolves when a control plane tells of another range than `own`.
    async fn told_other_range(&self, own: Range) -> Range {
        let mut told = self.pulse.range();
        loop {
            let range = told.borrow_and_update().as_ref().and_then(|text| text.parse::<Range>().ok());
            match range {
                Some(range) if range != own => return range,
                _ if told.changed().await.is_err() => std::future::pending().await,
                _ => {}
            }
        }
    }

    async fn stop(self, stop_apps: bool) {
        self.shutdown.cancel();
        self.edge.stopped(PATIENCE).await;
        self.agent.stop(stop_apps).await;
    }
}

/// What this machine has to give.
fn registration(data: &Path) -> Result<Registration> {
    let doctor = doctor::examine(data);
    let missing = doctor.findings.iter().find(|finding| !finding.ok);
    let trouble = missing.filter(|_| doctor.drivers.is_empty());
    Ok(Registration {
        capacity: node::capacity()?,
        drivers: doctor.drivers.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        started: Timestamp::now(),
        lowest_port: rootless::lowest_port(),
        trouble: trouble.map(|finding| format!("{}: {}", finding.name, finding.found)),
        no_egress: rootless::is_rootless().then(|| rootless::EGRESS.into()),
    })
}

async fn watch_disk(data: PathBuf, pulse: Arc<Pulse>) {
    loop {
        if let Ok(room) = Room::of(&data) {
            pulse.say_disk(room.is_low().then_some(room.free));
        }
        tokio::time::sleep(DISK).await;
    }
}
