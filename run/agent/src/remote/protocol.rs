//! The messages between a node and its control plane, version 1: JSON over HTTP/1.1, dialled by the node.
//!
//! Each side names the version it speaks in the header [`HEADER`]; versions that differ by one work together.
//! So a message may gain fields, each with a default, and whoever does not know a field passes it over; a
//! field never changes its meaning. `tests/agent/golden/` holds every message as version 1 writes it: a
//! change that an older peer would not understand fails there.

use freehold_model::{
    AnyId, Bytes, EndpointId, EndpointStatus, InstanceId, InstanceSpec, InstanceStatus, Resource,
    RolloutSpec, Seq, Spec, VolumeSpec, VolumeStatus,
    drill::EgressTry,
    kinds::Capacity,
    logs::{LogLine, LogPlace},
    manifest::Driver,
    secrets::Hidden,
    traffic::{AccessLine, AccessQuery, EndpointTraffic},
};
use freehold_secrets::Delivered;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version that this program speaks.
pub const VERSION: u32 = 1;
/// Says which version a request or an answer speaks.
pub const HEADER: &str = "freehold-protocol";
/// No message is larger, in either direction; a node with 10,000 instances fits.
pub const MAX_MESSAGE: usize = 64 << 20;

/// Whether this program and one that speaks `version` work together.
pub fn is_spoken(version: u32) -> bool {
    version.abs_diff(VERSION) <= 1 && version > 0
}

/// A resource as it is sent to nodes: unlike the stored form it may gain fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Item<S: Spec> {
    /// As of every resource; likewise below.
    pub id: AnyId,
    /// Its name.
    pub name: String,
    /// What it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<AnyId>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Counts changes of its spec.
    pub generation: u64,
    /// The commit that wrote it last.
    pub version: u64,
    /// When it was made.
    pub created: Timestamp,
    /// When its deletion was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleting: Option<Timestamp>,
    /// What is wanted.
    pub spec: S,
    /// What was observed.
    pub status: S::Status,
}

impl<S: Spec> From<Resource<S>> for Item<S> {
    fn from(it: Resource<S>) -> Item<S> {
        Item {
            id: it.id.into(),
            name: it.name,
            parent: it.parent,
            labels: it.labels,
            generation: it.generation,
            version: it.version,
            created: it.created,
            deleting: it.deleting,
            spec: it.spec,
            status: it.status,
        }
    }
}

impl<S: Spec> TryFrom<Item<S>> for Resource<S> {
    type Error = freehold_model::id::IdError;
    fn try_from(it: Item<S>) -> Result<Resource<S>, Self::Error> {
        Ok(Resource {
            id: S::Id::try_from(it.id)?,
            name: it.name,
            parent: it.parent,
            labels: it.labels,
            generation: it.generation,
            version: it.version,
            created: it.created,
            deleting: it.deleting,
            spec: it.spec,
            status: it.status,
        })
    }
}

/// `GET /v1/node/changes?assignments=N&routing=N`: answered at once when a number differs from what is so
/// now, or is not given; otherwise when one changes, or after a while with the same numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Changes {
    /// Differs when the node's instances or volumes may have changed.
    pub assignments: u64,
    /// Differs when what its edge routes by may have changed.
    pub routing: u64,
}

/// `GET /v1/node/assignments`: every instance of the node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Assignments {
    /// To be run or to be stopped.
    pub instances: Vec<Item<InstanceSpec>>,
}

/// `GET /v1/node/volumes`: every volume of the node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Volumes {
    /// To be kept or to be removed.
    pub volumes: Vec<Item<VolumeSpec>>,
}

/// `POST /v1/node/instances/{id}/status`.
pub type InstanceReport = InstanceStatus;

/// `POST /v1/node/volumes/{id}/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VolumeReport {
    /// What was observed.
    pub status: VolumeStatus,
    /// What is special about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
}

/// `POST /v1/node/instances/{id}/secrets`: to whom they are sealed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SecretsWanted {
    /// The public half of the node's key: `age1…`.
    pub recipient: String,
}

/// The answer to [`SecretsWanted`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Secrets {
    /// Every secret of the instance's template.
    pub secrets: Vec<Delivered>,
}

/// `POST /v1/node/registration`, at every start of the node's agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Registration {
    /// What the machine has to give.
    pub capacity: Capacity,
    /// The drivers that work on it.
    pub drivers: Vec<Driver>,
    /// The version of Freehold.
    pub version: String,
    /// When the agent started.
    pub started: Timestamp,
    /// Endpoints can listen from this port on.
    #[serde(default)]
    pub lowest_port: u16,
    /// Why no driver works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Why instances reach nothing outside, where they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_egress: Option<String>,
}

/// `POST /v1/node/report`: what became of the node's surroundings. A control plane that does not know it
/// refuses, and is not told again.
pub use crate::control::NodeReport;

/// `POST /v1/node/heartbeat`, every [`HEARTBEAT`](super::HEARTBEAT), to every control plane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// When the agent started: a control plane that knows another start asks for a registration.
    pub started: Timestamp,
    /// Its disk has too little room: how much there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low_disk: Option<Bytes>,
}

