//! The runtime of this machine: starts shims, finds them again, and removes what ended runs left.

use crate::{
    Damage, Handle, Installation, InstanceLink, Launch, LogLimits, Runtime, RuntimeError, Secrets,
    Surroundings,
    cgroup::Cgroup,
    first,
    handle::{ShimHandle, end_of_lost},
    launch::{InstanceDir, Job},
    legacy,
    liveness::ShimProcess,
    netlink::Netlink,
    network::{self, Neighbourhood, Owner, Whole},
    program::Program,
    quota, rootless, shim, surroundings,
};
use async_trait::async_trait;
use freehold_model::InstanceId;
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{self, File, OpenOptions, Permissions},
    io,
    net::Ipv4Addr,
    os::{
        fd::{AsRawFd, BorrowedFd, OwnedFd},
        unix::{
            fs::PermissionsExt,
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How long an ended run may take to let go of its lock, its groups and its processes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where instances are kept, and how their shims are started.
#[derive(Debug, Clone)]
pub struct RuntimeConfig {
    /// One directory per instance is made in it.
    pub instances_dir: PathBuf,
    /// Program and arguments of a shim, before the directory. The program must call
    /// [`shim::dispatch`] first of all.
    pub shim: Vec<String>,
    /// Whose instances these are; `None`: names carry no id, as in earlier versions.
    pub installation: Option<Installation>,
}

impl RuntimeConfig {
    /// Shims of this very program, for the instances of `installation` in a data directory.
    ///
    /// # Errors
    /// When the system does not say which program this is.
    pub fn new(data: &Path, installation: Installation) -> io::Result<RuntimeConfig> {
        let program = std::env::current_exe()?.to_string_lossy().into_owned();
        Ok(RuntimeConfig {
            instances_dir: data.join("instances"),
            shim: vec![program, shim::COMMAND.into()],
            installation: Some(installation),
        })
    }
}

/// The runtime of this machine, for both drivers.
pub struct LocalRuntime {
    instances_dir: PathBuf,
    shim: Arc<Program>,
    logs: LogLimits,
    installation: Option<Installation>,
    /// The packet filter's table as it was set last.
    whole: Arc<Mutex<Option<Whole>>>,
}

impl LocalRuntime {
    /// Makes the directory of instances when it is missing.
    ///
    /// # Errors
    /// When it cannot be made, or the program of the shims is not there.
    pub fn new(config: RuntimeConfig) -> Result<LocalRuntime, RuntimeError> {
        let dir = &config.instances_dir;
        fs::create_dir_all(dir).map_err(RuntimeError::file("make", dir))?;
        fs::set_permissions(dir, Permissions::from_mode(0o700))
            .map_err(RuntimeError::file("protect", dir))?;
        // Shims work in their own directory, so the path must not depend on ours.
        let instances_dir = dir.canonicalize().map_err(RuntimeError::file("resolve", dir))?;
        let shim = Program::open(&config.shim).map_err(|source| RuntimeError::Spawn {
            program: config.shim.first().cloned().unwrap_or_default(),
            source,
        })?;
        Ok(LocalRuntime {
            instances_dir,
            shim: Arc::new(shim),
            logs: LogLimits::default(),
            installation: config.installation,
            whole: Arc::default(),
        })
    }

    /// Keeps more or less log of each instance than the default.
    pub fn with_log_limits(mut self, logs: LogLimits) -> LocalRuntime {
        self.logs = logs;
        self
    }

    fn dir(&self, instance: InstanceId) -> InstanceDir {
        InstanceDir::new(&self.instances_dir, instance)
    }
}

#[async_trait]
impl Runtime for LocalRuntime {
    async fn start_with(&self, launch: &Launch, secrets: &Secrets) -> Result<Arc<dyn Handle>, RuntimeError> {
        let (dir, shim) = (self.dir(launch.instance), Arc::clone(&self.shim));
        let job = Job {
            launch: launch.clone(),
            logs: self.logs,
            has_secrets: !secrets.is_empty(),
            rootless: rootless::is_rootless(),
        };
        let secrets = secrets.clone();
        let connected = blocking(move || start_shim(&dir, &shim, &job, &secrets)).await?;
        self.live(launch.clone(), connected)
    }

    async fn adopt(&self) -> Result<Vec<(Launch, Arc<dyn Handle>)>, RuntimeError> {
        let mut adopted = Vec::new();
        self.tidy().await;
        for instance in self.known()? {
            let dir = self.dir(instance);
            let installation = self.installation.clone();
            match blocking(move || find(&dir, instance, installation.as_ref())).await {
                Ok(Some(Found::Live(launch, connected))) => {
                    adopted.push((launch.clone(), self.live(launch, connected)?))
                }
                Ok(Some(Found::Ended(launch, end))) => {
                    let (dir, shim) = (self.dir(instance), Arc::clone(&self.shim));
                    let handle = ShimHandle::ended(launch.clone(), dir, shim, end);
                    adopted.push((launch, Arc::new(handle) as Arc<dyn Handle>));
                }
                // Nothing was started from it; if removing fails, the next start tries again.
                Ok(None) => drop(self.remove(instance).await),
                // One that cannot be looked at must not keep the others from being adopted. Should it
                // run after all, its lock keeps it from being started twice.
                Err(error) => tracing::error!(%instance, %error, "cannot adopt"),
            }
        }
        Ok(adopted)
    }

    async fn settle(&self, wanted: Option<&Neighbourhood>) -> Result<(), RuntimeError> {
        let (owner, wanted) = (self.owner(), wanted.cloned());
        let settle = move || match &wanted {
            Some(wanted) => network::settle(wanted, &owner).map(Some),
            None => network::leave(&owner).map(|()| None),
        };
        let set = blocking(move || rootless::inside(settle).map_err(RuntimeError::Network)).await?;
        if self.installation.is_some() {
            legacy::settled(&self.instances_dir);
        }
        *self.whole.lock().unwrap_or_else(PoisonError::into_inner) = set;
        Ok(())
    }

    fn disturbed(&self) -> watch::Receiver<u64> {
        surroundings::follow().unwrap_or_else(|error| {
            tracing::warn!(%error, "the kernel tells of no changes: they are noticed when they are looked for");
            watch::channel(0).1
        })
    }

    async fn inspect(&self, wanted: &Surroundings) -> Result<Vec<Damage>, RuntimeError> {
        let (whole, wanted) = (Arc::clone(&self.whole), wanted.clone());
        let inspect = move || {
            let mut found = surroundings::damages(&wanted, &surroundings::look(&wanted)?);
            let mut whole = whole.lock().unwrap_or_else(PoisonError::into_inner);
            if let (Some(_), Some(whole)) = (&wanted.rules, &mut *whole) {
                found.extend(whole.differs()?.map(Damage::Filter));
            }
            Ok(found)
        };
        blocking(move || rootless::inside(inspect).map_err(RuntimeError::Network)).await
    }

    async fn users_of(&self, address: Ipv4Addr, bits: u8) -> Result<Vec<String>, RuntimeError> {
        let own = self.installation.clone();
        blocking(move || network::users_of(address, bits, own.as_ref()).map_err(RuntimeError::Network)).await
    }

    async fn repair(&self, wanted: &Surroundings, damage: &Damage) -> Result<(), RuntimeError> {
        let (Damage::Link(id)
        | Damage::Down(id)
        | Damage::Address(id)
        | Damage::Route(id, ..)
        | Damage::Setting(id, _)) = damage
        else {
            return self.settle(wanted.rules.as_ref()).await;
        };
        let link = wanted.links.iter().find(|link| link.launch.instance == *id);
        let link = link.ok_or(RuntimeError::NotRunning(*id))?.clone();
        let (dir, damage, forwards) = (self.instances_dir.clone(), damage.clone(), wanted.forwards);
        let repair = move || surroundings::relink(&dir, &link, forwards, &damage);
        blocking(move || rootless::inside(repair).map_err(RuntimeError::Surroundings)).await
    }

    async fn let_forward(&self, links: &[InstanceLink], forwards: bool) {
        let links = links.to_vec();
        let let_forward = move || surroundings::let_forward(&links, forwards);
        let _ = blocking(move || {
            rootless::inside(let_forward);
            Ok(())
        })
        .await;
    }

    async fn remove(&self, instance: InstanceId) -> Result<(), RuntimeError> {
        let (dir, installation) = (self.dir(instance), self.installation.clone());
        blocking(move || remove(&dir, instance, installation.as_ref())).await
    }
}

impl LocalRuntime {
    fn live(&self, launch: Launch, (process, stream): Connected) -> Result<Arc<dyn Handle>, RuntimeError> {
        let (instance, dir) = (launch.instance, self.dir(launch.instance));
        let handle = ShimHandle::live(launch, dir, Arc::clone(&self.shim), process, stream)
            .map_err(|source| RuntimeError::Shim { instance, source })?;
        Ok(Arc::new(handle))
    }

    fn owner(&self) -> Owner {
        Owner {
            installation: self.installation.clone(),
            inherits: legacy::is_inherited(&self.instances_dir),
            memory: self.instances_dir.join("forwarding.json"),
        }
    }

    /// Removes what carries the installation's id and belongs to nothing that is known here.
    async fn tidy(&self) {
        let (Some(own), Ok(known)) = (self.installation.clone(), self.known()) else { return };
        let tidied = blocking(move || Ok(rootless::inside(move || legacy::tidy(&own, &known)))).await;
        if let Ok(Err(error)) = tidied {
            tracing::warn!(%error, "what an earlier run left behind stays");
        }
    }

    fn known(&self) -> Result<Vec<InstanceId>, RuntimeError> {
        let dir = &self.instances_dir;
        let entries = fs::read_dir(dir).map_err(RuntimeError::file("list", dir))?;
        let mut ids: Vec<InstanceId> =
            entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        ids.sort_unstable();
        Ok(ids)
    }
}

async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, RuntimeError> + Send + 'static,
) -> Result<T, RuntimeError> {
    match tokio::task::spawn_blocking(act).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Takes the lock of an instance: then no shim of it lives, and none can be started. It is held until
/// every duplicate of the file is closed, in whatever process.
pub(crate) fn lock(dir: &InstanceDir, patience: Duration) -> io::Result<File> {
    let deadline = Instant::now() + patience;
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(dir.lock())?;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(error) if Instant::now() >= deadline => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// A run that has recorded its end is about to let go of the lock; another one is not.
fn lock_of_ended(dir: &InstanceDir, busy: RuntimeError) -> Result<File, RuntimeError> {
    let patience = if dir.end().exists() { PATIENCE } else { Duration::ZERO };
    match lock(dir, patience) {
        Ok(lock) => Ok(lock),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(busy),
        Err(source) => Err(RuntimeError::File { verb: "lock", path: dir.lock(), source }),
    }
}

/// A shim that lives, and a connection to it.
type Connected = (ShimProcess, UnixStream);

fn start_shim(
    dir: &InstanceDir,
    shim: &Program,
    job: &Job,
    secrets: &Secrets,
) -> Result<Connected, RuntimeError> {
    let instance = job.launch.instance;
    check(&job.launch)?;
    fs::create_dir_all(&dir.0).map_err(RuntimeError::file("make", &dir.0))?;
    let lock = lock_of_ended(dir, RuntimeError::AlreadyRunning(instance))?;
    clean(dir, instance)?;
    fs::create_dir_all(&job.launch.log_dir).map_err(RuntimeError::file("make", &job.launch.log_dir))?;
    InstanceDir::write(&dir.job(), job).map_err(RuntimeError::file("write", dir.job()))?;
    let listener = at_short_path(&dir.socket(), |path| UnixListener::bind(path))
        .map_err(RuntimeError::file("listen on", dir.socket()))?;
    fs::set_permissions(dir.socket(), Permissions::from_mode(0o600))
        .map_err(RuntimeError::file("protect", dir.socket()))?;
    let log = File::create(dir.shim_log()).map_err(RuntimeError::file("make", dir.shim_log()))?;
    let memory = (!secrets.is_empty()).then(|| secrets.to_memory()).transpose();
    let memory = memory.map_err(|source| RuntimeError::Shim { instance, source })?;
    let process = spawn(shim, dir, listener.into(), lock.into(), log.into(), memory)?;
    let stream = connect(dir).map_err(|source| RuntimeError::Shim { instance, source })?;
    Ok((process, stream))
}

/// What the types of a launch do not rule out.
fn check(launch: &Launch) -> Result<(), RuntimeError> {
    let bad =
        |reason: &str| Err(RuntimeError::BadLaunch { instance: launch.instance, reason: reason.into() });
    let texts = launch.args.iter().chain(launch.env.iter().flat_map(|(key, value)| [key, value]));
    if launch.args.first().is_none_or(String::is_empty) {
        bad("it has no command: name one in the manifest, or use an image that has one")
    } else if launch.hostname.len() > 64 {
        bad("its host name is longer than the 64 characters that Linux takes")
    } else if launch.layers.is_empty() {
        bad("its image has no layers, so there is nothing to run")
    } else if texts.chain([&launch.hostname, &launch.workdir]).any(|text| text.contains('\0')) {
        bad("its command or environment holds a zero byte, which no program can be given")
    } else if let Some((name, _)) = launch.env.iter().find(|(name, _)| name.is_empty() || name.contains('='))
    {
        bad(&format!(
            "its environment has an entry without a proper name, `{name}=…`: \
             see `env` of the manifest and ENV of the image"
        ))
    } else {
        Ok(())
    }
}

/// The shim is a child of this process only until either ends: nothing here ties it to us.
fn spawn(
    shim: &Program,
    dir: &InstanceDir,
    listener: OwnedFd,
    lock: OwnedFd,
    log: OwnedFd,
    secrets: Option<OwnedFd>,
) -> Result<ShimProcess, RuntimeError> {
    let number = secrets.as_ref().map(AsRawFd::as_raw_fd);
    let said = number.map(|number| [shim::SECRETS.to_owned(), number.to_string()]);
    let mut command = shim.command(said.as_ref().map_or(&[], |said| said), &dir.0);
    if let Some(number) = number {
        // SAFETY: fcntl(2) is async-signal-safe. It keeps the descriptor open in this child alone: every
        // other process that is started meanwhile loses it.
        unsafe {
            command.pre_exec(move || {
                let memory = BorrowedFd::borrow_raw(number);
                Ok(rustix::io::fcntl_setfd(memory, rustix::io::FdFlags::empty())?)
            });
        }
    }
    command.stdin(listener).stdout(lock).stderr(log);
    let failed = |source| RuntimeError::Spawn { program: shim.name().to_owned(), source };
    let mut child = command.spawn().map_err(failed)?;
    let process = ShimProcess::child(child.id().unwrap_or_default()).map_err(failed)?;
    tokio::spawn(async move { child.wait().await });
    Ok(process)
}

/// Connects to the shim of an instance.
pub(crate) fn connect(dir: &InstanceDir) -> io::Result<UnixStream> {
    at_short_path(&dir.socket(), |path| UnixStream::connect(path))
}

/// Socket addresses hold at most 107 bytes, data directories may be deeper: names the directory by a
/// descriptor of it.
fn at_short_path<T>(path: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = File::open(parent)?;
    act(&Path::new("/proc/self/fd").join(parent.as_raw_fd().to_string()).join(name))
}

enum Found {
    Live(Launch, Connected),
    Ended(Launch, crate::wire::End),
}

/// What is in an instance's directory; `None` when nothing was ever started from it.
fn find(
    dir: &InstanceDir,
    instance: InstanceId,
    installation: Option<&Installation>,
) -> Result<Option<Found>, RuntimeError> {
    let Ok(Job { launch, .. }) = InstanceDir::read::<Job>(&dir.job()) else { return Ok(None) };
    // Recorded when nothing runs any more, even if its shim is still about to go.
    if let Ok(end) = InstanceDir::read(&dir.end()) {
        return Ok(Some(Found::Ended(launch, end)));
    }
    match lock(dir, Duration::ZERO) {
        Ok(lock) => {
            drop(lock);
            Ok(Some(Found::Ended(launch, end_of_lost(dir, instance, true))))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            match (ShimProcess::find(dir), connect(dir)) {
                (Some(process), Ok(stream)) => {
                    let launch = legacy::renamed(dir, launch, installation);
                    Ok(Some(Found::Live(launch, (process, stream))))
                }
                _ => Ok(Some(Found::Ended(launch, end_of_lost(dir, instance, true)))),
            }
        }
        Err(source) => Err(RuntimeError::File { verb: "lock", path: dir.lock(), source }),
    }
}

fn remove(
    dir: &InstanceDir,
    instance: InstanceId,
    installation: Option<&Installation>,
) -> Result<(), RuntimeError> {
    if !dir.0.exists() {
        return Ok(());
    }
    let _lock = lock_of_ended(dir, RuntimeError::StillRunning(instance))?;
    clean(dir, instance)?;
    freehold_tree::remove(&dir.0).map_err(RuntimeError::file("remove", &dir.0))?;
    Cgroup::remove_shared(installation);
    Ok(())
}

/// Removes what an earlier run left. The caller holds the lock.
fn clean(dir: &InstanceDir, instance: InstanceId) -> Result<(), RuntimeError> {
    let cleanup = |source| RuntimeError::Cleanup { instance, source };
    first::kill(dir, instance, PATIENCE)
        .and_then(|()| Cgroup::of(instance).remove(PATIENCE))
        .map_err(cleanup)?;
    if let Ok(Job { launch, .. }) = InstanceDir::read::<Job>(&dir.job()) {
        let unlink = move || Netlink::open()?.delete_link(&launch.link());
        rootless::inside(unlink).map_err(cleanup)?;
    }
    for entry in fs::read_dir(&dir.0).map_err(RuntimeError::file("list", &dir.0))?.flatten() {
        let path = entry.path();
        // The lock goes last, with the directory: who finds it gone finds nothing else either.
        if path == dir.lock() {
            continue;
        }
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let removed = if is_dir { quota::remove(&path) } else { fs::remove_file(&path) };
        removed.map_err(RuntimeError::file("remove", path))?;
    }
    Ok(())
}
