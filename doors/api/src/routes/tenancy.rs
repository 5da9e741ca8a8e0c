//! Making orgs and projects. They are listed and read like every resource.

use crate::{
    commit::commit,
    error::{Answer, Failure},
    extract::{Id, Json},
    params::{NoParams, Params},
    state::Api,
    who::{Caller, Who},
};
use axum::{Json as Sent, extract::State, http::StatusCode};
use freehold_identity as identity;
use freehold_model::{
    AnyId, AnyResource, OrgId,
    access::{CreateOrg, CreateProject, RequireSecondFactor, SecondFactorPolicy},
};

/// Makes an org: an owner of projects, whose people see nothing of other orgs.
#[utoipa::path(post, path = "/v1/orgs", operation_id = "create_org", tag = "people", request_body = CreateOrg,
    responses((status = 201, description = "The org", body = AnyResource)))]
pub(crate) async fn create_org(
    State(api): State<Api>,
    who: Who,
    _: Params<NoParams>,
    caller: Caller,
    Json(wanted): Json<CreateOrg>,
) -> Answer<(StatusCode, Sent<AnyResource>)> {
    let asker = caller.asker(&who, &api);
    let id =
        commit(&api, move |view| identity::create_org(view, &asker, &wanted).map_err(Failure::from)).await?;
    made(&api, id.into()).await
}

/// Says whether an org's people need a second factor or a passkey: who has neither is kept out of all of it, until they
/// add one on their account's page. Tokens of machines go on.
#[utoipa::path(put, path = "/v1/orgs/{id}/second-factor", operation_id = "require_second_factor", tag = "people",
    params(("id" = String, Path, description = "The org's id")), request_body = RequireSecondFactor,
    responses((status = 200, description = "What counts from now on, and whom it keeps out", body = SecondFactorPolicy)))]
pub(crate) async fn require_second_factor(
    State(api): State<Api>,
    Id(id): Id<OrgId>,
    who: Who,
    _: Params<NoParams>,
    caller: Caller,
    Json(wanted): Json<RequireSecondFactor>,
) -> Answer<Sent<SecondFactorPolicy>> {
    let asker = caller.asker(&who, &api);
    let decide = move |view: &dyn freehold_reconcile::View| {
        identity::require_second_factor(view, &asker, id, wanted.required).map_err(Failure::from)
    };
    commit(&api, decide).await.map(Sent)
}

/// Makes a project of an org.
#[utoipa::path(post, path = "/v1/projects", operation_id = "create_project", tag = "people", request_body = CreateProject,
    responses((status = 201, description = "The project", body = AnyResource)))]
pub(crate) async fn create_project(
    State(api): State<Api>,
    who: Who,
    _: Params<NoParams>,
    caller: Caller,
    Json(wanted): Json<CreateProject>,
) -> Answer<(StatusCode, Sent<AnyResource>)> {
    let asker = caller.asker(&who, &api);
    let decide = move |view: &dyn freehold_reconcile::View| {
        identity::create_project(view, &asker, &wanted).map_err(Failure::from)
    };
    made(&api, commit(&api, decide).await?.into()).await
}

async fn made(api: &Api, id: AnyId) -> Answer<(StatusCode, Sent<AnyResource>)> {
    let found = api.read(move |view| Ok(view.get(id)?)).await?;
    Ok((StatusCode::CREATED, Sent(found.ok_or_else(|| super::resources::missing(id))?)))
}
