//! Reading a receipt, waiting for its verdict, and calling its operation off.

use super::resources::missing;
use crate::{
    error::{Answer, Failure},
    extract::Id,
    params::{FromParams, Keys, NoParams, Params},
    redact,
    state::Api,
    streams::Long,
    who::{Caller, Who},
};
use axum::{Json, extract::State, http::StatusCode};
use freehold_deploy::{CancelError, cancel_demands};
use freehold_model::{AnyResource, Code, Problem, ReceiptId, ReceiptSpec};
use freehold_reconcile::View;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use utoipa::IntoParams;

const MAX_WAIT_MS: u64 = 60_000;
/// How often a cancellation is decided again when its rollout moves on in between.
const ATTEMPTS: usize = 8;

/// How long to wait.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wait {
    /// Answer once there is a verdict, or after so many milliseconds without one.
    #[param(minimum = 0, maximum = 60000)]
    wait_ms: Option<u64>,
}

impl FromParams for Wait {
    fn from_params(keys: &mut Keys) -> Self {
        Wait { wait_ms: keys.number("wait_ms", 0..=MAX_WAIT_MS) }
    }
}

/// Reads a receipt, at once or when it has a verdict.
#[utoipa::path(get, path = "/v1/receipts/{id}", operation_id = "get_receipt", tag = "run",
    params(("id" = String, Path, description = "Its id"), Wait),
    responses((status = 200, description = "The receipt; its verdict is null while the operation is under way", body = AnyResource)))]
pub(crate) async fn get(
    State(api): State<Api>,
    Id(id): Id<ReceiptId>,
    who: Who,
    Params(wait): Params<Wait>,
) -> Answer<Json<AnyResource>> {
    let _open = wait.wait_ms.map(|_| api.streams.open(&who, Long::Wait)).transpose()?;
    let deadline = Instant::now() + Duration::from_millis(wait.wait_ms.unwrap_or(0));
    let mut head = api.store.head();
    let stopping = api.stopping();
    tokio::pin!(stopping);
    loop {
        // Seen before the read, so that what is committed during it wakes the wait below.
        head.borrow_and_update();
        let receipt = read(&api, id).await?;
        let verdict = receipt.clone().typed::<ReceiptSpec>().map_err(Failure::internal)?.status.verdict;
        if verdict.is_some() {
            return Ok(Json(receipt));
        }
        tokio::select! {
            changed = timeout_at(deadline, head.changed()) => if !matches!(changed, Ok(Ok(()))) {
                return Ok(Json(receipt));
            },
            () = &mut stopping => return Ok(Json(receipt)),
        }
    }
}

/// Calls an operation off: one that waits ends at once, one that starts is taken back. One that serves
/// already is not: it is refused as a conflict.
#[utoipa::path(post, path = "/v1/receipts/{id}/cancel", operation_id = "cancel_operation", tag = "run",
    params(("id" = String, Path, description = "The id of its receipt")),
    responses(
        (status = 202, description = "It is being taken back: the receipt, without a verdict yet", body = AnyResource),
        (status = 200, description = "It is called off: the receipt with its verdict", body = AnyResource)))]
pub(crate) async fn cancel(
    State(api): State<Api>,
    Id(id): Id<ReceiptId>,
    who: Who,
    _: Params<NoParams>,
    caller: Caller,
) -> Answer<(StatusCode, Json<AnyResource>)> {
    for _ in 0..ATTEMPTS {
        let (actor, request, now) = (caller.actor.clone(), caller.request.clone(), api.clock.now());
        let who = who.clone();
        let decide = move |view: &dyn View| {
            who.meets(cancel_demands(view, id)?)?;
            freehold_deploy::cancel(view, id, &actor, &request, now).map_err(refused)
        };
        let txn = api.read(decide).await?;
        let Some(txn) = txn else { return super::operations::answer(&api, id).await };
        match api.store.commit(txn).await {
            Ok(_) => return super::operations::answer(&api, id).await,
            Err(conflict) if conflict.is_conflict() => tracing::debug!(%conflict, "deciding again"),
            Err(error) => return Err(error.into()),
        }
    }
    Err(Problem::new(Code::Conflict, "Its operation keeps changing.")
        .hint("Nothing was changed. Try again in a moment.")
        .into())
}

fn refused(error: CancelError) -> Failure {
    let problem = error.problem();
    if problem.code == Code::Internal { Failure::internal(error) } else { Failure(problem) }
}

async fn read(api: &Api, id: ReceiptId) -> Answer<AnyResource> {
    api.read(move |view| Ok(view.get(id.into())?)).await?.map(redact::public).ok_or_else(|| missing(id))
}
