//! How long the event log reaches back: what counts, and another rule.

use crate::{
    commit::commit,
    error::Answer,
    extract::Json,
    params::{NoParams, Params},
    state::Api,
    who::{Caller, Who},
};
use axum::{Json as Sent, extract::State};
use freehold_identity::{report, set_retention};
use freehold_model::{Retention, RetentionReport};
use freehold_reconcile::View;

/// Says how far the event log reaches back, what rule counts, and from what the rest of the log is proved.
#[utoipa::path(get, path = "/v1/audit/retention", operation_id = "show_retention", tag = "state",
    responses((status = 200, description = "How it is", body = RetentionReport)))]
pub(crate) async fn show(State(api): State<Api>, _: Params<NoParams>) -> Answer<Sent<RetentionReport>> {
    let now = api.clock.now();
    api.read(move |view| Ok(report(view, now)?)).await.map(Sent)
}

/// Gives the log another rule. One that keeps less than what counts now counts after a week.
#[utoipa::path(put, path = "/v1/audit/retention", operation_id = "set_retention", tag = "state",
    request_body = Retention,
    responses((status = 200, description = "How it is then", body = RetentionReport)))]
pub(crate) async fn set(
    State(api): State<Api>,
    who: Who,
    _: Params<NoParams>,
    caller: Caller,
    Json(rule): Json<Retention>,
) -> Answer<Sent<RetentionReport>> {
    put(api, who, caller, Some(rule)).await
}

/// Keeps everything from now on. What went stays gone.
#[utoipa::path(delete, path = "/v1/audit/retention", operation_id = "end_retention", tag = "state",
    responses((status = 200, description = "How it is then", body = RetentionReport)))]
pub(crate) async fn end(
    State(api): State<Api>,
    who: Who,
    _: Params<NoParams>,
    caller: Caller,
) -> Answer<Sent<RetentionReport>> {
    put(api, who, caller, None).await
}

async fn put(api: Api, who: Who, caller: Caller, rule: Option<Retention>) -> Answer<Sent<RetentionReport>> {
    let asker = caller.asker(&who, &api);
    commit(&api, move |view: &dyn View| Ok(set_retention(view, &asker, rule)?)).await.map(Sent)
}
