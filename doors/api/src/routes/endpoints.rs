//! What endpoints carry: counters, and the access log, as the edge tells them.

use super::resources::missing;
use crate::{
    error::Answer,
    extract::Id,
    params::{FromParams, Keys, NoParams, Params},
    state::Api,
    streams::Long,
    who::Who,
};
use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use freehold_model::{
    Code, EndpointId, EndpointSpec, Problem,
    traffic::{AccessLine, AccessQuery, EndpointTraffic},
};
use freehold_reconcile::ViewExt as _;
use futures::StreamExt as _;
use utoipa::IntoParams;

const MAX_TAIL: u64 = 1_000_000;

/// What an endpoint has carried. The numbers live in memory: they begin anew when the server does.
#[utoipa::path(get, path = "/v1/endpoints/{id}/traffic", operation_id = "get_traffic", tag = "watch",
    params(("id" = String, Path, description = "The endpoint's id")),
    responses((status = 200, description = "Its counters", body = EndpointTraffic)))]
pub(crate) async fn traffic(
    State(api): State<Api>,
    Id(id): Id<EndpointId>,
    _: Params<NoParams>,
) -> Answer<Json<EndpointTraffic>> {
    if let Some(traffic) = api.edge.traffic(id) {
        return Ok(Json(traffic));
    }
    exists(&api, id).await?;
    let problem = Problem::new(Code::NotFound, format!("The edge does not carry {id} yet."));
    Err(problem.hint("It takes up new endpoints within moments: ask again.").into())
}

/// Which lines are wanted.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // The struct documents what `Wish` reads.
pub(crate) struct AccessParams {
    /// Of connections that ended not before this time (RFC 3339).
    #[param(format = DateTime)]
    since: Option<String>,
    /// Only the last so many.
    #[param(minimum = 0, maximum = 1000000)]
    tail: Option<u64>,
    /// Goes on with new lines as connections end.
    follow: Option<bool>,
}

/// What `AccessParams` describe.
pub(crate) struct Wish(AccessQuery);

impl FromParams for Wish {
    fn from_params(keys: &mut Keys) -> Self {
        let tail = keys.number("tail", 0..=MAX_TAIL).map(|tail| tail as usize);
        Wish(AccessQuery { since: keys.optional("since"), tail, follow: keys.flag("follow") })
    }
}

/// Streams an endpoint's access log: a line for each connection that has ended, the oldest first.
#[utoipa::path(get, path = "/v1/endpoints/{id}/access", operation_id = "read_access", tag = "watch",
    params(("id" = String, Path, description = "The endpoint's id"), AccessParams),
    responses((status = 200, description = "One JSON object to a line", content_type = "application/x-ndjson", body = AccessLine)))]
pub(crate) async fn access(
    State(api): State<Api>,
    Id(id): Id<EndpointId>,
    who: Who,
    Params(Wish(query)): Params<Wish>,
) -> Answer<Response> {
    exists(&api, id).await?;
    let open = api.streams.open(&who, Long::Logs)?;
    let lines = api.edge.access(id, query).take_until(api.stopping()).take_until(who.dismissed(&api));
    let body = Body::from_stream(lines.map(move |lines| {
        let _ = &open;
        lines.map(|lines| text(&lines))
    }));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

async fn exists(api: &Api, id: EndpointId) -> Answer<()> {
    let found = api.read(move |view| Ok(view.find::<EndpointSpec>(id)?)).await?;
    found.map(drop).ok_or_else(|| missing(id))
}

fn text(lines: &[AccessLine]) -> Bytes {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, line).expect("a line is JSON, and memory takes it");
        text.push(b'\n');
    }
    text.into()
}
