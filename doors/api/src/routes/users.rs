//! Users: made with an invite, given roles, unlocked, removed.

use crate::{
    commit::commit,
    error::{Answer, Failure},
    extract::{Id, Json},
    params::{NoParams, Params},
    state::Api,
    who::{Caller, Who},
};
use axum::{Json as Sent, extract::State, http::StatusCode};
use freehold_identity as identity;
use freehold_model::{
    UserId,
    people::{CreateUser, Invited, SetRole, UserSummary},
};
use freehold_reconcile::View;

/// Lists users: what they may do where, and whether they can sign in.
#[utoipa::path(get, path = "/v1/users", operation_id = "list_users", tag = "people",
    responses((status = 200, description = "In order of creation", body = Vec<UserSummary>)))]
pub(crate) async fn list(State(api): State<Api>, _: Params<NoParams>) -> Answer<Sent<Vec<UserSummary>>> {
    let now = api.clock.now();
    api.read(move |view| Ok(identity::user_summaries(view, now)?)).await.map(Sent)
}

/// Makes a user, with an invite by which they choose a password.
#[utoipa::path(post, path = "/v1/users", operation_id = "create_user", tag = "people", request_body = CreateUser,
    responses((status = 201, description = "The user, and the invite: nobody can be told it again", body = Invited)))]
pub(crate) async fn create(
    State(api): State<Api>,
    who: Who,
    _: Params<NoParams>,
    caller: Caller,
    Json(wanted): Json<CreateUser>,
) -> Answer<(StatusCode, Sent<Invited>)> {
    let asker = caller.asker(&who, &api);
    let made =
        commit(&api, move |view| identity::create_user(view, &asker, &wanted).map_err(Failure::from)).await?;
    Ok((StatusCode::CREATED, Sent(linked(&api, made))))
}

/// Removes a user, with all their sessions.
#[utoipa::path(delete, path = "/v1/users/{id}", operation_id = "delete_user", tag = "people",
    params(("id" = String, Path, description = "Their id")),
    responses((status = 204, description = "They are gone")))]
pub(crate) async fn delete(
    State(api): State<Api>,
    Id(id): Id<UserId>,
    who: Who,
    _: Params<NoParams>,
    caller: Caller,
) -> Answer<StatusCode> {
    let asker = caller.asker(&who, &api);
    commit(&api, move |view| identity::delete_user(view, &asker, id).map_err(Failure::from)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes another invite for a user, as for a password that was forgotten. It unlocks the account.
#[utoipa::path(post, path = "/v1/users/{id}/invite", operation_id = "invite_user", tag = "people",
    params(("id" = String, Path, description = "Their id")),
    responses((status = 201, description = "The invite: nobody can be told it again", body = Invited)))]
pub(crate) async fn invite(
    State(api): State<Api>,
    Id(id): Id<UserId>,
    who: Who,
    _: Params<NoParams>,
    caller: Caller,
) -> Answer<(StatusCode, Sent<Invited>)> {
    let asker = caller.asker(&who, &api);
    let made =
        commit(&api, move |view| identity::invite_user(view, &asker, id).map_err(Failure::from)).await?;
    Ok((StatusCode::CREATED, Sent(linked(&api, made))))
}

fn linked(api: &Api, made: Invited) -> Invited {
    match &api.public_url {
        Some(url) => made.linked(url.as_str()),
        None => made,
    }
}

/// Unlocks an account that too many wrong passwords locked.
#[utoipa::path(post, path = "/v1/users/{id}/unlock", operation_id = "unlock_user", tag = "people",
    params(("id" = String, Path, description = "Their id")),
    responses((status = 200, description = "The user", body = UserSummary)))]
pub(crate) async fn unlock(
    State(api): State<Api>,
    Id(id): Id<UserId>,
    who: Who,
    _: Params<NoParams>,
    caller: Caller,
) -> Answer<Sent<UserSummary>> {
    let asker = caller.asker(&who, &api);
    commit(&api, move |view| identity::unlock_user(view, &asker, id).map_err(Failure::from)).await.map(Sent)
}

/// Takes a user's second factor away, as for a phone that was lost, and ends their sessions: their password signs them
/// in again, and they set up another.
#[utoipa::path(delete, path = "/v1/users/{id}/second-factor", operation_id = "reset_second_factor", tag = "people",
    params(("id" = String, Path, description = "Their id")),
    responses((status = 200, description = "The user", body = UserSummary)))]
pub(crate) async fn reset_second_factor(
    State(api): State<Api>,
    Id(id): Id<UserId>,
    who: Who,
    _: Params<NoParams>,
    caller: Caller,
) -> Answer<Sent<UserSummary>> {
    let asker = caller.asker(&who, &api);
    let decide =
        move |view: &dyn View| identity::reset_second_factor(view, &asker, id).map_err(Failure::from);
    commit(&api, decide).await.map(Sent)
}

/// Gives a user a role at a place, or takes it away.
#[utoipa::path(post, path = "/v1/roles", operation_id = "set_role", tag = "people", request_body = SetRole,
    responses((status = 200, description = "The user with their roles", body = UserSummary)))]
pub(crate) async fn set_role(
    State(api): State<Api>,
    who: Who,
    _: Params<NoParams>,
    caller: Caller,
    Json(wanted): Json<SetRole>,
) -> Answer<Sent<UserSummary>> {
    let asker = caller.asker(&who, &api);
    commit(&api, move |view| identity::set_role(view, &asker, &wanted).map_err(Failure::from)).await.map(Sent)
}
