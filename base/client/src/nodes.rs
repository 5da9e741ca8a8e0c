//! Operating nodes.

use crate::{Client, ClientError};
use freehold_model::{AnyResource, Node, NodeChange, NodeDrain, NodeId};
use reqwest::Method;

impl Client {
    /// Changes what is wanted of a node; the node as it is wanted then.
    ///
    /// # Errors
    /// [`ClientError`] when the server cannot be reached or refuses; likewise for every method here.
    pub async fn change_node(&self, id: NodeId, change: &NodeChange) -> Result<Node, ClientError> {
        let any: AnyResource = self.post(&format!("/v1/nodes/{id}/changes"), change).await?;
        self.as_typed(any)
    }

    /// How far the drain of a node is.
    pub async fn node_drain(&self, id: NodeId) -> Result<NodeDrain, ClientError> {
        let request = self.request(Method::GET, &format!("/v1/nodes/{id}/drain"));
        self.read(self.send(request).await?).await
    }

    /// Removes a node; the node as it was.
    pub async fn remove_node(&self, id: NodeId) -> Result<Node, ClientError> {
        let request = self.request(Method::DELETE, &format!("/v1/nodes/{id}"));
        let any: AnyResource = self.read(self.send(request).await?).await?;
        self.as_typed(any)
    }
}
