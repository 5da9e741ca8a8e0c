//! An endpoint: a port where an env's process is reached. Its parent is an env.
//!
//! Its port holds the claim `("port", <protocol>/<port>)`, so no two endpoints listen on one.

use super::kind;
use crate::{
    InstanceId, Millis, Name, Network, NodeId, Resource, Seq,
    manifest::{Protocol, ProxyProtocol},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

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
    /// Proxies in front: connections from these networks begin with a PROXY protocol header, which tells
    /// the client's address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub trusted_proxies: Vec<Network>,
    /// After so long without a byte either way a connection, or a UDP session, is ended. Not given: an
    /// hour for TCP, a minute for UDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Millis>,
    /// At most so many connections, or UDP sessions, at a time. Not given: as many as the node's open
    /// files allow, 4096 sessions for UDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
}

impl EndpointSpec {
    /// The idle timeout that holds.
    pub fn idle(&self) -> Millis {
        self.idle_timeout.unwrap_or(match self.protocol {
            Protocol::Tcp => Millis(3_600_000),
            Protocol::Udp => Millis(60_000),
        })
    }
}

/// Observed of an endpoint, by the edge.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct EndpointStatus {
    /// Whether the port is open.
    pub listening: bool,
    /// Why not.
    pub message: Option<String>,
    /// Where it can be reached: `127.0.0.1:8000`, `[::1]:8000`, the machine's own addresses, and an IPv6
    /// address that no other endpoint has, where the machine allows one.
    pub addresses: Vec<String>,
    /// How many instances answer now.
    pub backends: u32,
    /// The global version of the view from which the edge made its present routing.
    #[schema(value_type = u64)]
    pub applied: Seq,
    /// Open connections of each instance that no longer gets new ones; absent when it has none.
    #[schema(value_type = Object)]
    pub draining: BTreeMap<InstanceId, u32>,
    /// The TCP port on which the edge of a node takes connections that other edges of the house hand over;
    /// absent where it takes none. Said in `nodes` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hop_port: Option<u16>,
    /// By node, where several have an edge: what each observed. What is above is made of these.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    pub nodes: BTreeMap<NodeId, EndpointStatus>,
}

impl EndpointStatus {
    /// The same with what the edge of `node` observed. Others whose nodes are not in `concerned` go.
    pub fn with(
        mut self,
        node: NodeId,
        part: EndpointStatus,
        concerned: &BTreeSet<NodeId>,
    ) -> EndpointStatus {
        self.nodes.retain(|id, _| concerned.contains(id));
        self.nodes.insert(node, EndpointStatus { nodes: BTreeMap::new(), ..part });
        let parts = || self.nodes.values();
        let mut addresses: Vec<String> = parts().flat_map(|it| it.addresses.clone()).collect();
        addresses.sort();
        addresses.dedup();
        EndpointStatus {
            listening: parts().all(|it| it.listening),
            message: parts().find_map(|it| it.message.clone()),
            addresses,
            backends: parts().map(|it| it.backends).max().unwrap_or(0),
            applied: parts().map(|it| it.applied).min().unwrap_or(0),
            draining: parts().fold(BTreeMap::new(), |mut all, it| {
                it.draining.iter().for_each(|(id, count)| *all.entry(*id).or_insert(0) += count);
                all
            }),
            hop_port: None,
            nodes: self.nodes,
        }
    }

    /// What the edge of `node` observed.
    pub fn of(&self, node: NodeId) -> EndpointStatus {
        self.nodes.get(&node).cloned().unwrap_or_default()
    }
}

kind!(EndpointSpec, EndpointStatus, EndpointId, Endpoint);
