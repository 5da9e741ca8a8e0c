//! The port to what is known of nodes; the daemon implements it on the store.

use freehold_agent::{
    Control,
    remote::protocol::{Changes, EndpointReport, Heard, Heartbeat, Registration, RoutingView},
};
use freehold_model::{Digest, ImageRef, NodeId, Problem};
use std::sync::Arc;
use tokio::sync::watch;

/// What the control plane does for its nodes. Whatever it is asked, it answers for the one node alone.
#[async_trait::async_trait]
pub trait NodeHall: Send + Sync + 'static {
    /// The agent's port of that node.
    fn control(&self, node: NodeId) -> Arc<dyn Control>;

    /// Says when something may have changed for that node.
    fn changes(&self, node: NodeId) -> watch::Receiver<Changes>;

    /// What the edge of that node routes by.
    ///
    /// # Errors
    /// A problem as the node's log shall have it; likewise below.
    async fn routing(&self, node: NodeId) -> Result<RoutingView, Problem>;

    /// Takes what became of endpoints on that node.
    async fn endpoints(&self, node: NodeId, report: EndpointReport) -> Result<(), Problem>;

    /// Takes what that node has to give.
    async fn register(&self, node: NodeId, said: Registration) -> Result<(), Problem>;

    /// That node lives. Costs no commit.
    fn heard(&self, node: NodeId, beat: &Heartbeat) -> Heard;

    /// The image of an instance of that node.
    async fn image(&self, node: NodeId, digest: &Digest) -> Result<ImageRef, Problem>;
}
