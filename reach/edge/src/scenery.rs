//! The port through which an edge far from the store sees what it routes by, and says what became of it.

use async_trait::async_trait;
use freehold_model::{Endpoint, EndpointId, EndpointStatus, Instance, NodeId, Rollout, Seq, secrets::Hidden};
use std::{collections::BTreeMap, net::SocketAddr};
use tokio::sync::watch;

/// What concerns one node, as of one view of the store.
#[derive(Debug, Clone, Default)]
pub struct Scene {
    /// The version of the view.
    pub version: Seq,
    /// The endpoints to be served.
    pub endpoints: Vec<Endpoint>,
    /// The node's instances.
    pub instances: Vec<Instance>,
    /// The rollouts under way.
    pub rollouts: Vec<Rollout>,
    /// Under what secret other edges hand connections over to this node; none where the control plane does not
    /// know of that.
    pub hop_key: Option<Hidden>,
}

/// The control plane, as an edge far from it needs it.
#[async_trait]
pub trait Scenery: Send + Sync + 'static {
    /// The node of the edge.
    fn node(&self) -> NodeId;

    /// Changes when the scene may have.
    fn changed(&self) -> watch::Receiver<u64>;

    /// What to route by now.
    ///
    /// # Errors
    /// When it cannot be had: the edge goes on with what it knows. Likewise below.
    async fn scene(&self) -> Result<Scene, String>;

    /// Where others reach what listens at `address` of this machine. Asked before anything is compared with what is
    /// stored: what was told is found there as it was told.
    fn reached_at(&self, address: SocketAddr) -> SocketAddr {
        address
    }

    /// Tells what became of endpoints.
    async fn tell(&self, statuses: BTreeMap<EndpointId, EndpointStatus>) -> Result<(), String>;
}
