//! A receipt: the evidence of one operation and its verdict. Its parent is an env (or a project, for a
//! removal); it outlives the env and the app, and then its parent is an id that no longer resolves.

use super::kind;
use crate::{
    Actor, Code, Digest, ImageRef, Manifest, Name, Resource, SecretName,
    id::{InstanceId, NodeId, ReceiptId, ReleaseId},
    manifest::Demand,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

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
    /// The version of each secret that it uses.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    pub secrets: BTreeMap<SecretName, u32>,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub accepted: Timestamp,
    /// What is planned again when its turn comes; only of an operation that waits, or ended waiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<Box<Queued>>,
}

/// What an operation that waits for another one of its env asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Queued {
    /// The project's name.
    pub project: Name,
    /// What is to be done.
    pub wish: Wish,
    /// The plan must have this hash when its turn comes; `None`: whatever the plan is then.
    pub plan_hash: Option<Digest>,
    /// It is given up if its turn has not come by then.
    #[schema(value_type = String, format = DateTime)]
    pub deadline: Timestamp,
    /// What its plan asked of the node when it was let in; it may not ask for more when its turn comes.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub demands: BTreeSet<Demand>,
}

/// What a waiting operation wants, with everything resolved that must not change while it waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// Make a manifest run.
    Deploy {
        /// The env's overrides merged.
        #[schema(value_type = Object)]
        manifest: Box<Manifest>,
        /// The image of each process, tags resolved to digests.
        #[schema(value_type = Object)]
        images: BTreeMap<Name, ImageRef>,
        /// Replace every instance.
        restart: bool,
    },
    /// Run what runs by then again, with the present version of each secret.
    Renew,
    /// Make an earlier release run again.
    Rollback {
        /// Its number.
        to: u32,
    },
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
    /// Instances moved off a node that is being drained.
    Move,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct ReceiptStatus {
    /// How it ended; `None` while it runs.
    pub verdict: Option<Verdict>,
    /// Why, in a sentence or two.
    pub reason: Option<String>,
    /// The class of the failure; only of a verdict that is not `succeeded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// The receipt it waits for; `None` once its turn has come.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub behind: Option<ReceiptId>,
    /// The waiting operation whose place it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub supersedes: Option<ReceiptId>,
    /// The newer operation that took its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub superseded_by: Option<ReceiptId>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished: Option<Timestamp>,
    /// What was done, in order.
    pub steps: Vec<Step>,
    /// What was seen to run at the end.
    pub instances: Vec<ObservedInstance>,
    /// What served when it ended, in a sentence; absent while it runs, and of what never began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serves: Option<String>,
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
    /// A newer operation took its place while it waited; it changed nothing.
    Superseded,
    /// Somebody called it off; what ran before was kept.
    Cancelled,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: &'static [Verdict] =
        &[Verdict::Succeeded, Verdict::Failed, Verdict::Superseded, Verdict::Cancelled];

    /// As it is written everywhere: `succeeded`.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Succeeded => "succeeded",
            Verdict::Failed => "failed",
            Verdict::Superseded => "superseded",
            Verdict::Cancelled => "cancelled",
        }
    }
}

impl std::str::FromStr for Verdict {
    type Err = String;
    fn from_str(text: &str) -> Result<Verdict, String> {
        let found = Verdict::ALL.iter().find(|verdict| verdict.word() == text);
        found.copied().ok_or_else(|| "must be succeeded, failed, superseded or cancelled".into())
    }
}

/// One step of an operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Step {
    /// `queue`, `start`, `shift`, `drain`, `stop`, `restore`, `delete`.
    pub name: String,
    /// What exactly, for people.
    pub detail: String,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started: Timestamp,
    /// When it ended; `None` while it runs.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished: Option<Timestamp>,
    /// What it waits for, or waited for last, when it takes long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
}

/// What a step that takes long waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Waiting {
    /// A sentence: which instance or node, and what it is at.
    pub on: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// When it is given up.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub deadline: Option<Timestamp>,
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
