//! Opening: the ports that a release adds are opened while its instances start, beside those of the release that
//! runs; nothing that serves is given up before all of them are seen to be open.
//!
//! Called by `start`, which waits for them before it replaces or shifts anything; by `restore`, which closes what
//! a failed release had opened; and by `drain`, which waits for the same. Invariant: until the shift, the
//! endpoints of the release that runs are as they were.

use super::scene::{Scene, is_running};
use crate::{claims, lookup::current_release};
use freehold_model::{Endpoint, EndpointId, EndpointSpec, EndpointStatus, NodeId, NodeSpec, Txn, manifest};
use freehold_reconcile::{Ids, ViewExt};
use jiff::SignedDuration;
use std::collections::BTreeSet;

/// How long a port may be seen to be closed before the release is given up for it: a program that is about to
/// end lets go of its port.
pub(super) const PATIENCE: SignedDuration = SignedDuration::from_secs(10);

/// How far the ports of a release are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// Everywhere where they have to be.
    Open,
    /// An edge has not said yet; which, in a sentence.
    Unheard(String),
    /// One cannot be opened; which and why, in a sentence.
    Closed(String),
}

/// Adds the endpoints that the target wants and that there are not; says which.
pub(super) fn open(scene: &Scene<'_>, txn: &mut Txn, ids: &mut dyn Ids) -> Vec<String> {
    let mut opened = vec![];
    for wanted in &scene.target.spec.manifest.endpoint {
        let name = claims::port(wanted.protocol, wanted.listen);
        let known = scene.endpoints.iter().find(|it| it.name == name);
        if known.is_some_and(|it| it.deleting.is_none()) {
            continue;
        }
        if let Some(leftover) = known {
            txn.delete(leftover.id);
        }
        let id = EndpointId(ids.ulid());
        let parent = Some(scene.env.id.into());
        txn.put(&Endpoint::new(id, &name, parent, spec(wanted), scene.now)).claim(claims::PORT, &name, id);
        opened.push(name);
    }
    opened
}

/// Removes the endpoints that the target alone wants: it has failed. Says which.
pub(super) fn close(scene: &Scene<'_>, txn: &mut Txn) -> Vec<String> {
    let before = current_release(scene.view, &scene.env).ok().flatten();
    let wants = |all: &[manifest::Endpoint], name: &str| {
        all.iter().any(|it| claims::port(it.protocol, it.listen) == name)
    };
    let before = before.map(|release| release.spec.manifest.endpoint).unwrap_or_default();
    let ours = &scene.target.spec.manifest.endpoint;
    let added = scene.endpoints.iter().filter(|it| wants(ours, &it.name) && !wants(&before, &it.name));
    let closed = added.map(|endpoint| {
        txn.delete(endpoint.id);
        endpoint.name.clone()
    });
    closed.collect()
}

/// How far the ports of the target are.
pub(super) fn state(scene: &Scene<'_>) -> Opening {
    let names = scene.target.spec.manifest.endpoint.iter().map(|it| claims::port(it.protocol, it.listen));
    let mut unheard = None;
    for name in names {
        let endpoint = scene.endpoints.iter().find(|it| it.name == name && it.deleting.is_none());
        match endpoint.map(|endpoint| of_one(scene, endpoint)) {
            Some(Opening::Open) => {}
            Some(closed @ Opening::Closed(_)) => return closed,
            Some(Opening::Unheard(on)) => unheard = unheard.or(Some(on)),
            None => unheard = unheard.or(Some(format!("endpoint {name} is not there yet"))),
        }
    }
    unheard.map_or(Opening::Open, Opening::Unheard)
}

fn of_one(scene: &Scene<'_>, endpoint: &Endpoint) -> Opening {
    let (name, status) = (&endpoint.name, &endpoint.status);
    if status.nodes.is_empty() {
        return one_part(name, "", Some(status));
    }
    let mut found = Opening::Open;
    for node in edges(scene, endpoint) {
        let place = scene.view.find::<NodeSpec>(node).ok().flatten();
        let place = place.map(|it| format!(" on node {}", it.name)).unwrap_or_default();
        match one_part(name, &place, status.nodes.get(&node)) {
            Opening::Open => {}
            closed @ Opening::Closed(_) => return closed,
            unheard => found = unheard,
        }
    }
    found
}

fn one_part(name: &str, place: &str, part: Option<&EndpointStatus>) -> Opening {
    match part {
        Some(part) if part.listening => Opening::Open,
        Some(EndpointStatus { message: Some(why), .. }) => {
            Opening::Closed(format!("endpoint {name} is not open{place}: {why}"))
        }
        _ => Opening::Unheard(format!("endpoint {name} has not been opened{place} yet")),
    }
}

/// The nodes whose edges must have the port open: the one beside the control plane, and those that have
/// instances to serve, as far as they answer.
fn edges(scene: &Scene<'_>, endpoint: &Endpoint) -> BTreeSet<NodeId> {
    let sets = scene.sets();
    let serving = sets.fresh.iter().chain(&sets.kept);
    let of_it = serving.filter(|it| is_running(it) && it.spec.process == endpoint.spec.process);
    let mut nodes: BTreeSet<NodeId> = of_it.map(|it| it.spec.node).collect();
    nodes.extend(scene.away.near());
    nodes.retain(|node| scene.away.answers(*node));
    nodes
}

/// What is wanted of an endpoint.
pub(super) fn spec(endpoint: &manifest::Endpoint) -> EndpointSpec {
    EndpointSpec {
        process: endpoint.process.clone(),
        listen: endpoint.listen,
        target: endpoint.target,
        protocol: endpoint.protocol,
        proxy_protocol: endpoint.proxy_protocol,
        trusted_proxies: endpoint.trusted_proxies.clone(),
        idle_timeout: endpoint.idle_timeout,
        max_connections: endpoint.max_connections,
    }
}
