//! Whether the server is ready, and what it offers; open to anybody who can reach it.

use crate::{
    error::{Answer, Failure},
    params::{NoParams, Params},
    state::Api,
};
use axum::{Json, body::Bytes, extract::State, http::header::CONTENT_TYPE, response::IntoResponse};
use freehold_model::{Code, Problem};
use serde::Serialize;
use std::sync::LazyLock;
use utoipa::ToSchema;

/// How the server is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ready`.
    status: &'static str,
}

/// Says whether the server is ready: it stores, runs and serves.
#[utoipa::path(get, path = "/healthz", operation_id = "health", tag = "server", security(()),
    responses((status = 200, description = "Ready", body = Health)))]
pub(crate) async fn healthz(State(api): State<Api>, _: Params<NoParams>) -> Answer<Json<Health>> {
    if *api.ready.borrow() {
        return Ok(Json(Health { status: "ready" }));
    }
    let problem = Problem::new(Code::Unavailable, "The server is starting or stopping.");
    Err(Failure(problem.hint("Ask again in a moment.")))
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", operation_id = "openapi", tag = "server", security(()),
    responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
pub(crate) async fn openapi() -> impl IntoResponse {
    // Anybody may ask, so it is written once.
    static DOCUMENT: LazyLock<Bytes> =
        LazyLock::new(|| crate::openapi().to_json().expect("it is JSON").into());
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.clone())
}
