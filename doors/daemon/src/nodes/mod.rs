//! What the control plane knows of nodes that are far, and does for them: the other side of
//! `freehold_agent::remote`, reached through the node door.
//!
//! Invariant: whatever a node asks or tells, it is about that node's own things; [`LocalControl`] refuses
//! everything else.

mod changes;
mod dispatch;
mod hearing;
mod judge;
mod pulses;
#[cfg(test)]
mod tests;
mod written;

pub(crate) use dispatch::Dispatch;
pub(crate) use hearing::Hearing;

use crate::control::LocalControl;
use async_trait::async_trait;
use changes::Board;
use freehold_agent::{
    Control,
    remote::protocol::{Changes, EndpointReport, Heard, Heartbeat, Registration, RoutingView, items},
};
use freehold_api::NodeHall;
use freehold_model::{
    Actor, AnyId, Code, Digest, EndpointId, EndpointSpec, ImageRef, InstanceSpec, NodeId, Problem, RolloutId,
    RolloutSpec, secrets::Hidden,
};
use freehold_reconcile::{Clock, Store, StoreError, TaskHandle, View, ViewExt as _};
use freehold_secrets::Vault;
use pulses::Pulses;
use std::{collections::BTreeSet, sync::Arc};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A commit that others came before is tried so often.
const ATTEMPTS: usize = 8;

/// Every far node.
pub(crate) struct Nodes {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    board: Arc<Board>,
    pulses: Pulses,
}

impl Nodes {
    /// Follows the store.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        vault: Arc<Vault>,
        clock: Arc<dyn Clock>,
        hearing: Hearing,
    ) -> Arc<Nodes> {
        let board = Board::follow(store.clone());
        let pulses = Pulses::new(store.clone(), clock, hearing);
        Arc::new(Nodes { store, vault, board, pulses })
    }

    /// Says of nodes that they are not ready when their hearts stop, and ready when they beat again.
    pub(crate) async fn watch(self: Arc<Nodes>, task: TaskHandle, shutdown: CancellationToken) {
        self.pulses.watch(task, shutdown).await;
    }
}

#[async_trait]
impl NodeHall for Nodes {
    fn control(&self, node: NodeId) -> Arc<dyn Control> {
        // Changes are told by the board.
        let (_, never) = watch::channel(0);
        Arc::new(LocalControl::of(self.store.clone(), node, self.vault.clone(), never))
    }

    fn changes(&self, node: NodeId) -> watch::Receiver<Changes> {
        self.board.of(node)
    }

    async fn routing(&self, node: NodeId) -> Result<RoutingView, Problem> {
        let view = self.store.view().await.map_err(failed)?;
        let hop_key = Hidden::new(hop_secret(&self.vault, node));
        routing(&*view, node, hop_key).map_err(failed)
    }

    async fn endpoints(&self, node: NodeId, report: EndpointReport) -> Result<(), Problem> {
        for _ in 0..ATTEMPTS {
            let view = self.store.view().await.map_err(failed)?;
            let mut own = report.endpoints.clone();
            let concerned = concerned(&*view, node).map_err(failed)?;
            own.retain(|id, _| concerned.contains(id));
            let actor = Actor::Node(node.to_string());
            let txn = freehold_edge::of_node(&*view, node, own, actor).map_err(failed)?;
            drop(view);
            if txn.is_empty() {
                return Ok(());
            }
            match self.store.commit(txn).await {
                Ok(_) => return Ok(()),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(failed(StoreError::Engine(error.to_string()))),
            }
        }
        Err(Problem::new(Code::Unavailable, "Others keep writing to the same endpoints."))
    }

    async fn register(&self, node: NodeId, said: Registration) -> Result<(), Problem> {
        self.pulses.register(node, said).await
    }

    fn heard(&self, node: NodeId, beat: &Heartbeat) -> Heard {
        self.pulses.heard(node, beat)
    }

    async fn image(&self, node: NodeId, digest: &Digest) -> Result<ImageRef, Problem> {
        let view = self.store.view().await.map_err(failed)?;
        let all = view.all::<InstanceSpec>(None).map_err(failed)?;
        let mut own = all.into_iter().filter(|it| it.spec.node == node).map(|it| it.spec.template.image);
        own.find(|image| image.digest == *digest).ok_or_else(|| {
            Problem::new(Code::NotFound, format!("No instance of this node has the image {digest}."))
        })
    }
}

/// The endpoints that a node may speak of: those of envs that have instances there.
fn concerned(view: &dyn View, node: NodeId) -> Result<BTreeSet<EndpointId>, StoreError> {
    let instances = view.all::<InstanceSpec>(None)?;
    let own = instances.into_iter().filter(|it| it.spec.node == node);
    let envs: BTreeSet<Option<AnyId>> = own.map(|it| it.parent).collect();
    let endpoints = view.all::<EndpointSpec>(None)?;
    Ok(endpoints.into_iter().filter(|it| envs.contains(&it.parent)).map(|it| it.id).collect())
}

/// The secret under which edges hand connections over to that of `node`: every control plane has the same.
pub(crate) fn hop_secret(vault: &Vault, node: NodeId) -> String {
    vault.voucher("hops").seal(&node.to_string())
}

/// What concerns the edge of a node: its own instances, and the endpoints and rollouts of their envs.
fn routing(view: &dyn View, node: NodeId, hop_key: Hidden) -> Result<RoutingView, StoreError> {
    let mut instances = view.all::<InstanceSpec>(None)?;
    instances.retain(|it| it.spec.node == node);
    let envs: BTreeSet<Option<AnyId>> = instances.iter().map(|it| it.parent).collect();
    let mut endpoints = view.all::<EndpointSpec>(None)?;
    endpoints.retain(|it| envs.contains(&it.parent));
    let owners = view.claims("rollout")?.into_iter().filter_map(|it| RolloutId::try_from(it.owner).ok());
    let mut rollouts = vec![];
    for owner in owners {
        rollouts.extend(view.find::<RolloutSpec>(owner)?.filter(|it| envs.contains(&it.parent)));
    }
    Ok(RoutingView {
        version: view.version()?,
        endpoints: items(endpoints),
        instances: items(instances),
        rollouts: items(rollouts),
        hop_key: Some(hop_key),
    })
}

fn failed(error: StoreError) -> Problem {
    tracing::warn!(%error, "a node was not answered");
    Problem::new(Code::Unavailable, "The store does not answer.")
}
