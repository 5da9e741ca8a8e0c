//! An instance: one container or process on one node. Its parent is an env.
//!
//! Its address holds the claim `("address", <address>)`, so no two instances share one. The control
//! plane writes the spec; only the instance's node writes the status.

use super::{Keeping, kind};
use crate::{
    Bytes, Digest, Millicores, Millis, Name, PinnedSecret, Placed, Resource, Rules,
    id::{NodeId, ReleaseId, VolumeId},
    manifest::{Check, Driver, Egress, default_disk, default_pids, is_default_disk, is_default_pids},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::Ipv4Addr};

/// An instance.
pub type Instance = Resource<InstanceSpec>;

/// Wanted of an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct InstanceSpec {
    /// The node that runs it.
    #[schema(value_type = String)]
    pub node: NodeId,
    /// The process of the manifest.
    pub process: Name,
    /// The newest release that it belongs to: a release whose template is equal adopts it.
    #[schema(value_type = String)]
    pub release: ReleaseId,
    /// What it is made of.
    pub template: Template,
    /// The hash of `template`: instances of equal hash are interchangeable.
    pub template_hash: Digest,
    /// The volume behind each of the template's mounts, by the manifest's name for it. It holds the claim
    /// on each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    pub volumes: BTreeMap<Name, VolumeId>,
    /// Its own address, reachable from its node.
    #[schema(value_type = String)]
    pub address: Ipv4Addr,
    /// Whether it should run.
    pub desired: Desired,
    /// Whether endpoints give it new connections (when it is healthy).
    pub serving: bool,
    /// The processes of its env that it starts after and stops before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Name>,
    /// How it came to its node.
    #[serde(default, skip_serializing_if = "Placed::is_default")]
    pub placed: Placed,
}

/// Whether an instance should run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Desired {
    /// It should run, and be restarted when it ends.
    Running,
    /// It should be stopped and everything of it removed from the node, logs aside.
    Stopped,
}

/// What instances of a process are made of: all that decides whether an instance must be replaced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Template {
    /// The image.
    pub image: ImageRef,
    /// How it is isolated.
    pub driver: Driver,
    /// Replaces the image's entrypoint and command when given.
    #[serde(default)]
    pub command: Option<Vec<String>>,
    /// Replaces the image's command and keeps its entrypoint; never beside `command`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// Environment variables beside the image's own.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Versions of secrets, and where each is found inside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<PinnedSecret>,
    /// At most this much processor time.
    pub cpu: Millicores,
    /// At most this much memory.
    pub memory: Bytes,
    /// At most so many processes and threads.
    #[serde(default = "default_pids", skip_serializing_if = "is_default_pids")]
    pub pids: u32,
    /// At most so much is written outside of volumes.
    #[serde(default = "default_disk", skip_serializing_if = "is_default_disk")]
    pub disk: Bytes,
    /// Where it may connect to, outside its env.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub egress: Vec<Egress>,
    /// How to see that it is healthy. `None`: healthy once it has run for a second.
    #[serde(default)]
    pub check: Option<Check>,
    /// How long after SIGTERM (or the image's stop signal) comes SIGKILL.
    pub stop_timeout: Millis,
    /// Where it finds its volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Where it may run, and where it would rather.
    #[serde(default, skip_serializing_if = "Rules::is_default")]
    pub rules: Rules,
    /// Counts forced restarts (`deploy --restart`): another number, another template.
    #[serde(default)]
    pub revision: u32,
}

impl Template {
    /// Instances of equal hash are interchangeable.
    pub fn hash(&self) -> Digest {
        Digest::of_json(self)
    }
}

/// A volume at a path of the instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Mount {
    /// What the manifest calls the volume.
    pub volume: Name,
    /// Where the instance finds it.
    pub path: String,
}

/// An image by the reference that was asked for and the digest it meant then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ImageRef {
    /// As in the manifest: `guestbook:1`, `docker.io/library/nginx:1.27`.
    pub reference: String,
    /// The digest of the manifest for this platform.
    pub digest: Digest,
}

/// Observed of an instance, by its node.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct InstanceStatus {
    /// How far it is.
    pub phase: Phase,
    /// Whether it passes its check.
    pub healthy: bool,
    /// The digest of the image that was unpacked and started.
    pub image: Option<Digest>,
    /// When the current run began.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started: Option<Timestamp>,
    /// How often it ended and was started again.
    pub restarts: u32,
    /// How the last run ended.
    pub last_exit: Option<Exit>,
    /// How often it ended or could not be started in a row, without a minute of health in between.
    #[serde(skip_serializing_if = "is_none")]
    pub failures: u32,
    /// Why it is not running or not healthy, for people.
    pub message: Option<String>,
    /// What the present run has written outside of its volumes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskUse>,
    /// How many of its processes the kernel killed for want of memory in the present run, which went on.
    #[serde(skip_serializing_if = "is_zero")]
    pub oom_kills: u64,
    /// What its check said last, as of this report: the newest at the end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<CheckAnswer>,
    /// The last lines it printed; kept up only while it is not healthy.
    pub log_tail: Vec<String>,
}

/// What a check said once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CheckAnswer {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Whether it passed.
    pub passed: bool,
    /// In words: `GET / answered 200`.
    pub said: String,
}

fn is_none(count: &u32) -> bool {
    *count == 0
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The phases of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The node has not begun.
    #[default]
    Pending,
    /// The node fetches the image.
    Pulling,
    /// The process runs.
    Running,
    /// It ended; the node waits before it starts it again.
    Backoff,
    /// It cannot be started at all: no such image or command. The node tries again, rarely.
    Failed,
    /// It was told to stop.
    Stopping,
    /// It is gone from the node; the resource can go too.
    Stopped,
}

/// What an instance has written outside of its volumes: its writable layer, which goes with the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DiskUse {
    /// So much, as the disk counts it, when it was looked at last.
    pub written: Bytes,
    /// It may write so much.
    pub limit: Bytes,
    /// Whether the file system gives it no more, or it is stopped when it was seen to have more.
    pub keeping: Keeping,
}

impl std::fmt::Display for DiskUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (written, limit) = (self.written.rounded(), self.limit);
        write!(f, "wrote {written} outside of its volumes; its limit is {limit} (`disk`)")
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Exit {
    /// The exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether the kernel killed it for want of memory.
    #[serde(default)]
    pub oom: bool,
    /// It was stopped because it wrote more than its limit outside of volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskUse>,
    /// It was stopped because it had not passed its check for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub unhealthy: Option<Millis>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(disk) = &self.disk {
            return write!(f, "was stopped: it {disk}");
        }
        if let Some(time) = self.unhealthy {
            return write!(f, "was stopped: it had not passed its check for {time} (`restart_after`)");
        }
        match (self.oom, self.code, self.signal) {
            (true, ..) => f.write_str("was killed: it used more memory than its limit"),
            (_, Some(code), _) => write!(f, "exited with code {code}"),
            (_, None, Some(signal)) => write!(f, "was ended by signal {signal}"),
            (_, None, None) => f.write_str("ended, nobody saw how"),
        }
    }
}

kind!(InstanceSpec, InstanceStatus, InstanceId, Instance);
