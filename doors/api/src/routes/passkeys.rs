//! The passkeys of users, as admins see them and take them away. People add theirs in a browser.

use crate::{
    commit::commit,
    error::{Answer, Failure},
    extract::{Id, Within},
    params::{NoParams, Params},
    state::Api,
    who::{Caller, Who},
};
use axum::{Json as Sent, extract::State};
use freehold_identity as identity;
use freehold_model::{UserId, people::PasskeySummary};

/// Lists a user's passkeys: what they call them, and when each was used.
#[utoipa::path(get, path = "/v1/users/{id}/passkeys", operation_id = "list_passkeys", tag = "people",
    params(("id" = String, Path, description = "Their id")),
    responses((status = 200, description = "As they were added", body = Vec<PasskeySummary>)))]
pub(crate) async fn list(
    State(api): State<Api>,
    Id(id): Id<UserId>,
    _: Params<NoParams>,
) -> Answer<Sent<Vec<PasskeySummary>>> {
    api.read(move |view| Ok(identity::passkey_summaries(view, id)?)).await.map(Sent)
}

/// Takes one of a user's passkeys away, as for a device that was lost, and ends their sessions.
#[utoipa::path(delete, path = "/v1/users/{id}/passkeys/{passkey}", operation_id = "remove_passkey", tag = "people",
    params(("id" = String, Path, description = "Their id"),
        ("passkey" = String, Path, description = "Its id, as the list says it")),
    responses((status = 200, description = "What was removed", body = PasskeySummary)))]
pub(crate) async fn remove(
    State(api): State<Api>,
    Within(id, passkey): Within<UserId>,
    who: Who,
    _: Params<NoParams>,
    caller: Caller,
) -> Answer<Sent<PasskeySummary>> {
    let asker = caller.asker(&who, &api);
    let decide = move |view: &dyn freehold_reconcile::View| {
        identity::remove_passkey(view, &asker, id, &passkey).map_err(Failure::from)
    };
    commit(&api, decide).await.map(Sent)
}
