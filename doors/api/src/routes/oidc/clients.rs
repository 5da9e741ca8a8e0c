//! The apps that people sign in to, and the keys that sign: for those who run the house.

use crate::{
    error::{Answer, Failure},
    extract::Json as Body,
    params::{NoParams, Params},
    state::Api,
    who::{Caller, Who},
};
use axum::{Json, extract::State};
use freehold_identity::{Action, oidc};
use freehold_model::oidc::{ClientSummary, RotateSigningKeys, SigningKeySummary};

/// Lists the apps that people sign in to through this house.
#[utoipa::path(get, path = "/v1/oidc/clients", operation_id = "list_oidc_clients", tag = "oidc",
    responses((status = 200, description = "In order of their ids", body = Vec<ClientSummary>)))]
pub(crate) async fn list(
    State(api): State<Api>,
    who: Who,
    _: Params<NoParams>,
) -> Answer<Json<Vec<ClientSummary>>> {
    let all = api.read(move |view| {
        let all = oidc::client_summaries(view)?.into_iter();
        Ok(all.filter(|(place, _)| who.may(Action::Read, *place)).map(|(_, summary)| summary).collect())
    });
    all.await.map(Json)
}

/// Lists the keys that sign ID tokens: the first signs, the others are published for a while yet.
#[utoipa::path(get, path = "/v1/oidc/keys", operation_id = "list_oidc_keys", tag = "oidc",
    responses((status = 200, description = "The newest first", body = Vec<SigningKeySummary>)))]
pub(crate) async fn keys(
    State(api): State<Api>,
    _: Params<NoParams>,
) -> Answer<Json<Vec<SigningKeySummary>>> {
    Ok(Json(api.signer.summaries().await?))
}

/// Makes a new key that signs ID tokens; what older ones signed can be verified for a day yet.
#[utoipa::path(post, path = "/v1/oidc/keys", operation_id = "rotate_oidc_keys", tag = "oidc",
    request_body = RotateSigningKeys,
    responses((status = 200, description = "The keys as they are now", body = Vec<SigningKeySummary>)))]
pub(crate) async fn rotate(
    State(api): State<Api>,
    _: Params<NoParams>,
    caller: Caller,
    Body(wanted): Body<RotateSigningKeys>,
) -> Answer<Json<Vec<SigningKeySummary>>> {
    let signer = api.signer.clone();
    // On its own: a caller that goes away does not stop it.
    let rotation = tokio::spawn(async move {
        signer.rotate(&caller.actor, &caller.request, wanted.withdraw).await?;
        signer.summaries().await
    });
    Ok(Json(rotation.await.map_err(Failure::internal)??))
}
