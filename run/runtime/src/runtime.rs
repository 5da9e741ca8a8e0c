//! The contract between whoever keeps instances running (the node agent) and what runs them.

use crate::{
    Damage, ExecSession, InstanceLink, Launch, Lost, RuntimeError, Secrets, Surroundings,
    network::{InstanceNetwork, Neighbourhood},
};
use async_trait::async_trait;
use freehold_model::{Bytes, Exit, InstanceId, Keeping, exec::ExecRequest};
use jiff::Timestamp;
use std::{net::Ipv4Addr, path::PathBuf, sync::Arc};
use tokio::sync::watch;

/// Runs instances of one node.
#[async_trait]
pub trait Runtime: Send + Sync {
    /// Starts a run and answers as soon as its shim lives; [`Handle::state`] says how it goes on.
    /// The instance starts with a fresh file system, whatever an earlier run wrote.
    ///
    /// # Errors
    /// [`RuntimeError::AlreadyRunning`] when it runs.
    async fn start(&self, launch: &Launch) -> Result<Arc<dyn Handle>, RuntimeError> {
        self.start_with(launch, &Secrets::none()).await
    }

    /// The same, with secrets. They are kept in memory alone, for as long as the instance runs.
    ///
    /// # Errors
    /// [`RuntimeError::AlreadyRunning`] when it runs.
    async fn start_with(&self, launch: &Launch, secrets: &Secrets) -> Result<Arc<dyn Handle>, RuntimeError>;

    /// Finds every instance that this node has ever started and not removed, running or ended. What
    /// lost its shim is killed and counts as ended.
    ///
    /// # Errors
    /// When the directory of instances cannot be read.
    async fn adopt(&self) -> Result<Vec<(Launch, Arc<dyn Handle>)>, RuntimeError>;

    /// Makes the node's rules about its instances' network so. `None`: as before there were instances.
    ///
    /// # Errors
    /// When the node's packet filter refuses; then the rules are as before.
    async fn settle(&self, wanted: Option<&Neighbourhood>) -> Result<(), RuntimeError>;

    /// Changes whenever the kernel tells of a change in what surrounds instances. A hint, and not the only
    /// way to notice.
    fn disturbed(&self) -> watch::Receiver<u64>;

    /// What of `wanted` is not as it was made.
    ///
    /// # Errors
    /// When the kernel does not say.
    async fn inspect(&self, wanted: &Surroundings) -> Result<Vec<Damage>, RuntimeError>;

    /// Who else on the node uses the network of `bits` bits that `address` is in, in words.
    ///
    /// # Errors
    /// When the kernel does not say.
    async fn users_of(&self, address: Ipv4Addr, bits: u8) -> Result<Vec<String>, RuntimeError>;

    /// Puts one thing back. The packet filter, and forwarding, are put back by [`Runtime::settle`].
    ///
    /// # Errors
    /// When the kernel refuses, or the instance is about to end.
    async fn repair(&self, wanted: &Surroundings, damage: &Damage) -> Result<(), RuntimeError>;

    /// Lets packets of these instances be forwarded to others, or not.
    async fn let_forward(&self, links: &[InstanceLink], forwards: bool);

    /// Removes what an ended instance left, its log aside. Removing what is not there succeeds.
    ///
    /// # Errors
    /// [`RuntimeError::StillRunning`] when it runs.
    async fn remove(&self, instance: InstanceId) -> Result<(), RuntimeError>;
}

/// One run of one instance.
#[async_trait]
pub trait Handle: Send + Sync {
    /// Which instance.
    fn instance(&self) -> InstanceId;

    /// Where it can be reached from this node.
    fn address(&self) -> Ipv4Addr;

    /// How far it is, now and from now on. Ends in `Exited` or `StartFailed`, never leaves those.
    fn state(&self) -> watch::Receiver<RunState>;

    /// What it writes outside of its volumes, as the node finds it; `None` where that is nowhere on a disk.
    fn layer(&self) -> Option<Layer>;

    /// What its processes hold of that layer in files that have no name any more, in bytes on the disk. Reads
    /// `/proc`: slow where there is much to read.
    fn unlinked(&self) -> u64;

    /// How often the kernel killed one of its processes for want of memory, in this run.
    fn oom_kills(&self) -> u64;

    /// What it had when it was asked about first, and has no more, and cannot be given while it runs.
    fn lost(&self) -> Option<Lost> {
        None
    }

    /// The way into its network. Waits while it starts.
    ///
    /// # Errors
    /// [`RuntimeError::NotRunning`] when it does not run, or shares the node's network.
    async fn network(&self) -> Result<Arc<InstanceNetwork>, RuntimeError>;

    /// Sends a signal, by number, to its first process; while it starts, as soon as there is one.
    /// As everywhere, the first process of a container ignores what it has no handler for, save SIGKILL.
    ///
    /// # Errors
    /// [`RuntimeError::NotRunning`] when it is over.
    async fn signal(&self, signal: i32) -> Result<(), RuntimeError>;

    /// Runs one more command beside its processes: same file system, limits, user and rights. Waits
    /// while it starts.
    ///
    /// # Errors
    /// [`RuntimeError::NotRunning`] when it does not run.
    async fn exec(&self, request: &ExecRequest) -> Result<ExecSession, RuntimeError>;
}

/// The writable layer of a run: what it changed of its image's files, and what it added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Where it is.
    pub dir: PathBuf,
    /// It may hold so much; zero means no limit.
    pub limit: Bytes,
    /// Whether the file system gives it no more.
    pub keeping: Keeping,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq)]
pub enum RunState {
    /// The shim prepares it.
    Starting,
    /// Its first process runs.
    Running {
        /// The first process, as the node counts.
        pid: i32,
        /// Since when.
        since: Timestamp,
    },
    /// It ended, and nothing of it runs any more.
    Exited(Exit),
    /// It never ran: no such command, no right to make namespaces, no room.
    StartFailed {
        /// Why, for people.
        message: String,
    },
}

impl RunState {
    /// Whether nothing of it runs any more.
    pub fn is_over(&self) -> bool {
        matches!(self, RunState::Exited(_) | RunState::StartFailed { .. })
    }
}
