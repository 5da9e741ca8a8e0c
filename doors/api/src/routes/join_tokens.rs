//! Join tokens and revoked nodes, as people manage them.

use super::join::failure;
use crate::{
    error::{Answer, Failure},
    extract::{Id, Json as Body},
    params::{NoParams, Params},
    state::Api,
    who::Caller,
};
use axum::{Json, extract::State};
use freehold_identity::AuthorityError;
use freehold_model::{
    AnyId, Code, JoinTokenId, MachineKind, NodeId, Problem,
    join::{CreateJoinToken, CreatedJoinToken, JoinTokenSummary, RevokedMachine, RevokedNode},
};

/// Lists join tokens, the newest first; never the tokens themselves.
#[utoipa::path(get, path = "/v1/join-tokens", operation_id = "list_join_tokens", tag = "machines",
    responses((status = 200, description = "The newest first", body = Vec<JoinTokenSummary>)))]
pub(crate) async fn list(State(api): State<Api>, _: Params<NoParams>) -> Answer<Json<Vec<JoinTokenSummary>>> {
    let authority = api.authority.clone();
    api.read(move |view| authority.tokens(view).map_err(failure)).await.map(Json)
}

/// Makes a join token: single use, expiring. This answer is the only one that holds it.
#[utoipa::path(post, path = "/v1/join-tokens", operation_id = "create_join_token", tag = "machines", request_body = CreateJoinToken,
    responses((status = 200, description = "The token, and what it is for", body = CreatedJoinToken)))]
pub(crate) async fn create(
    State(api): State<Api>,
    _: Params<NoParams>,
    caller: Caller,
    Body(wanted): Body<CreateJoinToken>,
) -> Answer<Json<CreatedJoinToken>> {
    api.authority.create_token(&caller.actor, &caller.request, &wanted).await.map(Json).map_err(failure)
}

/// Takes a join token back. One that was used, or has expired, stays as it is.
#[utoipa::path(delete, path = "/v1/join-tokens/{id}", operation_id = "revoke_join_token", tag = "machines",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 200, description = "The token as it is now", body = JoinTokenSummary)))]
pub(crate) async fn revoke(
    State(api): State<Api>,
    Id(id): Id<JoinTokenId>,
    _: Params<NoParams>,
    caller: Caller,
) -> Answer<Json<JoinTokenSummary>> {
    api.authority.revoke_token(&caller.actor, &caller.request, id).await.map(Json).map_err(failure)
}

/// Revokes a node's identity: every door refuses its key from now on, and cuts its connections. The node
/// itself stays, and what runs on it.
#[utoipa::path(post, path = "/v1/nodes/{id}/revocation", operation_id = "revoke_node", tag = "machines",
    params(("id" = String, Path, description = "The node's id")),
    responses((status = 200, description = "What was revoked", body = RevokedNode)))]
pub(crate) async fn revoke_node(
    State(api): State<Api>,
    Id(node): Id<NodeId>,
    _: Params<NoParams>,
    caller: Caller,
) -> Answer<Json<RevokedNode>> {
    let authority = api.authority.clone();
    let keys =
        on_its_own(async move { authority.revoke(&caller.actor, &caller.request, node).await }).await?;
    Ok(Json(RevokedNode { node, keys }))
}

/// Revokes a gateway's or a device's identity: every door refuses its key from now on.
#[utoipa::path(post, path = "/v1/machines/{id}/revocation", operation_id = "revoke_machine", tag = "machines",
    params(("id" = String, Path, description = "The gateway's or the device's id")),
    responses((status = 200, description = "What was revoked", body = RevokedMachine)))]
pub(crate) async fn revoke_machine(
    State(api): State<Api>,
    Id(machine): Id<AnyId>,
    _: Params<NoParams>,
    caller: Caller,
) -> Answer<Json<RevokedMachine>> {
    let (authority, machine) = (api.authority.clone(), enrolled(machine)?);
    let keys =
        on_its_own(async move { authority.revoke(&caller.actor, &caller.request, machine).await }).await?;
    Ok(Json(RevokedMachine { machine, keys }))
}

/// Removes a gateway or a device; its keys are refused from the same moment on.
#[utoipa::path(delete, path = "/v1/machines/{id}", operation_id = "remove_machine", tag = "machines",
    params(("id" = String, Path, description = "The gateway's or the device's id")),
    responses((status = 200, description = "What was revoked with it", body = RevokedMachine)))]
pub(crate) async fn remove_machine(
    State(api): State<Api>,
    Id(machine): Id<AnyId>,
    _: Params<NoParams>,
    caller: Caller,
) -> Answer<Json<RevokedMachine>> {
    let (authority, machine) = (api.authority.clone(), enrolled(machine)?);
    let keys =
        on_its_own(async move { authority.remove(&caller.actor, &caller.request, machine).await }).await?;
    Ok(Json(RevokedMachine { machine, keys }))
}

/// What `work` comes to; a caller that goes away does not stop it.
async fn on_its_own<T: Send + 'static>(
    work: impl Future<Output = Result<T, AuthorityError>> + Send + 'static,
) -> Answer<T> {
    tokio::spawn(work).await.map_err(Failure::internal)?.map_err(failure)
}

/// Nodes have routes of their own: what runs on them has a say.
fn enrolled(machine: AnyId) -> Answer<AnyId> {
    match MachineKind::of(machine) {
        Some(MachineKind::Gateway | MachineKind::Device) => Ok(machine),
        _ => {
            let problem =
                Problem::new(Code::Invalid, format!("{machine} is neither a gateway nor a device."));
            Err(problem.hint("Nodes are under /v1/nodes.").into())
        }
    }
}
