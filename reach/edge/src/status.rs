//! Which endpoint statuses must be written: a pure comparison of what is with what is stored.
//!
//! A status is written when it says something new, or when a rollout of the env shifts connections since it was
//! last written: whoever waits for `applied` waits for that. Invariant: what was written is not written again,
//! whoever says it again: our own writes never cause another, and a house where nothing happens writes nothing.

use crate::routing::{Route, Routing, awaited};
use freehold_model::{
    Actor, EndpointId, EndpointSpec, EndpointStatus, InstanceId, InstanceSpec, NodeId, NodeSpec, Rollout,
    RolloutId, RolloutSpec, Seq, Txn,
};
use freehold_reconcile::{StoreError, View, ViewExt as _};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// What became of one endpoint's port, and who still drains there.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// The addresses that it listens on, or why there are none.
    pub(crate) listening: Result<Vec<IpAddr>, String>,
    /// Open connections of instances that get no new ones.
    pub(crate) draining: BTreeMap<InstanceId, u32>,
    /// Where this edge takes what others hand over.
    pub(crate) hop_port: Option<u16>,
}

/// The status to write, unless what is stored is as good.
pub(crate) fn to_write(
    routing: &Routing,
    route: &Route,
    outcome: Outcome,
    reached_at: &dyn Fn(SocketAddr) -> SocketAddr,
) -> Option<EndpointStatus> {
    let status = status(routing, route, outcome, reached_at);
    is_news(&status, &route.stored, route.awaited).then_some(status)
}

fn is_news(status: &EndpointStatus, stored: &EndpointStatus, awaited: Seq) -> bool {
    let same = EndpointStatus { applied: stored.applied, ..status.clone() } == *stored;
    !same || (stored.applied < awaited && stored.applied < status.applied)
}

fn status(
    routing: &Routing,
    route: &Route,
    mut outcome: Outcome,
    reached_at: &dyn Fn(SocketAddr) -> SocketAddr,
) -> EndpointStatus {
    outcome.draining.retain(|instance, _| routing.instances.contains(instance));
    let port = route.listen.as_ref().copied().unwrap_or(0);
    let (message, addresses) = match &outcome.listening {
        Ok(bound) => (None, reachable(bound, port, reached_at)),
        Err(message) => (Some(message.clone()), vec![]),
    };
    EndpointStatus {
        listening: outcome.listening.is_ok(),
        message,
        addresses,
        backends: u32::try_from(route.backends.len()).unwrap_or(u32::MAX),
        applied: routing.version,
        draining: outcome.draining,
        hop_port: outcome.hop_port,
        nodes: BTreeMap::new(),
    }
}

/// Writes what the edge of one node observed into what all of them did. A node counts as long as it has
/// instances of the endpoint's env, and the writer always. What a node only says again is left out: an edge of
/// another version may, every half a minute.
pub fn of_node(
    view: &dyn View,
    node: NodeId,
    statuses: BTreeMap<EndpointId, EndpointStatus>,
    actor: Actor,
) -> Result<Txn, StoreError> {
    let mut txn = Txn::new(actor, "routing was applied", "edge");
    let instances = view.all::<InstanceSpec>(None)?;
    let nodes = view.all::<NodeSpec>(None)?;
    let rollouts = active(view)?;
    for (id, part) in statuses {
        let Some(mut endpoint) = view.find::<EndpointSpec>(id)? else { continue };
        let own = rollouts.iter().filter(|it| it.parent == endpoint.parent);
        if !is_news(&part, &endpoint.status.of(node), own.map(awaited).max().unwrap_or(0)) {
            continue;
        }
        let in_env = instances.iter().filter(|it| it.parent == endpoint.parent).map(|it| it.spec.node);
        // The edge beside the control plane serves every endpoint; nobody waits for one that is away.
        let near = nodes.iter().filter(|it| !it.status.remote).map(|it| it.id);
        let mut concerned: BTreeSet<NodeId> = in_env.chain(near).collect();
        concerned.retain(|id| nodes.iter().any(|it| it.id == *id && it.status.away().is_none()));
        endpoint.status = std::mem::take(&mut endpoint.status).with(node, part, &concerned);
        txn.put_status(&endpoint);
    }
    Ok(txn)
}

