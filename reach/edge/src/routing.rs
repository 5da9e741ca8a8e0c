//! Where connections should go: a pure function of endpoints and instances.
//!
//! Invariant: an instance is a backend only while it should run, runs, is healthy and serves.

use crate::door::Settings;
use freehold_model::{
    AnyId, Desired, Endpoint, EndpointId, EndpointStatus, Instance, InstanceId, InstanceSpec, Name, NodeId,
    Phase, Rollout, RolloutPhase, Seq,
    manifest::{Driver, Protocol},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// An instance that may be given connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Backend {
    /// The instance.
    pub instance: InstanceId,
    /// Where it listens, or where the edge of its node does.
    pub address: SocketAddr,
    /// How it is reached.
    pub way: Way,
}

/// How an instance is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// It is on this node.
    Here,
    /// Through the edge of its node.
    Edge(FarEdge),
}

/// The edge of another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FarEdge {
    /// Which node.
    pub node: NodeId,
    /// The port on which it takes what other edges hand over; none where it does not know of that.
    pub hop_port: Option<u16>,
}

/// Everything that the edge should do, as of one view of the store.
#[derive(Debug, Default)]
pub struct Routing {
    /// The version of that view.
    pub version: Seq,
    /// By endpoint.
    pub routes: BTreeMap<EndpointId, Route>,
    /// Every instance there is: the others need no account of their draining.
    pub instances: BTreeSet<InstanceId>,
}

/// What one endpoint should do.
#[derive(Debug, Clone)]
pub struct Route {
    /// The port to listen on, or why there is none.
    pub listen: Result<u16, String>,
    /// What is carried.
    pub protocol: Protocol,
    /// An IPv6 address that is nobody else's, where there are any.
    pub own: Option<Ipv6Addr>,
    /// Whose it is: the org, or the env where that alone is known.
    pub owner: Option<AnyId>,
    /// How connections are treated.
    pub settings: Settings,
    /// Who answers.
    pub backends: Vec<Backend>,
    /// The status that is stored now.
    pub stored: EndpointStatus,
    /// The version of the rollout of its env that shifts connections now: it waits until the status says that
    /// this has been applied. Nothing else waits, so nothing else is worth a word.
    pub awaited: Seq,
}

/// What is known of one env, gathered once for all its endpoints.
#[derive(Default)]
struct EnvState<'a> {
    /// Those that may be given connections, by process.
    ready: BTreeMap<&'a Name, Vec<&'a Instance>>,
    awaited: Seq,
}

impl Routing {
    /// The routing that `endpoints`, `instances` and the `rollouts` under way ask for at `version`.
    pub fn new(endpoints: Vec<Endpoint>, instances: &[Instance], rollouts: &[Rollout], version: Seq) -> Self {
        Routing::of(None, endpoints, instances, rollouts, version)
    }

    /// The same for the edge of `node`. Instances of other nodes are reached through the edges there, where
    /// those are known to listen; `None`: every instance is here.
    pub fn of(
        node: Option<NodeId>,
        endpoints: Vec<Endpoint>,
        instances: &[Instance],
        rollouts: &[Rollout],
        version: Seq,
    ) -> Self {
        let mut envs: BTreeMap<Option<AnyId>, EnvState<'_>> = BTreeMap::new();
        for instance in instances {
            let env = envs.entry(instance.parent).or_default();
            if ready(instance) {
                env.ready.entry(&instance.spec.process).or_default().push(instance);
            }
        }
        for rollout in rollouts {
            envs.entry(rollout.parent).or_default().awaited = awaited(rollout);
        }
        let none = EnvState::default();
        let routes = endpoints.into_iter().map(|endpoint| {
            let env = envs.get(&endpoint.parent).unwrap_or(&none);
            (endpoint.id, Route::new(node, endpoint, env))
        });
        Routing {
            version,
            routes: routes.collect(),
            instances: instances.iter().map(|instance| instance.id).collect(),
        }
    }
}

impl Route {
    fn new(node: Option<NodeId>, endpoint: Endpoint, env: &EnvState<'_>) -> Route {
        let spec = &endpoint.spec;
        let backend = |instance: &&Instance| {
            let (address, way) = match node {
                Some(node) if instance.spec.node != node => far(&endpoint.status, instance.spec.node)?,
                _ => (SocketAddr::new(host(&instance.spec), spec.target), Way::Here),
            };
            Some(Backend { instance: instance.id, address, way })
        };
        // One that goes has nobody: its open connections drain.
        let (listen, ready) = match endpoint.deleting {
            Some(_) => (Err("it is being removed".into()), None),
            None => (Ok(spec.listen), env.ready.get(&spec.process)),
        };
        Route {
            listen,
            protocol: spec.protocol,
            own: None,
            owner: endpoint.parent,
            settings: Settings::of(spec),
            backends: ready.into_iter().flatten().filter_map(backend).collect(),
            awaited: env.awaited,
            stored: match node {
                Some(node) => endpoint.status.of(node),
                None => endpoint.status,
            },
        }
    }
}

/// The version from which a rollout waits for the edges; 0 while it does not.
pub(crate) fn awaited(rollout: &Rollout) -> Seq {
    match rollout.status.phase {
        RolloutPhase::Draining => rollout.version,
        _ => 0,
    }
}

/// Where the edge of another node listens, for machines that are not that one.
fn far(status: &EndpointStatus, node: NodeId) -> Option<(SocketAddr, Way)> {
    let there = status.nodes.get(&node).filter(|it| it.listening)?;
    let addresses = there.addresses.iter().filter_map(|it| it.parse::<SocketAddr>().ok());
    let address = addresses.filter(|it| !it.ip().is_loopback()).min_by_key(|it| it.is_ipv6())?;
    Some((address, Way::Edge(FarEdge { node, hop_port: there.hop_port })))
}

fn ready(instance: &Instance) -> bool {
    instance.spec.serving
        && instance.spec.desired == Desired::Running
        && instance.deleting.is_none()
        && instance.status.healthy
        && instance.status.phase == Phase::Running
}

/// A process without isolation shares the node's addresses; a container has its own.
fn host(spec: &InstanceSpec) -> IpAddr {
    match spec.template.driver {
        Driver::Process => Ipv4Addr::LOCALHOST.into(),
        Driver::Container => spec.address.into(),
    }
}

#[cfg(test)]
mod tests;
