//! Where connections should go: a pure function of endpoints and instances.
//!
//! Invariant: an instance is a backend only while it should run, runs, is healthy and serves.

use freehold_model::{
    AnyId, Desired, Endpoint, EndpointId, EndpointStatus, Instance, InstanceId, InstanceSpec, Phase, Rollout,
    Seq,
    manifest::{Driver, Protocol, ProxyProtocol},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

/// An instance that may be given connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backend {
    /// The instance.
    pub instance: InstanceId,
    /// Where it listens.
    pub address: SocketAddr,
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
    /// Who answers.
    pub backends: Vec<Backend>,
    /// The status that is stored now.
    pub stored: EndpointStatus,
    /// The newest version of the rollout and the instances of its env: somebody may wait until the
    /// status says that this has been applied.
    pub awaited: Seq,
}

impl Routing {
    /// The routing that `endpoints`, `instances` and the `rollouts` under way ask for at `version`.
    pub fn new(endpoints: Vec<Endpoint>, instances: &[Instance], rollouts: &[Rollout], version: Seq) -> Self {
        let route = |endpoint: Endpoint| (endpoint.id, Route::new(endpoint, instances, rollouts));
        Routing {
            version,
            routes: endpoints.into_iter().map(route).collect(),
            instances: instances.iter().map(|instance| instance.id).collect(),
        }
    }
}

impl Route {
    fn new(endpoint: Endpoint, instances: &[Instance], rollouts: &[Rollout]) -> Route {
        let of_env = |parent: Option<AnyId>| parent == endpoint.parent;
        let siblings = || instances.iter().filter(|instance| of_env(instance.parent));
        let answers =
            |instance: &&Instance| instance.spec.process == endpoint.spec.process && ready(instance);
        let backend = |instance: &Instance| Backend {
            instance: instance.id,
            address: SocketAddr::new(host(&instance.spec), endpoint.spec.target),
        };
        let rollouts =
            rollouts.iter().filter(|rollout| of_env(rollout.parent)).map(|rollout| rollout.version);
        let awaited = rollouts.chain(siblings().map(|instance| instance.version)).max().unwrap_or(0);
        Route {
            listen: port(&endpoint),
            backends: siblings().filter(answers).map(backend).collect(),
            awaited,
            stored: endpoint.status,
        }
    }
}

fn port(endpoint: &Endpoint) -> Result<u16, String> {
    let spec = &endpoint.spec;
    match (endpoint.deleting, spec.protocol, spec.proxy_protocol) {
        (Some(_), ..) => Err("it is being removed".into()),
        (_, Protocol::Udp, _) => Err("UDP is not carried yet: use protocol = \"tcp\"".into()),
        (_, _, ProxyProtocol::V1 | ProxyProtocol::V2) => {
            Err("the PROXY protocol is not spoken yet: use proxy_protocol = \"off\"".into())
        }
        _ => Ok(spec.listen),
    }
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
