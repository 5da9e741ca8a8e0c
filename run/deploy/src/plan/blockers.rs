//! What stops a plan: a port that is another's, or that an ordinary user may not have. A rollout under way does not: plans wait for it.

use crate::{claims, lookup::Place};
use freehold_model::{
    AnyId, AnyResource, Code, EndpointId, EndpointSpec, EnvId, NodeSpec, Problem, ReleaseSpec,
};
use freehold_reconcile::{StoreError, View, ViewExt};

/// Everything that stops `wanted` from being deployed at `place`, placement aside.
pub(super) fn blockers(
    view: &dyn View,
    place: &Place,
    wanted: &ReleaseSpec,
) -> Result<Vec<Problem>, StoreError> {
    let mut problems = vec![];
    let env = place.env.as_ref().map(|env| env.id);
    let lowest = view.all::<NodeSpec>(None)?.iter().map(|node| node.status.lowest_port).max().unwrap_or(0);
    for endpoint in &wanted.manifest.endpoint {
        let key = claims::port(endpoint.protocol, endpoint.listen);
        if endpoint.listen < lowest {
            let title = format!("port {key} cannot be had: without root endpoints listen from {lowest} on");
            problems.push(Problem::new(Code::Unplaceable, title).hint(
                "listen on a higher port, or allow this one with `sudo sysctl -w net.ipv4.ip_unprivileged_port_start=PORT` \
                 and start Freehold again, or run it as root",
            ));
        }
        if let Some(owner) = other_owner(view, &key, env)? {
            problems.push(
                Problem::new(Code::Conflict, format!("port {key} is taken by {owner}"))
                    .hint("listen on another port in the manifest, or remove the other endpoint first"),
            );
        }
    }
    Ok(problems)
}

/// `<app>/<env>` of who holds the port `key`, unless it is `env` itself.
pub(crate) fn other_owner(
    view: &dyn View,
    key: &str,
    env: Option<EnvId>,
) -> Result<Option<String>, StoreError> {
    let Some(owner) = view.claim(claims::PORT, key)? else { return Ok(None) };
    let endpoint = match EndpointId::try_from(owner) {
        Ok(id) => view.find::<EndpointSpec>(id)?,
        Err(_) => None,
    };
    let parent = endpoint.and_then(|endpoint| endpoint.parent);
    if parent.is_some() && parent == env.map(AnyId::from) {
        return Ok(None);
    }
    let env = parent.map(|id| view.get(id)).transpose()?.flatten();
    let app = env.as_ref().and_then(|env| env.parent).map(|id| view.get(id)).transpose()?.flatten();
    let name = |found: Option<AnyResource>| found.map(|it| it.name);
    Ok(Some(match (name(app), name(env)) {
        (Some(app), Some(env)) => format!("{app}/{env}"),
        _ => owner.to_string(),
    }))
}
