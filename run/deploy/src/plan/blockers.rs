//! What stops a plan: a port that is another's, or that an ordinary user may not have. A rollout under way does not: plans wait for it.

use crate::{claims, lookup::Place};
use freehold_model::{AnyId, Code, EndpointId, EndpointSpec, EnvId, NodeSpec, Problem, ReleaseSpec};
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
        if let Some(owner) = other_owner(view, &key, place.project.id.into(), env)? {
            problems.push(
                Problem::new(Code::Conflict, format!("port {key} is taken by {owner}"))
                    .hint("listen on another port in the manifest, or remove the other endpoint first"),
            );
        }
    }
    Ok(problems)
}

/// Who holds the port `key`, unless it is `env` itself: `<app>/<env>` of the same `project`; of another, whose
/// names are not for those who deploy here, only that somebody does.
pub(crate) fn other_owner(
    view: &dyn View,
    key: &str,
    project: AnyId,
    env: Option<EnvId>,
) -> Result<Option<String>, StoreError> {
    let Some(owner) = port_owner(view, key)? else { return Ok(None) };
    if env.map(AnyId::from) == Some(owner) {
        return Ok(None);
    }
    let env = view.get(owner)?;
    let app = env.as_ref().and_then(|env| env.parent).map(|id| view.get(id)).transpose()?.flatten();
    Ok(Some(match (app, env) {
        (Some(app), Some(env)) if app.parent == Some(project) => format!("{}/{}", app.name, env.name),
        _ => "an app of another project".to_owned(),
    }))
}

/// The env whose endpoint holds the port `key`, or what else does.
pub(crate) fn port_owner(view: &dyn View, key: &str) -> Result<Option<AnyId>, StoreError> {
    let Some(owner) = view.claim(claims::PORT, key)? else { return Ok(None) };
    let endpoint = match EndpointId::try_from(owner) {
        Ok(id) => view.find::<EndpointSpec>(id)?,
        Err(_) => None,
    };
    Ok(Some(endpoint.and_then(|endpoint| endpoint.parent).unwrap_or(owner)))
}
