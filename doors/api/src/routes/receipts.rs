//! Reading a receipt, and waiting for its verdict.

use super::resources::missing;
use crate::{
    error::Answer,
    extract::Id,
    params::{FromParams, Keys, Params},
    state::Api,
};
use axum::{Json, extract::State};
use freehold_model::{AnyResource, ReceiptId, ReceiptSpec};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use utoipa::IntoParams;

const MAX_WAIT_MS: u64 = 60_000;

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
    Params(wait): Params<Wait>,
) -> Answer<Json<AnyResource>> {
    let deadline = Instant::now() + Duration::from_millis(wait.wait_ms.unwrap_or(0));
    let mut head = api.store.head();
    let stopping = api.stopping();
    tokio::pin!(stopping);
    loop {
        // Seen before the read, so that what is committed during it wakes the wait below.
        head.borrow_and_update();
        let receipt = read(&api, id).await?;
        let verdict =
            receipt.clone().typed::<ReceiptSpec>().map_err(crate::error::Failure::internal)?.status.verdict;
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

async fn read(api: &Api, id: ReceiptId) -> Answer<AnyResource> {
    api.read(move |view| Ok(view.get(id.into())?)).await?.ok_or_else(|| missing(id))
}
