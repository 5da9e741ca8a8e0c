//! A rollout: the move of an env from one release to another. Its parent is an env.
//!
//! While it is active it holds the claim `("rollout", <env id>)`, so an env has at most one.

use super::kind;
use crate::{
    Actor, Resource,
    id::{NodeId, ReceiptId, ReleaseId},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A rollout.
pub type Rollout = Resource<RolloutSpec>;

/// Wanted of a rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RolloutSpec {
    /// Where to.
    #[schema(value_type = String)]
    pub release: ReleaseId,
    /// Where from, to be restored on failure; `None` for the first.
    #[schema(value_type = Option<String>)]
    pub previous: Option<ReleaseId>,
    /// The evidence it writes.
    #[schema(value_type = String)]
    pub receipt: ReceiptId,
    /// When it fails, if it is not done by then.
    #[schema(value_type = String, format = DateTime)]
    pub deadline: Timestamp,
    /// The same release moves off this node: its instances there are replaced on others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub leaves: Option<NodeId>,
    /// Who wants it to be called off; heeded while it starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_by: Option<Actor>,
}

/// Observed of a rollout.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct RolloutStatus {
    /// How far it is.
    pub phase: RolloutPhase,
    /// When the phase began.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Why it fails, while it is being undone.
    pub failure: Option<String>,
}

/// The phases of a rollout, in order; `Restoring` is entered from `Starting` alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RolloutPhase {
    /// New instances start and become healthy; the old ones serve.
    #[default]
    Starting,
    /// New instances serve; the old ones finish their connections.
    Draining,
    /// The old instances stop.
    Stopping,
    /// It failed: the new instances stop; the old ones serve.
    Restoring,
    /// The new release runs.
    Succeeded,
    /// The previous release runs.
    Failed,
}

impl RolloutPhase {
    /// Whether nothing more will happen.
    pub fn is_final(self) -> bool {
        matches!(self, RolloutPhase::Succeeded | RolloutPhase::Failed)
    }
}

kind!(RolloutSpec, RolloutStatus, RolloutId, Rollout);
