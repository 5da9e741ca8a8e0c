//! Control planes as people see them: who lives, where, and what each leads.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a control plane says of itself in the note of its leases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Where its API answers.
    pub url: String,
    /// Its version.
    pub version: String,
    /// Whether a node runs in the same process.
    pub node: bool,
    /// Where it answers machines that joined, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_url: Option<String>,
}

impl Presence {
    /// The lease that says that the control plane called `name` lives.
    pub fn lease(name: &str) -> String {
        format!("control/{name}")
    }

    /// The control plane of such a lease.
    pub fn of(lease: &str) -> Option<&str> {
        lease.strip_prefix("control/")
    }
}

/// Every control plane of a house.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ControlPlanes {
    /// In order of names.
    pub items: Vec<ControlPlane>,
}

/// One control plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ControlPlane {
    /// Its name, kept in its data directory.
    pub name: String,
    /// Where its API answers, as it says itself.
    pub url: String,
    /// Its version.
    pub version: String,
    /// Whether a node runs in the same process.
    pub node: bool,
    /// Where it answers nodes, gateways and devices, as it says itself; nowhere if it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_url: Option<String>,
    /// Whether it stopped, or nothing was heard of it for the length of a lease.
    pub state: ControlState,
    /// Since when it runs; since when it is stopped, if it is.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Whether it is the one that was asked.
    pub answers: bool,
    /// What it leads.
    pub leads: Vec<Led>,
}

/// Whether a control plane lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ControlState {
    /// It renews its leases.
    Live,
    /// It holds leases and does not renew them: dead, stopped in its tracks, or cut off.
    Silent,
    /// It gave its leases back.
    Stopped,
}

/// A reconciler that a control plane leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Led {
    /// The reconciler.
    pub lease: String,
    /// The lease's version: the fencing token of its commits.
    pub version: u64,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}
