//! `freehold up` and `freehold control`: starts every part in order, says when all are ready, stops them in
//! reverse.

use crate::{
    absent::Absent,
    bootstrap,
    data::{self, Running},
    local::{Here, LocalNode},
    machines, node, plane, range,
    state::State,
    tasks::Tasks,
    trim,
};
use anyhow::{Context, Result};
use freehold_deploy::address::Range;
use freehold_identity::{TokenFile, Tokens};
use freehold_image::ImageStore;
use freehold_model::{Network, PublicUrl};
use freehold_reconcile::{Clock, SystemClock};
use freehold_runtime::{network::users_of, rootless};
use freehold_secrets::forbid_core_dumps;
use freehold_store::PostgresOptions;
use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// How long open requests and proxied connections may go on after a stop was asked for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Control plane and node: one such process for a store.
    Up,
    /// Control plane alone: as many as one likes on a PostgreSQL database, beside one `Up` or none.
    Control,
}

/// How to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// What to be.
    pub role: Role,
    /// Where all state is kept; made if it does not exist.
    pub data: PathBuf,
    /// The database that holds resources and events; SQLite in `data` if none is named.
    pub store: Option<PostgresOptions>,
    /// Where the API and the registry are served.
    pub listen: SocketAddr,
    /// Where machines that joined are served, over TLS; nowhere if it is not given.
    pub node_listen: Option<SocketAddr>,
    /// Where machines that joined reach that; found out if it is not given.
    pub node_url: Option<String>,
    /// The address by which browsers and apps reach this house.
    pub public_url: Option<PublicUrl>,
    /// The proxies that say, by the PROXY protocol, whose connections they bring to the API.
    pub trusted_proxies: Vec<Network>,
    /// The addresses on which endpoints listen; all of the machine's if empty.
    pub endpoints_on: Vec<IpAddr>,
    /// Who is asked for names outside; those of `/etc/resolv.conf` if empty.
    pub name_servers: Vec<SocketAddr>,
    /// The range of instances' addresses; the first that is free if it is not given.
    pub instances_range: Option<Range>,
    /// Whether instances are stopped along with Freehold.
    pub stop_apps: bool,
}

/// What a caller may tell people once everything is ready.
#[derive(Debug)]
pub struct Ready {
    /// Where the API answers.
    pub url: String,
    /// The file with the admin token, readable by its owner alone.
    pub token_file: PathBuf,
    /// The admin token, if it was made by this start.
    pub new_token: Option<String>,
}

/// Why [`run`] came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// SIGTERM or SIGINT asked for it.
    Stopped,
    /// SIGUSR2 asked for it: the program was replaced and is to be started again in this process.
    Renew,
}

/// Runs until SIGTERM, SIGINT or SIGUSR2. `on_ready` is called once, when every part is ready.
///
/// # Errors
/// When a part cannot be started, or the store cannot be closed.
pub async fn run(options: Options, on_ready: impl FnOnce(&Ready) -> Result<()>) -> Result<Ended> {
    // From here on this process holds keys, tokens and secrets in clear.
    forbid_core_dumps();
    let mut stop = StopSignals::listen()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    allow_many_files();
    data::prepare(&options.data)?;
    rootless::note(&options.data)?;
    if rootless::is_rootless() && options.role == Role::Up {
        node::say_what_root_would_have();
    }
    let state = State::open(&options.data, options.store.clone(), options.role, clock.clone()).await?;
    // Before the token is made: it is shown once, so not by a start that comes to nothing.
    let listener = listen(options.listen).await?;
    let machines = match options.node_listen {
        Some(address) => Some(machines::listen(address).await?),
        None => None,
    };
    let _pid_file = given_room(PidFile::write(&options.data))?;
    let token_file = TokenFile::open(&options.data.join("token"))?;

    let tokens = Tokens::admin(&token_file.token);
    let mut house = House::start(&options, (listener, machines), &state, clock, tokens).await?;
    let ready = Ready {
        url: format!("http://{}", reachable(house.address)),
        token_file: options.data.join("token"),
        new_token: token_file.is_new.then(|| token_file.token.reveal().to_owned()),
    };
    on_ready(&ready)?;
    let noted = given_room(running(&ready)?.note(&options.data))?;
    tell_service_manager(&[sd_notify::NotifyState::Ready]);
    tracing::debug!(url = ready.url, "ready");
    let (ended, broken) = tokio::select! {
        ended = stop.wait() => (ended, None),
        broken = house.tasks.failed() => (Ended::Stopped, Some(broken)),
    };
    drop(noted);
    if ended == Ended::Stopped {
        tell_service_manager(&[sd_notify::NotifyState::Stopping]);
    }
    // Whoever renews the program wants its instances to go on.
    let stop_apps = options.stop_apps && ended == Ended::Stopped && broken.is_none();
    tracing::info!(stop_apps, ?ended, "stopping");
    tokio::select! {
        () = house.stop(stop_apps) => {}
        _ = stop.wait() => anyhow::bail!("stopped at once by a second signal; instances go on running"),
    }
    state.close().await;
    broken.map_or(Ok(ended), Err)
}

