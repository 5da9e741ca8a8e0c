//! What stops a plan: a port that is another's. A rollout under way does not: plans wait for it.

use crate::{claims, lookup::Place};
use freehold_model::{AnyId, AnyResource, Code, EndpointId, EndpointSpec, EnvId, Problem, ReleaseSpec};
use freehold_reconcile::{StoreError, View, ViewExt};

/// Everything that stops `wanted` from being deployed at `place`, placement aside.
pub(super) fn blockers(
    view: &dyn View,
    place: &Place,
    wanted: &ReleaseSpec,
) -> Result<Vec<Problem>, StoreError> {
    let mut problems = vec![];
    let env = place.env.as_ref().map(|env| env.id);
    for endpoint in &wanted.manifest.endpoint {
        let key = claims::port(endpoint.protocol, endpoint.listen);
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
