//! A node: a machine that runs instances.

use super::kind;
use crate::{Bytes, Condition, LabelKey, Millicores, Resource, manifest::Driver};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A node.
pub type Node = Resource<NodeSpec>;

/// Wanted of a node.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct NodeSpec {
    /// Takes no new instances.
    pub cordoned: bool,
    /// What keeps instances away that do not tolerate it: `hardware/gpu`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub taints: BTreeSet<LabelKey>,
    /// Since when it is to be emptied; it is cordoned too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub draining: Option<Timestamp>,
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
    /// Its agent is a process of its own, which dials the control plane and sends heartbeats.
    pub remote: bool,
    /// The control planes that hear it, by name: while there is one, it is not lost.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub heard_by: BTreeSet<String>,
    /// Ready, and what else is known.
    pub conditions: Vec<Condition>,
}

impl NodeStatus {
    /// The condition of a node whose instances cannot reach anything outside: false, with the reason.
    pub const EGRESS: &str = "Egress";

    /// The condition of a node whose disk has too little room: false, with how much there is.
    pub const DISK: &str = "Disk";

    /// The condition of a node that keeps its instances apart: false while its packet filter is not as it was
    /// set, with what is wrong. Nothing starts there meanwhile.
    pub const ISOLATION: &str = "Isolation";

    /// The condition of a node whose instances have their links, addresses and routes: false, with what others took
    /// away and it cannot put back.
    pub const NETWORK: &str = "Network";

    /// The condition of a node on which nobody else uses the range of instances' addresses: false, with who does.
    pub const RANGE: &str = "Range";

    /// The condition of a node that answers: false while nothing is heard of it, since then.
    pub const READY: &str = "Ready";

    /// Since when nothing has been heard of it; `None`: it answers.
    pub fn away(&self) -> Option<Timestamp> {
        let away = |condition: &&Condition| condition.kind == Self::READY && !condition.state;
        self.conditions.iter().find(away).map(|condition| condition.since)
    }

    /// Whether its agent has ever said what it is: one that an inventory brought along, and that has not joined
    /// yet, has not.
    pub fn has_registered(&self) -> bool {
        self.started.is_some() || !self.drivers.is_empty()
    }

    /// What keeps it from being trusted with instances, or will soon: the conditions that do not hold, with why.
    pub fn warnings(&self) -> impl Iterator<Item = &Condition> {
        let told = [Self::DISK, Self::ISOLATION, Self::RANGE, Self::NETWORK];
        self.conditions.iter().filter(move |it| !it.state && told.contains(&it.kind.as_str()))
    }

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
