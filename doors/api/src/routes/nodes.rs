//! Operating nodes: cordon, drain, labels, taints, removal. They are listed and read like every resource.

use crate::{
    commit,
    error::Answer,
    extract::{Id, Json},
    params::{NoParams, Params},
    state::Api,
    who::Caller,
};
use axum::{Json as Sent, extract::State};
use freehold_deploy::{Asker, change_node, drain_progress, remove_node};
use freehold_identity::revoke_into;
use freehold_model::{AnyResource, NodeChange, NodeDrain, NodeId, NodeSpec};
use freehold_reconcile::{View, ViewExt as _};

/// Changes what is wanted of a node: cordon, uncordon, drain, labels, taints.
#[utoipa::path(post, path = "/v1/nodes/{id}/changes", operation_id = "change_node", tag = "machines",
    params(("id" = String, Path, description = "The node's id")), request_body = NodeChange,
    responses((status = 200, description = "The node as it is wanted now", body = AnyResource)))]
pub(crate) async fn change(
    State(api): State<Api>,
    Id(id): Id<NodeId>,
    _: Params<NoParams>,
    caller: Caller,
    Json(wanted): Json<NodeChange>,
) -> Answer<Sent<AnyResource>> {
    commit::change(&api, caller, move |view, asker| change_node(view, id, &wanted, asker)).await.map(Sent)
}

/// Removes a node: one that is drained, or one that does not answer and will not come back. Its keys are refused
/// from the same moment on.
#[utoipa::path(delete, path = "/v1/nodes/{id}", operation_id = "remove_node", tag = "machines",
    params(("id" = String, Path, description = "The node's id")),
    responses((status = 200, description = "The node as it was", body = AnyResource)))]
pub(crate) async fn remove(
    State(api): State<Api>,
    Id(id): Id<NodeId>,
    _: Params<NoParams>,
    caller: Caller,
) -> Answer<Sent<AnyResource>> {
    let remove = move |view: &dyn View, asker: &Asker| {
        let (mut txn, id) = remove_node(view, id, asker)?;
        if let Some(node) = view.find::<NodeSpec>(id)? {
            revoke_into(&mut txn, view, node.any_id(), &node.name, &asker.actor, asker.now)?;
        }
        Ok((txn, id))
    };
    commit::change(&api, caller, remove).await.map(Sent)
}

/// Says how far the drain of a node is, and what does not move.
#[utoipa::path(get, path = "/v1/nodes/{id}/drain", operation_id = "node_drain", tag = "machines",
    params(("id" = String, Path, description = "The node's id")),
    responses((status = 200, description = "How far it is", body = NodeDrain)))]
pub(crate) async fn drain(
    State(api): State<Api>,
    Id(id): Id<NodeId>,
    _: Params<NoParams>,
) -> Answer<Sent<NodeDrain>> {
    let now = api.clock.now();
    let read = api.read(move |view| {
        let node = view.find::<NodeSpec>(id)?;
        Ok(node.map(|node| drain_progress(view, &node, now)).transpose()?)
    });
    read.await?.map(Sent).ok_or_else(|| super::resources::missing(id))
}
