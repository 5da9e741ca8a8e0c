//! One run as the agent's side sees it: follows what its shim reports, and passes orders on.

use crate::{
    ExecSession, Handle, Launch, RunState, RuntimeError,
    cgroup::{self, Cgroup},
    exec, first,
    launch::InstanceDir,
    liveness::{ShimProcess, end_forks},
    local,
    network::InstanceNetwork,
    program::Program,
    runtime::Layer,
    surroundings::{Holdings, Lost},
    unlinked::unlinked,
    wire::{End, Order, Report},
};
use async_trait::async_trait;
use freehold_model::{Exit, InstanceId, Keeping, exec::ExecRequest, manifest::Driver};
use jiff::Timestamp;
use std::{
    fs, io,
    net::Ipv4Addr,
    os::unix::net::UnixStream as StdStream,
    path::PathBuf,
    sync::{Arc, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Mutex, watch},
};

const PATIENCE: Duration = Duration::from_secs(10);
/// What a shim said last may arrive after it has ended.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// The handle of a run whose shim is, or was, a process of this node.
pub(crate) struct ShimHandle {
    launch: Launch,
    dir: InstanceDir,
    shim: Arc<Program>,
    state: watch::Receiver<RunState>,
    orders: Option<Mutex<OwnedWriteHalf>>,
    network: Mutex<Option<Arc<InstanceNetwork>>>,
    oom_counter: std::sync::Mutex<Option<PathBuf>>,
    /// What the run held when that was asked first.
    holdings: std::sync::Mutex<Option<Holdings>>,
}

impl ShimHandle {
    /// Of a run whose shim, `process`, lives: `stream` is connected to it.
    pub(crate) fn live(
        launch: Launch,
        dir: InstanceDir,
        shim: Arc<Program>,
        process: ShimProcess,
        stream: StdStream,
    ) -> io::Result<ShimHandle> {
        stream.set_nonblocking(true)?;
        let (reports, orders) = UnixStream::from_std(stream)?.into_split();
        let (sender, state) = watch::channel(RunState::Starting);
        tokio::spawn(follow(reports, process, sender, dir.clone(), launch.instance));
        let (orders, network) = (Some(Mutex::new(orders)), Mutex::default());
        let (oom_counter, holdings) = Default::default();
        Ok(ShimHandle { launch, dir, shim, state, orders, network, oom_counter, holdings })
    }

    /// Of a run that is over.
    pub(crate) fn ended(launch: Launch, dir: InstanceDir, shim: Arc<Program>, end: End) -> ShimHandle {
        let (_, state) = watch::channel(state_of(end));
        let (network, oom_counter, holdings) = Default::default();
        ShimHandle { launch, dir, shim, state, orders: None, network, oom_counter, holdings }
    }

    /// Of the first process, once it is known whether there is one.
    async fn pid(&self) -> Result<i32, RuntimeError> {
        let mut state = self.state.clone();
        match state.wait_for(|state| *state != RunState::Starting).await.as_deref() {
            Ok(RunState::Running { pid, .. }) => Ok(*pid),
            _ => Err(RuntimeError::NotRunning(self.launch.instance)),
        }
    }
}

#[async_trait]
impl Handle for ShimHandle {
    fn instance(&self) -> InstanceId {
        self.launch.instance
    }

    fn address(&self) -> Ipv4Addr {
        self.launch.reachable_at()
    }

    fn state(&self) -> watch::Receiver<RunState> {
        self.state.clone()
    }

    fn layer(&self) -> Option<Layer> {
        let keeping = if self.dir.enforced().exists() { Keeping::Enforced } else { Keeping::Watched };
        // That of a run that an earlier version started.
        let old = self.dir.0.join("upper");
        let dir = if old.exists() { old } else { self.dir.layer().join("upper") };
        Some(Layer { dir, limit: self.launch.disk, keeping })
    }

    fn unlinked(&self) -> u64 {
        unlinked(&Cgroup::of(self.launch.instance).pids())
    }

