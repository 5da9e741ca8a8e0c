//! The control planes of the house: who lives, and who leads what.

use crate::{
    controls::Controls,
    error::Answer,
    params::{NoParams, Params},
    state::Api,
};
use axum::{Json, extract::State};
use freehold_model::controls::ControlPlanes;

/// Lists control planes as this one sees them: live, silent or stopped, and what each leads since when.
#[utoipa::path(get, path = "/v1/controls", operation_id = "list_controls", tag = "server",
    responses((status = 200, description = "In order of names", body = ControlPlanes)))]
pub(crate) async fn list(State(api): State<Api>, _: Params<NoParams>) -> Answer<Json<ControlPlanes>> {
    Ok(Json(ControlPlanes { items: Controls::planes(&api.controls) }))
}
