//! How envs are, at a glance: what `status`, `endpoint list` and front pages show.

use crate::{
    error::Answer,
    params::{FromParams, Keys, Params},
    reason,
    scope::{Place, Scope},
    state::Api,
    who::Who,
};
use axum::{Json, extract::State};
use freehold_deploy::{Surroundings, standing};
use freehold_identity::Action;
use freehold_model::{
    AnyId, Endpoint, EndpointSpec, Instance, Kind, Operation, Query, ReceiptId, ReceiptSpec, ReleaseId,
    ReleaseSpec,
    api::{Deployed, EndpointSummary, EnvSummary, InstanceSummary},
};
use freehold_reconcile::{StoreError, View, ViewExt as _};
use std::collections::{BTreeMap, BTreeSet};
use utoipa::IntoParams;

/// The number of receipts among which the last deploy is looked for.
const RECENT: usize = 10;

/// Which envs are wanted; all of them when nothing is given.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // The struct documents what `Scope` reads.
pub(crate) struct SummaryParams {
    /// Of the project of this name.
    project: Option<String>,
    /// Of the app of this name.
    app: Option<String>,
    /// Of this name.
    env: Option<String>,
}

impl FromParams for Scope {
    fn from_params(keys: &mut Keys) -> Self {
        Scope::from_keys(keys)
    }
}

/// Summarises envs: release, rollout, instances, endpoints.
#[utoipa::path(get, path = "/v1/summaries", operation_id = "list_summaries", tag = "run", params(SummaryParams),
    responses((status = 200, description = "One for each env", body = Vec<EnvSummary>)))]
pub(crate) async fn list(
    State(api): State<Api>,
    who: Who,
    Params(scope): Params<Scope>,
) -> Answer<Json<Vec<EnvSummary>>> {
    let now = api.clock.now();
    let read = move |view: &dyn View| {
        let places = scope.places(view, &who, Action::Read)?;
        // Nodes are the house's.
        let sees_nodes = who.may(Action::Read, freehold_identity::Place::House);
        let around = Surroundings::load(view, now)?.naming(sees_nodes);
        let summaries: Result<Vec<_>, StoreError> =
            places.iter().map(|place| summary(view, place, &around)).collect();
        Ok(summaries?)
    };
    let mut summaries = api.read(read).await?;
    for endpoint in summaries.iter_mut().flat_map(|env| &mut env.endpoints) {
        endpoint.traffic = api.edge.traffic(endpoint.id);
    }
    Ok(Json(summaries))
}

fn summary(view: &dyn View, place: &Place, around: &Surroundings) -> Result<EnvSummary, StoreError> {
    let env = &place.env;
    let id = env.any_id();
    let rollout = reason::active_rollout(view, env)?;
    let receipt = match &rollout {
        Some(rollout) => Some(rollout.spec.receipt),
        None => last_receipt(view, id)?,
    };
    let under_way = rollout.as_ref().and(receipt).map(|id| view.find::<ReceiptSpec>(id)).transpose()?;
    let steps = under_way.flatten().map(|receipt| receipt.status.steps).unwrap_or_default();
    let queued = view.claim("waiting", &id.to_string())?.and_then(|id| ReceiptId::try_from(id).ok());
    let mut numbers = Numbers::default();
    let mut instances = vec![];
    let found = standing(view, env, around)?;
    for (one, ailment) in found.instances {
        let release = numbers.of(view, one.spec.release)?;
        instances.push(instance(one, ailment, release, around));
    }
    // People look for a process; ids of instances made at once are in no order that means anything.
    instances.sort_by(|a, b| (&a.process, a.id).cmp(&(&b.process, b.id)));
    let release = env.spec.release.map(|release| numbers.of(view, release)).transpose()?.flatten();
    let endpoints = view.all::<EndpointSpec>(Some(id))?;
    Ok(EnvSummary {
        project: place.project.name.clone(),
        app: place.app.name.clone(),
        env: env.name.clone(),
        id: env.id,
        release,
        rollout: rollout.map(|rollout| rollout.id),
        receipt,
        step: steps.into_iter().find(|step| step.finished.is_none()),
        queued,
        processes: found.processes,
        deployed: deployed(view, id)?,
        instances,
        endpoints: endpoints.into_iter().map(|one| endpoint(place, one, around)).collect(),
    })
}

/// The numbers of releases, each looked up once.
#[derive(Default)]
struct Numbers(BTreeMap<ReleaseId, Option<u32>>);

impl Numbers {
    fn of(&mut self, view: &dyn View, id: ReleaseId) -> Result<Option<u32>, StoreError> {
        if let Some(number) = self.0.get(&id) {
            return Ok(*number);
        }
        let number = view.find::<ReleaseSpec>(id)?.map(|release| release.spec.number);
        self.0.insert(id, number);
        Ok(number)
    }
}

fn last_receipt(view: &dyn View, env: AnyId) -> Result<Option<ReceiptId>, StoreError> {
    let page = view.list(&Query::of(Kind::Receipt).under(env).newest(1))?;
    Ok(page.items.first().and_then(|receipt| ReceiptId::try_from(receipt.id).ok()))
}

/// Who deployed or rolled back last. What only waits, or moves instances, is none of it.
fn deployed(view: &dyn View, env: AnyId) -> Result<Option<Deployed>, StoreError> {
    let page = view.list(&Query::of(Kind::Receipt).under(env).newest(RECENT))?;
    for any in page.items {
        let receipt = any.typed::<ReceiptSpec>()?;
        let is_it = matches!(receipt.spec.operation, Operation::Deploy | Operation::Rollback);
        if is_it && receipt.spec.queued.is_none() {
            return Ok(Some(Deployed { by: receipt.spec.actor, at: receipt.spec.accepted }));
        }
    }
    Ok(None)
}

fn instance(
    one: Instance,
    ailment: Option<String>,
    release: Option<u32>,
    around: &Surroundings,
) -> InstanceSummary {
    let node = around.node(one.spec.node);
    InstanceSummary {
        node: node.map(str::to_owned),
        healthy: ailment.is_none() && one.status.healthy,
        exit: one.status.last_exit.as_ref().map(ToString::to_string),
        message: ailment,
        id: one.id,
        process: one.spec.process,
        release,
        phase: one.status.phase,
        serving: one.spec.serving,
        restarts: one.status.restarts,
        started: one.status.started,
        address: one.spec.address,
    }
}

fn endpoint(place: &Place, one: Endpoint, around: &Surroundings) -> EndpointSummary {
    // What an edge said that nobody hears any more is not known to be so.
    let silent = one.status.nodes.iter().filter(|(node, _)| !around.answers(**node));
    let lost: BTreeSet<&String> = silent.flat_map(|(_, part)| &part.addresses).collect();
    let heard = one.status.nodes.iter().filter(|(node, _)| around.answers(**node));
    let known: BTreeSet<&String> = heard.flat_map(|(_, part)| &part.addresses).collect();
    let reached = |address: &&String| !lost.contains(address) || known.contains(address);
    EndpointSummary {
        id: one.id,
        app: place.app.name.clone(),
        env: place.env.name.clone(),
        process: one.spec.process,
        name: one.name,
        target: one.spec.target,
        listening: one.status.listening,
        backends: one.status.backends,
        addresses: one.status.addresses.iter().filter(reached).cloned().collect(),
        message: one.status.message,
        traffic: None,
    }
}
