//! A node: a machine that runs instances.

use super::kind;
use crate::{Bytes, Condition, Millicores, Resource, manifest::Driver};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A node.
pub type Node = Resource<NodeSpec>;

/// Wanted of a node.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct NodeSpec {
    /// Takes no new instances.
    pub cordoned: bool,
}

/// Observed of a node, by its agent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct NodeStatus {
    /// What it has to give.
    pub capacity: Capacity,
    /// The drivers that work on it.
    pub drivers: Vec<Driver>,
    /// The version of Freehold it runs.
    pub version: String,
    /// When its agent last started.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started: Option<Timestamp>,
    /// Its endpoints can listen from this port on; 0: on any.
    pub lowest_port: u16,
    /// Ready, and what else is known.
    pub conditions: Vec<Condition>,
}

impl NodeStatus {
    /// The condition of a node whose instances cannot reach anything outside: false, with the reason.
    pub const EGRESS: &str = "Egress";

    /// The condition of a node whose disk has too little room: false, with how much there is.
    pub const DISK: &str = "Disk";

    /// Why instances on it cannot reach anything outside, if they cannot.
    pub fn closed(&self) -> Option<&str> {
        let closed = |condition: &&Condition| condition.kind == Self::EGRESS && !condition.state;
        self.conditions.iter().find(closed).map(|condition| condition.message.as_str())
    }
}

/// What a node has to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Capacity {
    /// Processor time.
    pub cpu: Millicores,
    /// Memory.
    pub memory: Bytes,
}

kind!(NodeSpec, NodeStatus, NodeId, Node);
