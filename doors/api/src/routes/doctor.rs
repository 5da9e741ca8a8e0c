//! What the machine can do.

use crate::{
    error::{Answer, Failure},
    params::{NoParams, Params},
    state::Api,
};
use axum::{Json, extract::State};
use freehold_model::api::Doctor;

/// Says what this machine can do, what it lacks, and how to mend that.
#[utoipa::path(get, path = "/v1/doctor", operation_id = "doctor", tag = "server",
    responses((status = 200, description = "What was found", body = Doctor)))]
pub(crate) async fn doctor(State(api): State<Api>, _: Params<NoParams>) -> Answer<Json<Doctor>> {
    let look = api.doctor.clone();
    tokio::task::spawn_blocking(move || look()).await.map(Json).map_err(Failure::internal)
}
