//! Drills: proofs made on demand that something holds.

use super::summaries::SummaryParams;
use crate::{error::Answer, params::Params, scope::Scope, state::Api, who::Who};
use axum::{Json, extract::State};
use freehold_identity::Action;
use freehold_model::{
    Desired, EndpointSpec, Instance, InstanceId, InstanceSpec, Phase,
    drill::EgressDrill,
    manifest::{Driver, Protocol},
};
use freehold_reconcile::{View, ViewExt as _};

/// Tries from inside instances where they can connect to, and compares that with their egress.
#[utoipa::path(post, path = "/v1/drills/egress", operation_id = "drill_egress", tag = "run", params(SummaryParams),
    responses((status = 200, description = "What was tried from inside the running containers, and what came of it", body = EgressDrill)))]
pub(crate) async fn egress(
    State(api): State<Api>,
    who: Who,
    Params(scope): Params<Scope>,
) -> Answer<Json<EgressDrill>> {
    let found = api.read(move |view| subjects(view, &who, &scope)).await?;
    let tries = api.agent.drill_egress(found.instances, found.ports).await?;
    Ok(Json(EgressDrill { ok: tries.iter().all(|one| one.ok), tries }))
}

/// What is to be drilled.
struct Subjects {
    /// The containers.
    instances: Vec<InstanceId>,
    /// The ports of the node's endpoints, and what they are.
    ports: Vec<(u16, String)>,
}

fn subjects(view: &dyn View, who: &Who, scope: &Scope) -> Answer<Subjects> {
    let mut instances = vec![];
    for place in scope.places(view, who, Action::Exec)? {
        let all = view.all::<InstanceSpec>(Some(place.env.any_id()))?;
        instances.extend(all.iter().filter(|it| is_subject(it)).map(|it| it.id));
    }
    let tcp = |it: &freehold_model::Endpoint| it.spec.protocol == Protocol::Tcp;
    let endpoints = view.all::<EndpointSpec>(None)?.into_iter().filter(tcp);
    let ports = endpoints.map(|it| (it.spec.listen, format!("the node's endpoint {}", it.name))).collect();
    Ok(Subjects { instances, ports })
}

fn is_subject(instance: &Instance) -> bool {
    let spec = &instance.spec;
    let runs = spec.desired == Desired::Running && instance.status.phase == Phase::Running;
    runs && spec.template.driver == Driver::Container
}
