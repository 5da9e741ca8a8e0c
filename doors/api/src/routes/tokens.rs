//! Tokens for machines: made, listed, revoked. A token in clear is in one answer only: that to its maker.

use super::resources::missing;
use crate::{
    commit::commit,
    error::{Answer, Failure},
    extract::{Id, Json},
    params::{NoParams, Params},
    state::Api,
    who::{Caller, Who},
};
use axum::{Json as Sent, extract::State, http::StatusCode};
use freehold_identity::{create_token, may_revoke, revoke_token, token_summaries};
use freehold_model::{
    TokenId,
    access::{CreateToken, CreatedToken, TokenSummary},
};

/// Lists the tokens of the places whose tokens one manages.
#[utoipa::path(get, path = "/v1/tokens", operation_id = "list_tokens", tag = "people",
    responses((status = 200, description = "In order of creation; never the tokens themselves", body = Vec<TokenSummary>)))]
pub(crate) async fn list(
    State(api): State<Api>,
    who: Who,
    _: Params<NoParams>,
) -> Answer<Sent<Vec<TokenSummary>>> {
    let now = api.clock.now();
    api.read(move |view| Ok(token_summaries(view, &who.principal, now)?)).await.map(Sent)
}

/// Makes a token for a machine. Its rights are at most those of who makes it.
#[utoipa::path(post, path = "/v1/tokens", operation_id = "create_token", tag = "people", request_body = CreateToken,
    responses((status = 201, description = "The token: nobody can be told it again", body = CreatedToken)))]
pub(crate) async fn create(
    State(api): State<Api>,
    who: Who,
    _: Params<NoParams>,
    caller: Caller,
    Json(wanted): Json<CreateToken>,
) -> Answer<(StatusCode, Sent<CreatedToken>)> {
    let asker = caller.asker(&who, &api);
    let made = commit(&api, move |view| create_token(view, &asker, &wanted).map_err(Failure::from)).await?;
    Ok((StatusCode::CREATED, Sent(made)))
}

/// Revokes a token: it lets nobody in any more, and streams that it opened end within a heartbeat.
#[utoipa::path(delete, path = "/v1/tokens/{id}", operation_id = "revoke_token", tag = "people",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 204, description = "It is worth nothing now")))]
pub(crate) async fn revoke(
    State(api): State<Api>,
    Id(id): Id<TokenId>,
    who: Who,
    _: Params<NoParams>,
    caller: Caller,
) -> Answer<StatusCode> {
    let asker = caller.asker(&who, &api);
    let decide = move |view: &dyn freehold_reconcile::View| {
        let token = may_revoke(view, &asker.principal, id)?.ok_or_else(|| missing(id))?;
        Ok((revoke_token(&token, &asker), StatusCode::NO_CONTENT))
    };
    commit(&api, decide).await
}
