//! Operating nodes: cordon, drain, labels, taints, removal. They are listed and read like every resource.

use crate::{
    error::{Answer, Failure},
    extract::{Id, Json},
    params::{NoParams, Params},
    state::Api,
    who::Caller,
};
use axum::{Json as Sent, extract::State};
use freehold_deploy::{Asker, ChangeError, change_node, drain_progress, remove_node};
use freehold_model::{AnyResource, Code, NodeChange, NodeDrain, NodeId, NodeSpec, Problem, Txn};
use freehold_reconcile::{View, ViewExt as _};

/// How often a change is decided again when others commit in between, as the node's agent does.
const ATTEMPTS: usize = 16;

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
    decided(&api, &caller, move |view, asker| change_node(view, id, &wanted, asker)).await
}

/// Removes a node: one that is drained, or one that does not answer and will not come back.
#[utoipa::path(delete, path = "/v1/nodes/{id}", operation_id = "remove_node", tag = "machines",
    params(("id" = String, Path, description = "The node's id")),
    responses((status = 200, description = "The node as it was", body = AnyResource)))]
pub(crate) async fn remove(
    State(api): State<Api>,
    Id(id): Id<NodeId>,
    _: Params<NoParams>,
    caller: Caller,
) -> Answer<Sent<AnyResource>> {
    decided(&api, &caller, move |view, asker| remove_node(view, id, asker)).await
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

/// Decides, commits, and answers with the node as it is then, or as it was if that removed it.
async fn decided(
    api: &Api,
    caller: &Caller,
    decide: impl Fn(&dyn View, &Asker) -> Result<(Txn, NodeId), ChangeError> + Clone + Send + 'static,
) -> Answer<Sent<AnyResource>> {
    for _ in 0..ATTEMPTS {
        let (now, decide) = (api.clock.now(), decide.clone());
        let asker = Asker { actor: caller.actor.clone(), request: caller.request.clone(), now };
        let read = api.read(move |view| {
            let (txn, id) = decide(view, &asker).map_err(failure)?;
            Ok((txn, id, view.get(id.into())?))
        });
        let (txn, id, before) = read.await?;
        if !txn.is_empty() {
            match api.store.commit(txn).await {
                Ok(_) => {}
                Err(conflict) if conflict.is_conflict() => {
                    tracing::debug!(%conflict, "deciding again");
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
        }
        let after = api.read(move |view| Ok(view.get(id.into())?)).await?;
        return after.or(before).map(Sent).ok_or_else(|| super::resources::missing(id));
    }
    Err(Problem::new(Code::Conflict, "Others keep changing the same node.")
        .hint("Nothing was changed. Try again in a moment.")
        .into())
}

fn failure(error: ChangeError) -> Failure {
    match error {
        ChangeError::Refused(problem) => Failure(*problem),
        ChangeError::Store(error) => Failure::internal(error),
    }
}
