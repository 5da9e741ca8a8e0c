//! The certificate authority, as people look at it and rotate it.

use super::join::failure;
use crate::{
    error::{Answer, Failure},
    extract::Json as Body,
    params::{NoParams, Params},
    state::Api,
    who::Caller,
};
use axum::{Json, extract::State};
use freehold_model::join::{AuthoritySummary, Rotate};

/// Says which roots are trusted, what issues, and who depends on what.
#[utoipa::path(get, path = "/v1/authority", operation_id = "get_authority", tag = "machines",
    responses((status = 200, description = "The authority", body = AuthoritySummary)))]
pub(crate) async fn summary(State(api): State<Api>, _: Params<NoParams>) -> Answer<Json<AuthoritySummary>> {
    let authority = api.authority.clone();
    api.read(move |view| authority.summary(view).map_err(failure)).await.map(Json)
}

/// Replaces the root or the intermediate, without an outage: what is old stays trusted until nobody depends
/// on it.
#[utoipa::path(post, path = "/v1/authority/rotation", operation_id = "rotate_authority", tag = "machines", request_body = Rotate,
    responses((status = 200, description = "The authority as it is now", body = AuthoritySummary)))]
pub(crate) async fn rotate(
    State(api): State<Api>,
    _: Params<NoParams>,
    caller: Caller,
    Body(wanted): Body<Rotate>,
) -> Answer<Json<AuthoritySummary>> {
    let authority = api.authority.clone();
    // On its own: a caller that goes away does not stop it.
    let rotation =
        tokio::spawn(async move { authority.rotate(&caller.actor, &caller.request, &wanted).await });
    rotation.await.map_err(Failure::internal)?.map(Json).map_err(failure)
}
