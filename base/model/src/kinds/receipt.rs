//! A receipt: the evidence of one operation and its verdict. Its parent is an env (or a project, for a
//! removal); it outlives the env and the app, and then its parent is an id that no longer resolves.

use super::kind;
use crate::{
    Actor, Digest, Name, Resource,
    id::{InstanceId, NodeId, ReleaseId},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A receipt.
pub type Receipt = Resource<ReceiptSpec>;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReceiptSpec {
    /// Which operation.
    pub operation: Operation,
    /// Who asked.
    pub actor: Actor,
    /// The app's name.
    pub app: Name,
    /// The env's name.
    pub env: Name,
    /// The hash of the plan that was applied.
    pub plan_hash: Digest,
    /// The hash of the manifest's canonical JSON.
    pub manifest_hash: Option<Digest>,
    /// The release deployed.
    #[schema(value_type = Option<String>)]
    pub release: Option<ReleaseId>,
    /// Its number.
    pub release_number: Option<u32>,
    /// The release that ran before.
    #[schema(value_type = Option<String>)]
    pub previous: Option<ReleaseId>,
    /// Its number.
    pub previous_number: Option<u32>,
    /// The image digest of each process.
    #[schema(value_type = Object)]
    pub images: BTreeMap<Name, Digest>,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub accepted: Timestamp,
}

/// The operations that leave a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// A manifest became a new release.
    Deploy,
    /// An earlier release was deployed again.
    Rollback,
    /// An app was removed.
    Remove,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct ReceiptStatus {
    /// How it ended; `None` while it runs.
    pub verdict: Option<Verdict>,
    /// Why, in a sentence or two.
    pub reason: Option<String>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished: Option<Timestamp>,
    /// What was done, in order.
    pub steps: Vec<Step>,
    /// What was seen to run at the end.
    pub instances: Vec<ObservedInstance>,
    /// The last lines of the instance that failed.
    pub log_tail: Vec<String>,
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As asked.
    Succeeded,
    /// Not as asked; what ran before was kept.
    Failed,
}

/// One step of an operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Step {
    /// `start`, `shift`, `drain`, `stop`, `restore`.
    pub name: String,
    /// What exactly, for people.
    pub detail: String,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started: Timestamp,
    /// When it ended; `None` while it runs.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished: Option<Timestamp>,
}

/// An instance as its node reported it when the operation ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ObservedInstance {
    /// Which.
    #[schema(value_type = String)]
    pub id: InstanceId,
    /// Of which process.
    pub process: Name,
    /// Where.
    #[schema(value_type = String)]
    pub node: NodeId,
    /// The image digest that the node unpacked and started.
    pub image: Option<Digest>,
    /// Whether it answered its check.
    pub healthy: bool,
}

kind!(ReceiptSpec, ReceiptStatus, ReceiptId, Receipt);
