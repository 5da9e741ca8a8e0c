//! Tries the ports that a plan adds on the machine of this control plane, where the endpoints of all apps listen.
//!
//! Called while a change is prepared: binding is no part of a plan, what came of it is.

use super::Wanted;
use crate::{error::Answer, port::ClosedPort, state::Api};
use freehold_deploy::PlanError;
use freehold_model::{Code, Plan, Problem, manifest::Protocol, plan::Action};
use freehold_reconcile::View;
use std::time::Duration;

/// How often and how soon a port that Freehold itself still has is tried again: an app that has just gone.
const ATTEMPTS: usize = 40;
const AGAIN: Duration = Duration::from_millis(50);

/// The ports that `plan` adds and nobody's endpoint has.
pub(super) fn added(view: &dyn View, plan: &Plan) -> Result<Vec<(String, Protocol, u16)>, PlanError> {
    let is_new = |name: &str| {
        let mut all = plan.changes.iter();
        all.any(|it| it.kind == "endpoint" && it.name == name && it.action == Action::Add)
    };
    let mut added = vec![];
    for endpoint in plan.manifest.iter().flat_map(|manifest| &manifest.endpoint) {
        let protocol = match endpoint.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        let name = format!("{protocol}/{}", endpoint.listen);
        if is_new(&name) && view.claim("port", &name)?.is_none() {
            added.push((name, endpoint.protocol, endpoint.listen));
        }
    }
    Ok(added)
}

/// Those of them that can't be had now, each with who has it.
pub(super) async fn closed(api: &Api, wanted: Wanted) -> Answer<Vec<(String, Problem)>> {
    // What is wrong with the request itself is said when it is planned.
    let look =
        move |view: &dyn View| Ok(wanted.plan(view).and_then(|plan| added(view, &plan)).unwrap_or_default());
    let mut closed = vec![];
    for (name, protocol, port) in api.read(look).await? {
        if let Some(found) = try_port(api, protocol, port).await {
            closed.push((name.clone(), problem(&name, &found)));
        }
    }
    Ok(closed)
}

async fn try_port(api: &Api, protocol: Protocol, port: u16) -> Option<ClosedPort> {
    for _ in 1..ATTEMPTS {
        match api.edge.try_port(protocol, port) {
            Err(found) if found.is_ours => tokio::time::sleep(AGAIN).await,
            tried => return tried.err(),
        }
    }
    api.edge.try_port(protocol, port).err()
}

fn problem(name: &str, found: &ClosedPort) -> Problem {
    let code = if found.is_taken { Code::Conflict } else { Code::Unplaceable };
    Problem::new(code, format!("endpoint {name} cannot be opened: {}", found.reason))
}