/// A full disk must not keep what ran before from running: what only says who runs can be missing.
pub(crate) fn given_room<T>(written: Result<T>) -> Result<Option<T>> {
    match written {
        Err(error) if is_full(&error) => {
            tracing::error!(error = format!("{error:#}"), "it starts all the same: make room");
            Ok(None)
        }
        written => written.map(Some),
    }
}

/// Whether there was no room for it.
pub(crate) fn is_full(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<std::io::Error>();
    cause.is_some_and(|error| error.kind() == std::io::ErrorKind::StorageFull)
}

fn running(ready: &Ready) -> Result<Running> {
    Ok(Running {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").into(),
        program: std::env::current_exe().context("cannot find this program's file")?,
        url: ready.url.clone(),
        since: jiff::Timestamp::now(),
    })
}

/// Nothing, unless systemd started this.
pub(crate) fn tell_service_manager(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot tell the service manager");
    }
}

/// Every part that runs.
struct House {
    address: SocketAddr,
    ready: watch::Sender<bool>,
    tasks: Tasks,
    node: Option<LocalNode>,
}

impl House {
    async fn start(
        options: &Options,
        listeners: (TcpListener, Option<TcpListener>),
        state: &State,
        clock: Arc<dyn Clock>,
        tokens: Tokens,
    ) -> Result<House> {
        let (address, store) = (listeners.0.local_addr()?, state.store());
        let images = ImageStore::open(&options.data.join("images"))?;
        let here = bootstrap::ensure(&*store, &*clock, options.role == Role::Up).await?;
        let vault = plane::vault(&options.data, &store, &clock, state.is_shared()).await?;
        let mut tasks = Tasks::default();
        let node = match here {
            Some(id) => {
                let installation = data::installation(&options.data)?;
                let users = |range: Range| users_of(range.gateway(), range.bits(), Some(&installation));
                let range = range::choose(&*store, options.instances_range, users).await?;
                let (parts, here) = ((images.clone(), vault.clone()), Here { id, installation, range });
                Some(LocalNode::start(options, here, (&store, &clock), parts, &mut tasks).await?)
            }
            None => None,
        };
        let (near, answerer, edge) = match &node {
            Some(node) => {
                let port = address.port();
                (Some(node.near(port)), node.answerer(port), node.window())
            }
            None => (None, None, Arc::new(Absent(store.clone())) as _),
        };
        let (data, public_url) = (options.data.clone(), options.public_url.clone());
        let node_url = match &listeners.1 {
            Some(door) => options.node_url.clone().or_else(|| machines::url(door)),
            None => None,
        };
        let parts = plane::Parts {
            data,
            listeners,
            address,
            node_url,
            store,
            clock,
            images,
            vault,
            tokens,
            near,
            answerer,
            edge,
            public_url,
            trusted_proxies: options.trusted_proxies.clone(),
        };
        let ready = plane::start(parts, &mut tasks).await?;
        let shutdown = tasks.shutdown.clone();
        tasks.keep(trim::spec(), move |task| trim::run(task, shutdown.clone()));
        Ok(House { address, ready, tasks, node })
    }

    /// Stops taking work, lets what is open end for a while, and leaves instances running unless told
    /// otherwise.
    async fn stop(mut self, stop_apps: bool) {
        self.ready.send_replace(false);
        self.tasks.shutdown.cancel();
        let ended = async {
            if let Some(node) = &mut self.node {
                node.drained(PATIENCE).await;
            }
            self.tasks.ended().await;
        };
        if tokio::time::timeout(PATIENCE, ended).await.is_err() {
            tracing::warn!("open requests were cut");
        }
        self.tasks.abort();
        if let Some(node) = self.node {
            node.stop(stop_apps).await;
        }
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listening = TcpListener::bind(address).await;
    listening.with_context(|| format!("cannot listen on {address}: choose another address with --listen"))
}

/// Connections are files: what a shell allows by default is soon used up. A machine that refuses keeps
/// what it has.
pub(crate) fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "cannot raise the number of open files");
    }
}

/// An address to connect to: the unspecified address stands for loopback.
pub(crate) fn reachable(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listening.port())
}

/// `<data>/freehold.pid`, for those who stop it; removed when it stops.
pub(crate) struct PidFile(PathBuf);

impl PidFile {
    pub(crate) fn write(data: &Path) -> Result<PidFile> {
        let path = data.join("freehold.pid");
        fs::write(&path, format!("{}\n", std::process::id()))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(PidFile(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

pub(crate) struct StopSignals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    renew: tokio::signal::unix::Signal,
}

impl StopSignals {
    pub(crate) fn listen() -> Result<StopSignals> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let renew = signal(SignalKind::user_defined2())?;
        Ok(StopSignals { terminate, interrupt, renew })
    }

    pub(crate) async fn wait(&mut self) -> Ended {
        tokio::select! {
            _ = self.terminate.recv() => Ended::Stopped,
            _ = self.interrupt.recv() => Ended::Stopped,
            _ = self.renew.recv() => Ended::Renew,
        }
    }
}
