//! An endpoint: a port where an env's process is reached. Its parent is an env.
//!
//! Its port holds the claim `("port", <protocol>/<port>)`, so no two endpoints listen on one.

use super::kind;
use crate::{
    InstanceId, Name, Resource, Seq,
    manifest::{Protocol, ProxyProtocol},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An endpoint.
pub type Endpoint = Resource<EndpointSpec>;

/// Wanted of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EndpointSpec {
    /// The process whose serving, healthy instances answer.
    pub process: Name,
    /// The port on the node.
    pub listen: u16,
    /// The port of the instances.
    pub target: u16,
    /// What is carried.
    pub protocol: Protocol,
    /// Whether instances are told the client's address.
    pub proxy_protocol: ProxyProtocol,
}

/// Observed of an endpoint, by the edge.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct EndpointStatus {
    /// Whether the port is open.
    pub listening: bool,
    /// Why not.
    pub message: Option<String>,
    /// Where it can be reached: `127.0.0.1:8000`, `[::1]:8000`, the machine's own addresses.
    pub addresses: Vec<String>,
    /// How many instances answer now.
    pub backends: u32,
    /// The global version of the view from which the edge made its present routing.
    #[schema(value_type = u64)]
    pub applied: Seq,
    /// Open connections of each instance that no longer gets new ones; absent when it has none.
    #[schema(value_type = Object)]
    pub draining: BTreeMap<InstanceId, u32>,
}

kind!(EndpointSpec, EndpointStatus, EndpointId, Endpoint);
