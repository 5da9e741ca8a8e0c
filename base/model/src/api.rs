//! Bodies of the HTTP API that are not resources: requests, summaries, what a machine can do.

use crate::manifest::Driver;
use crate::traffic::EndpointTraffic;
use crate::{Actor, AnyResource, Bytes, Digest, Event, Manifest, Millis, Name, Phase, Step, id::*};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An operation to be planned or done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "operation", rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// Make a manifest run.
    Deploy {
        /// The text of `freehold.toml`.
        manifest: String,
        /// Its path, for messages.
        file: String,
        /// The env; `prod` when not given.
        env: Option<Name>,
        /// The project; `default` when not given.
        project: Option<Name>,
        /// Replace every instance, even those that could stay.
        #[serde(default)]
        restart: bool,
    },
    /// Make an earlier release run again.
    Rollback {
        /// The app.
        app: Name,
        /// The env; `prod` when not given.
        env: Option<Name>,
        /// The project; `default` when not given.
        project: Option<Name>,
        /// The release's number; the one before the current when not given.
        to: Option<u32>,
    },
    /// Run the present release again, with the present version of each of its secrets.
    Renew {
        /// The app.
        app: Name,
        /// The env; `prod` when not given.
        env: Option<Name>,
        /// The project; `default` when not given.
        project: Option<Name>,
    },
    /// Remove an app, all its envs and everything in them.
    Remove {
        /// The app.
        app: Name,
        /// The project; `default` when not given.
        project: Option<Name>,
    },
}

/// An operation to be done, as it was planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Apply {
    /// What to do.
    pub change: Change,
    /// The hash of the plan that was looked at; refused as stale if the plan differs by now. Not given: whatever the plan is now.
    pub plan_hash: Option<Digest>,
}

/// What differs between two releases of an env, or between one and something else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Diff {
    /// The app.
    pub app: Name,
    /// The env.
    pub env: Name,
    /// The release it starts from: `v3`.
    pub from: String,
    /// The release it leads to: `v5`; `observed` for what really runs; a manifest's path.
    pub to: String,
    /// What differs, and what does not.
    pub changes: Vec<crate::plan::Change>,
}

impl Diff {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.changes.iter().all(|change| change.action == crate::plan::Action::Keep)
    }
}

/// One line of an export: a receipt, whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ExportedReceipt {
    /// The receipt.
    pub receipt: AnyResource,
    /// The manifest of its release; `None` for a removal, and where the release is gone.
    #[schema(value_type = Option<Object>)]
    pub manifest: Option<Manifest>,
}

/// A page of resources.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ResourceList {
    /// In order of ids.
    pub items: Vec<AnyResource>,
    /// Ask again with `after` of this value for more.
    #[schema(value_type = Option<String>)]
    pub next: Option<AnyId>,
}

/// Everything that explains one resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Description {
    /// Desired beside observed.
    pub resource: AnyResource,
    /// Why it is not yet so, in a sentence; `None` when it is.
    pub reason: Option<String>,
    /// From the org down to its parent.
    pub ancestors: Vec<AnyResource>,
    /// What belongs to it, the newest first; at most a hundred.
    pub children: Vec<AnyResource>,
    /// The last events about it, the newest first.
    pub events: Vec<Event>,
    /// Of an endpoint: what it has carried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<EndpointTraffic>,
}

/// How an env is, at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EnvSummary {
    /// The project's name.
    pub project: String,
    /// The app's name.
    pub app: String,
    /// The env's name.
    pub env: String,
    /// The env's id.
    #[schema(value_type = String)]
    pub id: EnvId,
    /// The number of the release that runs.
    pub release: Option<u32>,
    /// The rollout under way.
    #[schema(value_type = Option<String>)]
    pub rollout: Option<RolloutId>,
    /// The receipt of the rollout under way, or of the last operation.
    #[schema(value_type = Option<String>)]
    pub receipt: Option<ReceiptId>,
    /// What the rollout under way is at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Step>,
    /// The receipt of the operation that waits for its turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub queued: Option<ReceiptId>,
    /// What is wanted of each process against what is there, by name.
    #[serde(default)]
    pub processes: Vec<ProcessSummary>,
    /// The last deploy or rollback that was taken on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployed: Option<Deployed>,
    /// Its instances.
    pub instances: Vec<InstanceSummary>,
    /// Its endpoints.
    pub endpoints: Vec<EndpointSummary>,
}

/// One process of an env: what is wanted, and what is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProcessSummary {
    /// Which.
    pub process: Name,
    /// How many instances are wanted.
    pub wanted: u32,
    /// How many of them serve and are known to be well.
    pub healthy: u32,
    /// Why instances that are wanted are not there at all; absent when all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