    fn oom_kills(&self) -> u64 {
        // Looking for it in every hierarchy costs more than reading it.
        let mut known = self.oom_counter.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            *known = Cgroup::of(self.launch.instance).oom_counter();
        }
        known.as_deref().map_or(0, cgroup::oom_kills)
    }

    fn lost(&self) -> Option<Lost> {
        let RunState::Running { pid, .. } = *self.state.borrow() else { return None };
        let now = Holdings::of(&self.launch, pid)?;
        let mut known = self.holdings.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some(held) => held.lost(&now),
            None => {
                *known = Some(now);
                None
            }
        }
    }

    async fn network(&self) -> Result<Arc<InstanceNetwork>, RuntimeError> {
        let instance = self.launch.instance;
        if self.launch.driver == Driver::Process {
            return Err(RuntimeError::NotRunning(instance));
        }
        let mut kept = self.network.lock().await;
        if let Some(network) = &*kept {
            return Ok(Arc::clone(network));
        }
        let pid = self.pid().await?;
        let dir = self.dir.clone();
        let entered = tokio::task::spawn_blocking(move || InstanceNetwork::of(&dir, instance, pid)).await;
        let network = entered.map_err(io::Error::other).and_then(|entered| entered);
        let network = Arc::new(network.map_err(|source| RuntimeError::Shim { instance, source })?);
        Ok(Arc::clone(kept.insert(network)))
    }

    async fn signal(&self, signal: i32) -> Result<(), RuntimeError> {
        let instance = self.launch.instance;
        // While it starts, the order waits in the socket until the shim has somebody to signal.
        let over = self.state.borrow().is_over();
        let orders = self.orders.as_ref().filter(|_| !over).ok_or(RuntimeError::NotRunning(instance))?;
        let mut line = serde_json::to_vec(&Order::Signal(signal))
            .map_err(|source| RuntimeError::Shim { instance, source: source.into() })?;
        line.push(b'\n');
        let result = orders.lock().await.write_all(&line).await;
        result.map_err(|source| RuntimeError::Shim { instance, source })
    }

    async fn exec(&self, request: &ExecRequest) -> Result<ExecSession, RuntimeError> {
        exec::start(&self.shim, &self.dir, &self.launch, self.pid().await?, request)
    }
}

/// Turns what the shim says into states, until it says no more.
async fn follow(
    reports: OwnedReadHalf,
    process: ShimProcess,
    state: watch::Sender<RunState>,
    dir: InstanceDir,
    instance: InstanceId,
) {
    let mut lines = BufReader::new(reports).lines();
    let mut lost = std::pin::pin!(async {
        if let Err(error) = process.ended().await {
            tracing::warn!(%instance, %error, "the shim's process cannot be watched, only its socket");
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(LAST_WORDS).await;
    });
    let mut open = true;
    loop {
        let line = tokio::select! {
            biased;
            line = lines.next_line(), if open => line,
            () = &mut lost => break,
            // Nobody follows it from here any more; the shim has nothing to do with that.
            () = state.closed() => return,
        };
        let Ok(Some(line)) = line else {
            open = false;
            continue;
        };
        match serde_json::from_str(&line) {
            Ok(Report::Started { pid, at }) => {
                state.send_replace(RunState::Running { pid, since: at });
            }
            Ok(Report::Ended(end)) => {
                state.send_replace(state_of(end));
                return;
            }
            Err(error) => tracing::warn!(%instance, %error, "the shim said something unknown"),
        }
    }
    let started = matches!(*state.borrow(), RunState::Running { .. });
    let end = tokio::task::spawn_blocking(move || end_of_lost(&dir, instance, started)).await;
    state.send_replace(match end {
        Ok(end) => state_of(end),
        Err(error) => RunState::StartFailed { message: error.to_string() },
    });
}

fn state_of(end: End) -> RunState {
    match end {
        End::Exited(exit) => RunState::Exited(exit),
        End::Failed { message } => RunState::StartFailed { message },
    }
}

/// The end of a run whose shim is gone: as it recorded it, or, when it was killed, made now, by killing
/// all it left. Nothing can be started in between: this holds the lock.
pub(crate) fn end_of_lost(dir: &InstanceDir, instance: InstanceId, started: bool) -> End {
    if let Err(error) = end_forks(dir, PATIENCE) {
        tracing::error!(%instance, %error, "cannot end what a lost shim left");
    }
    let lock = local::lock(dir, PATIENCE);
    if let Ok(end) = InstanceDir::read(&dir.end()) {
        return end;
    }
    if let Err(error) = first::kill(dir, instance, PATIENCE) {
        tracing::error!(%instance, %error, "cannot kill what a lost shim left");
    }
    let said = fs::read_to_string(dir.shim_log()).unwrap_or_default();
    // One that says nothing was killed: that is no fault of what it was to start.
    let end = if started || said.trim().is_empty() {
        End::Exited(Exit {
            code: None,
            signal: None,
            oom: false,
            disk: None,
            unhealthy: None,
            at: Timestamp::now(),
        })
    } else {
        End::Failed { message: format!("its shim ended before it started anything: {}", said.trim()) }
    };
    if lock.is_ok()
        && let Err(error) = InstanceDir::write(&dir.end(), &end)
    {
        tracing::error!(%instance, %error, "cannot record the end of a run");
    }
    end
}
