//! What to run, and where the files of a run are. Written by the agent's side as `launch.json`, read by
//! the shim and again by whoever adopts.

use crate::{
    installation::{self, Installation},
    volume::VolumeMount,
};
use freehold_model::{
    Bytes, Digest, InstanceId, Millicores, Name,
    manifest::{Driver, Egress},
};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

/// Everything that a driver needs to know to run one instance once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Launch {
    /// Which instance.
    pub instance: InstanceId,
    /// The process of the manifest.
    pub process: Name,
    /// Its host name.
    pub hostname: String,
    /// How it is isolated.
    pub driver: Driver,
    /// Unpacked layers of its image, lowest first; at least one. They are never written to.
    pub layers: Vec<PathBuf>,
    /// Program and arguments; at least one. A program without `/` is looked up in `PATH`.
    pub args: Vec<String>,
    /// All environment variables. `PATH` and `HOME` are added when missing.
    pub env: Vec<(String, String)>,
    /// The working directory; made when missing. Empty means `/`.
    pub workdir: String,
    /// `user`, `uid`, `user:group` or `uid:gid` as image configurations write it. `None`: root.
    pub user: Option<String>,
    /// At most this much processor time. Zero means no limit.
    pub cpu: Millicores,
    /// At most this much memory, swap included. Zero means no limit.
    pub memory: Bytes,
    /// At most so many processes and threads.
    #[serde(default = "Launch::default_pids")]
    pub pids: u32,
    /// At most so much is written outside of volumes. Zero means no limit: so runs of earlier versions go on.
    #[serde(default)]
    pub disk: Bytes,
    /// Its own address, reachable from this node only.
    pub address: Ipv4Addr,
    /// The node's address on the instance's link.
    pub gateway: Ipv4Addr,
    /// How many bits of the gateway's address are those of all instances.
    #[serde(default = "Launch::default_bits")]
    pub network_bits: u8,
    /// Where it may connect to, outside its env.
    #[serde(default)]
    pub egress: Vec<Egress>,
    /// The image that the layers are of; reported, not used.
    pub image: Digest,
    /// The signal that asks it to stop.
    pub stop_signal: i32,
    /// The volumes that it has.
    #[serde(default)]
    pub volumes: Vec<VolumeMount>,
    /// Where its log goes; kept when the instance is removed.
    pub log_dir: PathBuf,
    /// Whose it is. `None`: an earlier version started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installation: Option<Installation>,
}

impl Launch {
    /// What a run that was started by an earlier version has.
    fn default_pids() -> u32 {
        freehold_model::manifest::DEFAULT_PIDS
    }

    fn default_bits() -> u8 {
        16
    }

    /// Its link, on the node's side.
    pub(crate) fn link(&self) -> String {
        installation::link(self.installation.as_ref(), self.instance)
    }

    /// Where it can be reached: a process without isolation shares the node's own addresses.
    pub fn reachable_at(&self) -> Ipv4Addr {
        match self.driver {
            Driver::Container => self.address,
            Driver::Process => Ipv4Addr::LOCALHOST,
        }
    }
}

/// How much log is kept of one instance: `files` files of `file_bytes` each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLimits {
    /// A file that reached this size is followed by another.
    pub file_bytes: u64,
    /// So many are kept; at least one.
    pub files: u32,
}

impl Default for LogLimits {
    fn default() -> Self {
        LogLimits { file_bytes: 8 << 20, files: 8 }
    }
}

/// The content of `launch.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) launch: Launch,
    pub(crate) logs: LogLimits,
    /// Whether the shim holds secrets, which an exec helper asks it for.
    #[serde(default)]
    pub(crate) has_secrets: bool,
    /// Whether an ordinary user runs it, in a user namespace.
    #[serde(default)]
    pub(crate) rootless: bool,
}

/// The directory of one instance, by the names of what is in it.
#[derive(Debug, Clone)]
pub(crate) struct InstanceDir(pub(crate) PathBuf);

impl InstanceDir {
    pub(crate) fn new(instances: &Path, instance: InstanceId) -> InstanceDir {
        InstanceDir(instances.join(instance.to_string()))
    }

    /// Held (flock) for as long as a shim lives: an instance never runs twice.
    pub(crate) fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    pub(crate) fn job(&self) -> PathBuf {
        self.0.join("launch.json")
    }

    /// How the last run ended; written once, when nothing of it is left.
    pub(crate) fn end(&self) -> PathBuf {
        self.0.join("exit.json")
    }

    /// The first process of a container without root.
    pub(crate) fn first(&self) -> PathBuf {
        self.0.join("first.json")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join("shim.sock")
    }

    /// What the shim itself says on standard error: nothing, when all is well.
    pub(crate) fn shim_log(&self) -> PathBuf {
        self.0.join("shim.log")
    }

    /// Where the shim, and only the shim, sees the root file system.
    pub(crate) fn root(&self) -> PathBuf {
        self.0.join("merged")
    }

    /// What instances write outside of volumes: overlayfs's `upper` and `work`, which must be on one file
    /// system, in one subvolume and in one project.
    pub(crate) fn layer(&self) -> PathBuf {
        self.0.join("layer")
    }

    /// Says that the file system keeps the layer to its limit.
    pub(crate) fn enforced(&self) -> PathBuf {
        self.0.join("enforced")
    }

    pub(crate) fn read<T: serde::de::DeserializeOwned>(path: &Path) -> io::Result<T> {
        Ok(serde_json::from_slice(&fs::read(path)?)?)
    }

    /// Writes `value` so that a reader sees all of it or nothing. A power cut may lose it, or leave an
    /// empty file: then nothing runs, and what cannot be read counts as not there.
    pub(crate) fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
        let new = path.with_extension("new");
        fs::write(&new, serde_json::to_vec(value)?)?;
        fs::rename(&new, path)
    }
}
