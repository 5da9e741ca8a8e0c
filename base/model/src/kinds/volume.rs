//! A volume: a directory of one node that outlives the instances that have it. Its parent is a project, so
//! it is kept when its app goes; its name is `app/env/name`, so the next deploy of that app finds it again.
//!
//! Who has it holds the claim `("volume", <volume id>)`: an instance from its making until it is gone from
//! its node, or the volume itself from the moment its deletion is asked for. So there is one writer at most.
//! The control plane writes the spec; only the volume's node writes the status.

use super::kind;
use crate::{
    Bytes, Condition, Name, Resource,
    id::{NodeId, VolumeId},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Bytes that outlive instances.
pub type Volume = Resource<VolumeSpec>;

/// Wanted of a volume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct VolumeSpec {
    /// The app whose instances have it.
    pub app: Name,
    /// The env of that app.
    pub env: Name,
    /// What the manifest calls it.
    pub volume: Name,
    /// The node that its bytes are on.
    #[schema(value_type = String)]
    pub node: NodeId,
    /// How much it may hold.
    pub size: Bytes,
    /// What it was copied from, at first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// What its node was last asked to do with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<VolumeTask>,
    /// The loss (of the status) after which somebody had it made anew, empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recreate: Option<String>,
}

impl VolumeSpec {
    /// How much it may hold when nothing is said; the manifest has the same default.
    pub const DEFAULT_SIZE: Bytes = Bytes(10 << 30);

    /// `app/env/name`.
    pub fn name(app: &str, env: &str, volume: &str) -> String {
        format!("{app}/{env}/{volume}")
    }
}

/// Bytes to begin with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Source {
    /// The volume, on the same node.
    #[schema(value_type = String)]
    pub volume: VolumeId,
    /// Its snapshot; as it is at that moment when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Name>,
}

/// Something that the node does once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct VolumeTask {
    /// Names this request; the status says which was done.
    pub id: String,
    /// What to do.
    pub action: VolumeAction,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub asked: Timestamp,
    /// Somebody called it off: the node ends it, unless it is too late.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancelled: bool,
}

/// What a node can do with a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VolumeAction {
    /// Keep its bytes as they are, under a name.
    Snapshot(Name),
    /// Make its bytes those of a snapshot. The instance that has it is stopped meanwhile.
    Restore(Name),
    /// Remove a snapshot.
    Drop(Name),
}

impl std::fmt::Display for VolumeAction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            VolumeAction::Snapshot(name) => write!(f, "snapshot {name}"),
            VolumeAction::Restore(name) => write!(f, "restore of {name}"),
            VolumeAction::Drop(name) => write!(f, "removal of snapshot {name}"),
        }
    }
}

/// Observed of a volume, by its node.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct VolumeStatus {
    /// Whether its bytes are there: false until it is made, or copied from its source.
    pub ready: bool,
    /// It was there before, and its node does not find it; names this loss. It is made anew only if somebody
    /// says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
    /// What it holds now, as the disk counts it.
    pub used: Bytes,
    /// Whether its size is enforced, or watched only.
    pub keeping: Keeping,
    /// Why its size is not enforced.
    pub keeping_reason: Option<String>,
    /// Its snapshots, the oldest first.
    pub snapshots: Vec<Snapshot>,
    /// How the last task is getting on.
    pub task: Option<TaskStatus>,
    /// `Ready`, and `WithinSize`.
    pub conditions: Vec<Condition>,
}

/// How a volume's size is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Keeping {
    /// What it holds is measured from time to time; what is too much is told, and not stopped.
    #[default]
    Watched,
    /// The file system gives it no more: writing fails with "no space left on device" or "quota exceeded".
    Enforced,
}

impl std::fmt::Display for Keeping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Keeping::Watched => "watched",
            Keeping::Enforced => "enforced",
        })
    }
}

/// Bytes of a volume as they were at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Snapshot {
    /// Its name, unique within the volume.
    pub name: Name,
    /// When it was taken.
    #[schema(value_type = String, format = DateTime)]
    pub taken: Timestamp,
    /// What it holds. A file system that shares blocks keeps what is equal once.
    pub size: Bytes,
}

/// How a task is getting on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TaskStatus {
    /// Of which request.
    pub id: String,
    /// How far it is.
    pub state: TaskState,
    /// What is being done, what was done, or why it failed.
    pub message: String,
}

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// The node is at it; the message says at what, or for what it waits.
    Running,
    /// It was done.
    Done,
    /// It could not be done; the volume is as before.
    Failed,
}

kind!(VolumeSpec, VolumeStatus, VolumeId, Volume);
