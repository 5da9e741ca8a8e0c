//! Making orgs and projects. They are listed and read like every resource.

use crate::{
    commit::commit,
    error::{Answer, Failure},
    extract::Json,
    params::{NoParams, Params},
    state::Api,
    who::{Caller, Who},
};
use axum::{Json as Sent, extract::State, http::StatusCode};
use freehold_identity as identity;
use freehold_model::{
    AnyId, AnyResource,
    access::{CreateOrg, CreateProject},
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
