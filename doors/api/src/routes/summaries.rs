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
use freehold_identity::Action;
use freehold_model::{
    AnyId, Endpoint, EndpointSpec, Instance, InstanceSpec, Kind, Query, ReceiptId, ReceiptSpec, ReleaseId,
    ReleaseSpec,
    api::{EndpointSummary, EnvSummary, InstanceSummary},
};
use freehold_reconcile::{StoreError, View, ViewExt as _};
use std::collections::BTreeMap;
use utoipa::IntoParams;

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
    let read = move |view: &dyn View| {
        let places = scope.places(view, &who, Action::Read)?;
        let summaries: Result<Vec<_>, StoreError> = places.iter().map(|place| summary(view, place)).collect();
        Ok(summaries?)
    };
    let mut summaries = api.read(read).await?;
    for endpoint in summaries.iter_mut().flat_map(|env| &mut env.endpoints) {
        endpoint.traffic = api.edge.traffic(endpoint.id);
    }
    Ok(Json(summaries))
}

fn summary(view: &dyn View, place: &Place) -> Result<EnvSummary, StoreError> {
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
    for one in view.all::<InstanceSpec>(Some(id))? {
        let release = numbers.of(view, one.spec.release)?;
        instances.push(instance(one, release));
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
        instances,
        endpoints: endpoints.into_iter().map(|one| endpoint(place, one)).collect(),
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

fn instance(one: Instance, release: Option<u32>) -> InstanceSummary {
    InstanceSummary {
        message: reason::instance(&one),
        id: one.id,
        process: one.spec.process,
        release,
        phase: one.status.phase,
        healthy: one.status.healthy,
        serving: one.spec.serving,
        restarts: one.status.restarts,
        started: one.status.started,
        address: one.spec.address,
    }
}

fn endpoint(place: &Place, one: Endpoint) -> EndpointSummary {
    EndpointSummary {
        id: one.id,
        app: place.app.name.clone(),
        env: place.env.name.clone(),
        process: one.spec.process,
        name: one.name,
        target: one.spec.target,
        listening: one.status.listening,
        backends: one.status.backends,
        addresses: one.status.addresses,
        message: one.status.message,
        traffic: None,
    }
}
