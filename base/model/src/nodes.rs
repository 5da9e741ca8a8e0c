//! What people do to nodes, and how far a drain is.

use crate::{LabelKey, ReceiptId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A change of what is wanted of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case", tag = "action", deny_unknown_fields)]
pub enum NodeChange {
    /// It takes no new instances; what runs stays.
    Cordon {},
    /// It takes instances again, and is not drained any further.
    Uncordon {},
    /// It is cordoned, and its instances move to other nodes, new before old, one env at a time.
    Drain {
        /// Instances that cannot move, for their volumes are there, are stopped. No volume is deleted.
        #[serde(default)]
        force: bool,
    },
    /// Its labels.
    Label {
        /// These are set.
        #[serde(default)]
        #[schema(value_type = Object)]
        set: BTreeMap<LabelKey, String>,
        /// These go.
        #[serde(default)]
        #[schema(value_type = Vec<String>)]
        remove: BTreeSet<LabelKey>,
    },
    /// Its taints.
    Taint {
        /// These are added.
        #[serde(default)]
        #[schema(value_type = Vec<String>)]
        add: BTreeSet<LabelKey>,
        /// These go.
        #[serde(default)]
        #[schema(value_type = Vec<String>)]
        remove: BTreeSet<LabelKey>,
    },
}

impl NodeChange {
    /// What happens to the node: `cordon`, `label`.
    pub fn verb(&self) -> &'static str {
        match self {
            NodeChange::Cordon {} => "cordon",
            NodeChange::Uncordon {} => "uncordon",
            NodeChange::Drain { .. } => "drain",
            NodeChange::Label { .. } => "label",
            NodeChange::Taint { .. } => "taint",
        }
    }
}

/// How far the drain of a node is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeDrain {
    /// Since when it is being drained; `None`: it is not.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// How many instances are still there.
    pub instances: u32,
    /// Whether none is there any more.
    pub drained: bool,
    /// The env that moves now.
    pub moving: Option<Moving>,
    /// What does not move, and why.
    pub stuck: Vec<Stuck>,
}

/// An env that moves its instances off a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Moving {
    /// `app/env`.
    pub env: String,
    /// The evidence of the move.
    #[schema(value_type = String)]
    pub receipt: ReceiptId,
    /// What it is at.
    pub step: String,
}

/// An env whose instances stay on a node that is being drained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Stuck {
    /// `app/env`.
    pub env: String,
    /// How many.
    pub instances: u32,
    /// Why.
    pub why: String,
    /// Whether waiting may help.
    pub waits: bool,
}
