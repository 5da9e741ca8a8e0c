//! The control planes of the house: who lives, and who leads what.

use crate::{
    controls::Controls,
    error::Answer,
    params::{NoParams, Params},
    state::Api,
};
use axum::{Json, extract::State};
use freehold_model::{controls::ControlPlanes, tasks::BackgroundTasks};

/// Lists control planes as this one sees them: live, silent or stopped, and what each leads since when.
#[utoipa::path(get, path = "/v1/controls", operation_id = "list_controls", tag = "server",
    responses((status = 200, description = "In order of names", body = ControlPlanes)))]
pub(crate) async fn list(State(api): State<Api>, _: Params<NoParams>) -> Answer<Json<ControlPlanes>> {
    Ok(Json(ControlPlanes { items: Controls::planes(&api.controls) }))
}

/// Lists what the control plane that is asked does in the background: each task's runs, failures and restarts, what
/// it does now, and whether it hangs.
#[utoipa::path(get, path = "/v1/tasks", operation_id = "list_tasks", tag = "server",
    responses((status = 200, description = "In order of names", body = BackgroundTasks)))]
pub(crate) async fn tasks(State(api): State<Api>, _: Params<NoParams>) -> Answer<Json<BackgroundTasks>> {
    Ok(Json(BackgroundTasks { control: api.controls.own.clone(), items: api.controls.tasks.list() }))
}