/// Who deployed, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Deployed {
    /// Who.
    pub by: Actor,
    /// When it was taken on.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// One instance, at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct InstanceSummary {
    /// Which.
    #[schema(value_type = String)]
    pub id: InstanceId,
    /// Of which process.
    pub process: Name,
    /// The number of its release.
    pub release: Option<u32>,
    /// How far it is.
    pub phase: Phase,
    /// The name of its node; absent where the caller may not see nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Whether it is known to be well: it passes its check, its node answers, and it does not end again and again.
    pub healthy: bool,
    /// Whether endpoints use it.
    pub serving: bool,
    /// How often it was restarted.
    pub restarts: u32,
    /// How its last run ended: `exited with code 1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<String>,
    /// Since when it runs.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started: Option<Timestamp>,
    /// Its address.
    #[schema(value_type = String)]
    pub address: std::net::Ipv4Addr,
    /// Why it is not healthy.
    pub message: Option<String>,
}

/// One endpoint, at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EndpointSummary {
    /// Which.
    #[schema(value_type = String)]
    pub id: EndpointId,
    /// The app's name.
    pub app: String,
    /// The env's name.
    pub env: String,
    /// Of which process.
    pub process: Name,
    /// `tcp/8000`.
    pub name: String,
    /// The port of the instances.
    pub target: u16,
    /// Whether the port is open.
    pub listening: bool,
    /// How many instances answer.
    pub backends: u32,
    /// Where it is reached.
    pub addresses: Vec<String>,
    /// Why not.
    pub message: Option<String>,
    /// What it has carried; absent while the edge does not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<EndpointTraffic>,
}

/// One image of the built-in registry, at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ImageSummary {
    /// `name:tag`, or `name@digest` where no tag is left.
    pub reference: String,
    /// The manifest's digest.
    pub digest: Digest,
    /// The compressed bytes of config and layers.
    pub size: Bytes,
    /// When it was pushed or pulled.
    #[schema(value_type = String, format = DateTime)]
    pub pushed: Timestamp,
}

/// An image to be fetched from another registry into the built-in one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PullRequest {
    /// With its registry's host: `registry.example/team/app:1`.
    pub reference: String,
    /// Whether to unpack it too, so that its first deploy starts at once.
    #[serde(default)]
    pub unpack: bool,
}

/// How to collect what no image needs any more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CollectRequest {
    /// Whether to only say what would go.
    #[serde(default)]
    pub dry_run: bool,
    /// What was brought or used within this time stays, since a push in flight may need it; an hour if it
    /// is not given.
    #[serde(default)]
    pub grace: Option<Millis>,
}

/// What a garbage collection of images removed, or would remove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Collected {
    /// Whether nothing was removed, only looked at.
    pub dry_run: bool,
    /// The room on disk that it made.
    pub freed: Bytes,
    /// Everything that went.
    pub removed: Vec<CollectedItem>,
}

/// One thing that a garbage collection removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CollectedItem {
    /// What it was.
    pub kind: CollectedKind,
    /// `name@digest` of a manifest, else a digest.
    pub name: String,
    /// The room that it took; 0 for a manifest, whose bytes are a blob.
    pub size: Bytes,
}

/// The kinds of things that a garbage collection removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CollectedKind {
    /// A manifest's name in a repository, without a tag.
    Manifest,
    /// Compressed bytes.
    Blob,
    /// An unpacked layer.
    Layer,
}

/// A volume to be made before any instance needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateVolume {
    /// The app whose instances will have it; it need not exist yet.
    pub app: Name,
    /// The env of that app.
    pub env: Name,
    /// What its manifest calls the volume.
    pub volume: Name,
    /// The project; `default` when not given.
    #[serde(default)]
    pub project: Option<Name>,
    /// How much it may hold; as its source, or 10GiB, when not given. A deploy gives it the manifest's size.
    #[serde(default)]
    pub size: Option<Bytes>,
    /// The name of the node; its source's, or the first that takes instances, when not given.
    #[serde(default)]
    pub node: Option<String>,
    /// What to copy; empty when not given.
    #[serde(default)]
    pub from: Option<crate::Source>,
}

/// What a machine can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Doctor {
    /// The drivers that work.
    pub drivers: Vec<Driver>,
    /// What was looked at.
    pub findings: Vec<Finding>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Finding {
    /// What: `user namespaces`, `cgroup`, `overlayfs`.
    pub name: String,
    /// Whether it is as needed.
    pub ok: bool,
    /// What was found.
    pub found: String,
    /// What does not work without it, and the exact command or setting that mends it.
    pub remedy: Option<String>,
    /// The commands that mend it, for a shell of root; none where a person must choose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fix: Vec<String>,
}