/// The answer to a [`Heartbeat`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Heard {
    /// The control plane does not know this start of the agent: it is to register.
    pub register: bool,
    /// Where every control plane that lives answers nodes; nothing where this one does not know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<String>,
    /// Where instances have their addresses, on every node of the house; not said: where they always had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
}

/// `GET /v1/node/routing`: what the node's edge routes by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoutingView {
    /// The version of the view.
    pub version: Seq,
    /// The endpoints of the envs that have instances on the node.
    pub endpoints: Vec<Item<freehold_model::EndpointSpec>>,
    /// The node's own instances.
    pub instances: Vec<Item<InstanceSpec>>,
    /// The rollouts under way of those envs.
    pub rollouts: Vec<Item<RolloutSpec>>,
    /// Under what secret the edges of other nodes hand connections over to this one; a control plane of before
    /// says none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hop_key: Option<Hidden>,
}

/// `POST /v1/node/endpoints`: what became of endpoints on the node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EndpointReport {
    /// By endpoint.
    pub endpoints: BTreeMap<EndpointId, EndpointStatus>,
}

/// A line of the answer to `GET /v1/node/calls?changes=true`, which never ends. An empty line says that the
/// control plane is still there. One that does not know the parameter sends calls alone: such a one is polled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// So it is now: the first line, and one whenever a number changes.
    Changes {
        /// As of `GET /v1/node/changes`.
        changes: Changes,
    },
    /// It wants something of the node.
    Call(Box<Call>),
}

/// The control plane wants something of the node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Names the call; the node answers by a WebSocket at `/v1/node/calls/{id}`.
    pub id: String,
    /// What is wanted.
    pub want: Want,
}

/// The first message of a call that one control plane hands to another, at `/v1/control/calls/{node}`: what
/// comes back is what the node answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HandedCall {
    /// What people call the node.
    pub name: String,
    /// What is wanted of it.
    pub want: Want,
}

/// What a node can be asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Want {
    /// Lines that instances printed: a [`LogsFound`], then [`LogPart`]s.
    Logs(LogsWanted),
    /// One more command in an instance: as the public exec route, from the request on.
    Exec {
        /// Which.
        instance: InstanceId,
    },
    /// An egress drill: one [`Drilled`].
    Drill {
        /// From inside these.
        instances: Vec<InstanceId>,
        /// The node's ports, and what they are.
        ports: Vec<(u16, String)>,
    },
    /// What an endpoint has carried: one [`Carried`].
    Traffic {
        /// Which.
        endpoint: EndpointId,
    },
    /// The access log of an endpoint: [`AccessPart`]s.
    Access {
        /// Which.
        endpoint: EndpointId,
        /// Which lines.
        query: AccessQuery,
    },
    /// Something of a later version: the node answers that it cannot.
    #[serde(other)]
    Unknown,
}

/// Which lines are wanted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogsWanted {
    /// Of instances of this env.
    pub env: Option<freehold_model::EnvId>,
    /// Of these processes.
    pub processes: Vec<freehold_model::Name>,
    /// Of instances whose ids end so.
    pub instances: Vec<String>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Not after.
    pub until: Option<Timestamp>,
    /// Only the last so many.
    pub tail: Option<u64>,
    /// Goes on with new lines.
    pub follow: bool,
    /// Only lines that match one of these.
    pub grep: Vec<String>,
    /// Only what comes after these places.
    pub after: BTreeMap<InstanceId, LogPlace>,
}

/// Whose lines the node has: the first message of an answer to [`Want::Logs`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LogsFound {
    /// Everybody of the env.
    pub sources: Vec<crate::LogSource>,
}

/// Lines of all the node's instances, in the order of time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LogPart {
    /// The lines.
    pub lines: Vec<LogLine>,
    /// Whether that is all there is for now.
    #[serde(default)]
    pub caught_up: bool,
}

/// What a drill found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Drilled {
    /// What was tried.
    pub tries: Vec<EgressTry>,
}

/// What an endpoint has carried; nothing where the node's edge does not know it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Carried {
    /// The counters.
    #[serde(default)]
    pub traffic: Option<EndpointTraffic>,
}

/// Lines of an access log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AccessPart {
    /// The lines.
    pub lines: Vec<AccessLine>,
}

/// Resources of items; one that is not what it should be is left out, and said so.
pub fn resources<S: Spec>(items: Vec<Item<S>>) -> Vec<Resource<S>> {
    let read = |item: Item<S>| {
        let id = item.id;
        Resource::try_from(item)
            .inspect_err(|error| tracing::warn!(%id, %error, "not what it should be"))
            .ok()
    };
    items.into_iter().filter_map(read).collect()
}

/// Items of resources.
pub fn items<S: Spec>(resources: Vec<Resource<S>>) -> Vec<Item<S>> {
    resources.into_iter().map(Item::from).collect()
}

/// A text message of the node within a call: a part of what is wanted, or why there is none. The call ends
/// with the WebSocket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer<T> {
    /// A part.
    Part(T),
    /// It cannot be had.
    Problem(freehold_model::Problem),
}

/// The first part of an answer to [`Want::Exec`]: the command is about to run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Started {}
