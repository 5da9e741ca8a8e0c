//! A plan: what an operation would change, before it is done; sent to people and hashed into receipts.

use crate::{
    Bytes, Digest, Displaced, Elsewhere, ImageRef, Manifest, Millicores, Name, Operation, Problem,
    SecretName,
    id::{NodeId, ReceiptId},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an operation would change. Applying it names its `hash`; when the same request would by then
/// have another plan, it is refused as stale.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Plan {
    /// Which operation.
    pub operation: Operation,
    /// The project.
    pub project: Name,
    /// The app.
    pub app: Name,
    /// The env.
    pub env: Name,
    /// The number of the release that would run; for a removal, of the one that runs.
    pub release: Option<u32>,
    /// The number of the release that runs now, or will once what is under way has ended.
    pub current: Option<u32>,
    /// The manifest that would run, the env's overrides merged.
    #[schema(value_type = Option<Object>)]
    pub manifest: Option<Manifest>,
    /// The hash of its canonical JSON.
    pub manifest_hash: Option<Digest>,
    /// The image of each process, tags resolved to digests.
    #[schema(value_type = Object)]
    pub images: BTreeMap<Name, ImageRef>,
    /// How often each process was restarted by force, where it was at all.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    pub revisions: BTreeMap<Name, u32>,
    /// The version of each secret; 0 where it has none, which stops the plan.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    pub secrets: BTreeMap<SecretName, u32>,
    /// What would change, and what would stay.
    pub changes: Vec<Change>,
    /// Where new instances would run.
    pub placement: Vec<Placement>,
    /// What all instances may use together.
    pub cost: Cost,
    /// What stops it. Empty: it can be applied.
    pub blockers: Vec<Problem>,
    /// Whether every instance is replaced, even those that could stay.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restart: bool,
    /// Whether it is the present release again, with the present version of each secret.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub renew: bool,
    /// The hash of everything above.
    pub hash: Digest,
    /// The operation under way that it would wait for. The plan is then made as if that one had ended
    /// well, and is made again when its turn comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub behind: Option<ReceiptId>,
    /// What whoever looks at it should know, in sentences; not part of its hash.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The waiting operation whose place it would take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub supersedes: Option<ReceiptId>,
}

impl Plan {
    /// Whether applying it would change nothing.
    pub fn is_noop(&self) -> bool {
        self.changes.iter().all(|change| change.action == Action::Keep)
    }
}

/// One thing that would change or stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = PlannedChange)]
pub struct Change {
    /// What would happen to it.
    pub action: Action,
    /// `process`, `endpoint` or `instance`.
    pub kind: String,
    /// The process's name, the endpoint's `tcp/8000`, the instance's id.
    pub name: String,
    /// How many instances would be started.
    pub start: u32,
    /// How many instances would stay as they are.
    pub keep: u32,
    /// How many instances would be stopped.
    pub stop: u32,
    /// The fields that differ.
    pub fields: Vec<Field>,
}

/// What would happen to a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is new.
    Add,
    /// It changes, and what runs is replaced or moved.
    Change,
    /// It stays.
    Keep,
    /// It goes.
    Remove,
}

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Field {
    /// Its path within the thing: `image`, `check.every`.
    pub path: String,
    /// As it is.
    pub before: Option<String>,
    /// As it would be.
    pub after: Option<String>,
}

/// Where new instances of a process would run, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Placement {
    /// The process.
    pub process: Name,
    /// The node.
    #[schema(value_type = String)]
    pub node: NodeId,
    /// The node's name.
    pub node_name: String,
    /// How many.
    pub count: u32,
    /// Why there, in a sentence.
    pub reason: String,
    /// Why not elsewhere, as of the plan; not part of its hash.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<Elsewhere>,
    /// The instances of lower priority that would make room.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub displaces: Vec<Displaced>,
}

/// What all instances of the env may use together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Cost {
    /// Processor time after the operation.
    pub cpu: Millicores,
    /// Memory after the operation.
    pub memory: Bytes,
    /// Processor time now.
    pub cpu_before: Millicores,
    /// Memory now.
    pub memory_before: Bytes,
    /// Disk outside of volumes after the operation.
    #[serde(default)]
    pub disk: Bytes,
    /// Disk outside of volumes now.
    #[serde(default)]
    pub disk_before: Bytes,
}
