//! The manifest, `freehold.toml`: what an app is made of. A [`Manifest`] in hand is a valid one.
//!
//! These types are what remains after parsing: the overrides of one env merged, every default filled
//! in, every reference resolved. Their JSON is canonical and is hashed into releases and receipts, so
//! a new field must be skipped while it has its default.

mod demand;
mod diagnostics;
mod egress;
mod fill;
mod image;
mod keys;
mod parse;
mod paths;
mod places;
mod report;
mod resolve;
mod restart;
mod scalar;
mod schema;
mod secrets;
mod shape;
mod sign_in;
mod tree;
mod volumes;
mod walk;

#[cfg(test)]
mod error_tests;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

pub use demand::{Demand, FIRST_FREE_PORT};
pub use diagnostics::{Diagnostic, Diagnostics};
pub use egress::{Destination, Egress, EgressError, NODE};
pub use restart::RestartAfter;
pub(crate) use scalar::shown;
pub use schema::schema;
pub use sign_in::{CLIENT_SECRET, SignIn, SignInEnv};

use crate::{Affinity, Bytes, Digest, LabelKey, Millicores, Millis, Name, Network, SecretName, Spread};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An app as one env runs it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format; 1.
    pub schema: u32,
    /// The app's name.
    pub app: Name,
    /// What runs.
    pub process: BTreeMap<Name, Process>,
    /// Where it is reached, in the order of the file.
    pub endpoint: Vec<Endpoint>,
    /// How patient a deploy is.
    #[serde(default, skip_serializing_if = "Deploy::is_default")]
    pub deploy: Deploy,
    /// What is kept when instances go, in the order of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume: Vec<Volume>,
    /// How people sign in to it through the house.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_in: Option<Box<SignIn>>,
}

/// How patient a deploy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deploy {
    /// From its turn until every new instance is healthy: images, starts and checks.
    pub timeout: Millis,
    /// How long connections to old instances may go on.
    pub drain_timeout: Millis,
}

impl Default for Deploy {
    fn default() -> Deploy {
        Deploy { timeout: Millis(300_000), drain_timeout: Millis(10_000) }
    }
}

impl Deploy {
    fn is_default(&self) -> bool {
        *self == Deploy::default()
    }
}

/// One kind of instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// An image reference: `name:tag` in the built-in registry, or with a registry's host before it.
    pub image: String,
    /// How it is isolated.
    pub driver: Driver,
    /// Replaces the image's entrypoint and command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Replaces the image's command and keeps its entrypoint; never beside `command`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// How many instances; 0 to 1000.
    pub count: u32,
    /// At most this much processor time, per instance.
    pub cpu: Millicores,
    /// At most this much memory, per instance.
    pub memory: Bytes,
    /// At most so many processes and threads, per instance.
    #[serde(default = "default_pids", skip_serializing_if = "is_default_pids")]
    pub pids: u32,
    /// At most so much is written outside of volumes, per instance.
    #[serde(default = "default_disk", skip_serializing_if = "is_default_disk")]
    pub disk: Bytes,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Secrets, and where each is found inside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretUse>,
    /// How long after the stop signal comes SIGKILL.
    pub stop_timeout: Millis,
    /// How to see that an instance is healthy. A process with an endpoint and without a check has
    /// a TCP check on the endpoint's target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
    /// Where instances may connect to, outside their env.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<Egress>,
    /// The processes that it starts after and stops before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Name>,
    /// On which nodes instances may run, and would rather.
    #[serde(default, skip_serializing_if = "Affinity::is_default")]
    pub affinity: Affinity,
    /// Over which failure domains instances are spread.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spread: Vec<Spread>,
    /// The taints that do not keep instances away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerate: Vec<LabelKey>,
    /// Instances of lower priority make room for those of higher.
    #[serde(default, skip_serializing_if = "is_no_priority")]
    pub priority: i32,
    /// When nothing is heard of a node for so long, its instances are replaced elsewhere.
    #[serde(default = "default_lost", skip_serializing_if = "is_default_lost")]
    pub lost_after: Millis,
}

/// So long a node may be silent.
pub const DEFAULT_LOST: Millis = Millis(60_000);

fn default_lost() -> Millis {
    DEFAULT_LOST
}

fn is_default_lost(after: &Millis) -> bool {
    *after == DEFAULT_LOST
}

fn is_no_priority(priority: &i32) -> bool {
    *priority == 0
}

/// So many processes and threads are enough for most.
pub const DEFAULT_PIDS: u32 = 512;

pub(crate) fn default_pids() -> u32 {
    DEFAULT_PIDS
}

pub(crate) fn is_default_pids(pids: &u32) -> bool {
    *pids == DEFAULT_PIDS
}

/// So much outside of volumes is enough for most.
pub const DEFAULT_DISK: Bytes = Bytes(10 << 30);

pub(crate) fn default_disk() -> Bytes {
    DEFAULT_DISK
}

pub(crate) fn is_default_disk(disk: &Bytes) -> bool {
    *disk == DEFAULT_DISK
}

/// A secret that a process is given: as a variable or as a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretUse {
    /// The secret.
    pub name: SecretName,
    /// As this environment variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// As this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// How a process is isolated.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// Namespaces, cgroups, dropped capabilities.
    #[default]
    Container,
    /// None at all: a child process of the node's user, from the unpacked image. Opt-in.
    Process,
}

/// How to see that an instance is healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Check {
    /// What is tried.
    #[serde(flatten)]
    pub probe: Probe,
    /// How often.
    pub every: Millis,
    /// How long one try may take.
    pub timeout: Millis,
    /// How many failures in a row make it unhealthy.
    pub unhealthy_after: u32,
    /// Failures do not count so long after its start.
    pub grace: Millis,
    /// Unhealthy for so long, it is started again.
    #[serde(default, skip_serializing_if = "RestartAfter::is_default")]
    #[schema(value_type = String)]
    pub restart_after: RestartAfter,
}

/// What a check tries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// GET of `path` on `port` answers 200 to 399.
    Http {
        /// Starts with `/`.
        path: String,
        /// The instance's port.
        port: u16,
    },
    /// A connection to `port` is accepted.
    Tcp {
        /// The instance's port.
        port: u16,
    },
    /// The command, run inside the instance, ends with 0.
    Command(Vec<String>),
}

/// A port where a process is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The process that answers.
    pub process: Name,
    /// The port on the node.
    pub listen: u16,
    /// The port of the instances.
    pub target: u16,
    /// What is carried.
    pub protocol: Protocol,
    /// Whether instances are told the client's address.
    pub proxy_protocol: ProxyProtocol,
    /// Proxies in front, which tell the client's address by the PROXY protocol.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<Network>,
    /// How long a connection may be silent; as the protocol has it when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Millis>,
    /// How many connections there may be at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
}

/// Bytes of a process that outlive its instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name, unique within the app.
    pub name: Name,
    /// The process that has it; of such there is one instance at most.
    pub process: Name,
    /// Where the instance finds it.
    pub path: String,
    /// How much it may hold.
    pub size: Bytes,
}

/// What an endpoint carries.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Streams.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
}

/// Whether and how instances are told the client's address (PROXY protocol, HAProxy).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ProxyProtocol {
    /// Not told.
    #[default]
    Off,
    /// A line of text.
    V1,
    /// A binary header.
    V2,
}

impl Manifest {
    /// The hash of the canonical JSON.
    pub fn hash(&self) -> Digest {
        Digest::of_json(self)
    }
}