/// The rollouts under way: each holds the claim of its env.
pub(crate) fn active(view: &dyn View) -> Result<Vec<Rollout>, StoreError> {
    let owners =
        view.claims("rollout")?.into_iter().filter_map(|claim| RolloutId::try_from(claim.owner).ok());
    let rollouts = owners.map(|id| view.find::<RolloutSpec>(id)).collect::<Result<Vec<_>, _>>()?;
    Ok(rollouts.into_iter().flatten().collect())
}

/// What to type to reach a socket bound to `bound`. `[::]` carries IPv4 as well.
fn reachable(bound: &[IpAddr], port: u16, reached_at: &dyn Fn(SocketAddr) -> SocketAddr) -> Vec<String> {
    let (v4, v6) = (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST));
    let mut hosts: Vec<IpAddr> = vec![];
    for address in bound {
        match address {
            IpAddr::V6(any) if any.is_unspecified() => hosts.extend([v4, v6]),
            IpAddr::V4(any) if any.is_unspecified() => hosts.push(v4),
            other => hosts.push(*other),
        }
    }
    hosts.sort();
    let mut all: Vec<_> = hosts.into_iter().map(|host| reached_at(SocketAddr::new(host, port))).collect();
    all.dedup();
    all.into_iter().map(|address| address.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::Settings;
    use freehold_model::manifest::{Protocol, ProxyProtocol};
    use std::time::Duration;

    fn route(stored: EndpointStatus, awaited: u64) -> Route {
        let settings = Settings {
            idle: Duration::from_secs(1),
            max_connections: None,
            proxy_protocol: ProxyProtocol::Off,
            trusted_proxies: [].into(),
        };
        Route {
            listen: Ok(8000),
            protocol: Protocol::Tcp,
            own: None,
            owner: None,
            settings,
            backends: vec![],
            stored,
            awaited,
        }
    }

    fn outcome() -> Outcome {
        Outcome {
            listening: Ok(vec![Ipv6Addr::UNSPECIFIED.into()]),
            draining: BTreeMap::new(),
            hop_port: None,
        }
    }

    #[test]
    fn a_written_status_is_not_written_again() {
        let routing = Routing { version: 9, ..Routing::default() };
        let first = to_write(&routing, &route(EndpointStatus::default(), 7), outcome(), &|it| it).unwrap();
        assert_eq!(first.applied, 9);
        assert_eq!(first.addresses, ["127.0.0.1:8000", "[::1]:8000"]);
        let later = Routing { version: 10, ..Routing::default() };
        assert_eq!(to_write(&later, &route(first.clone(), 7), outcome(), &|it| it), None);
        let awaited = to_write(&later, &route(first, 10), outcome(), &|it| it);
        assert_eq!(awaited.map(|status| status.applied), Some(10), "somebody waits for version 10");
    }

    #[test]
    fn only_instances_that_exist_are_said_to_drain() {
        let [kept, gone] = [1, 2].map(|n| InstanceId(ulid::Ulid::from_parts(0, n)));
        let routing = Routing { version: 9, instances: [kept].into(), ..Routing::default() };
        let outcome = Outcome { draining: [(kept, 1), (gone, 2)].into(), ..outcome() };
        let written = to_write(&routing, &route(EndpointStatus::default(), 0), outcome, &|it| it).unwrap();
        assert_eq!(written.draining, [(kept, 1)].into());
    }

    #[test]
    fn a_port_that_cannot_be_had_is_said_with_the_reason() {
        let outcome = Outcome {
            listening: Err("port 8000 is taken".into()),
            draining: BTreeMap::new(),
            hop_port: None,
        };
        let written =
            to_write(&Routing::default(), &route(EndpointStatus::default(), 0), outcome, &|it| it).unwrap();
        assert!(!written.listening && written.addresses.is_empty());
        assert_eq!(written.message.as_deref(), Some("port 8000 is taken"));
    }
}
