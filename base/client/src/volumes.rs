//! Making, changing and deleting volumes.

use crate::{Client, ClientError};
use freehold_model::{AnyResource, Volume, VolumeAction, VolumeId, api::CreateVolume};
use reqwest::Method;

impl Client {
    /// Makes a volume; it is ready when its status says so.
    ///
    /// # Errors
    /// [`ClientError`] when the server cannot be reached or refuses; likewise for every method here.
    pub async fn create_volume(&self, wanted: &CreateVolume) -> Result<Volume, ClientError> {
        let any: AnyResource = self.post("/v1/volumes", wanted).await?;
        self.as_typed(any)
    }

    /// Has the volume's node do something; it is done when the status's task is the spec's, and ended.
    pub async fn change_volume(&self, id: VolumeId, action: &VolumeAction) -> Result<Volume, ClientError> {
        let any: AnyResource = self.post(&format!("/v1/volumes/{id}/tasks"), action).await?;
        self.as_typed(any)
    }

    /// Calls off what the volume's node is doing with it; the status's task says how that ended.
    pub async fn cancel_volume_task(&self, id: VolumeId) -> Result<Volume, ClientError> {
        let request = self.request(Method::POST, &format!("/v1/volumes/{id}/cancel"));
        let any: AnyResource = self.read(self.send(request).await?).await?;
        self.as_typed(any)
    }

    /// Has a volume whose data is gone made again, empty; it is ready when its status says so.
    pub async fn recreate_volume(&self, id: VolumeId) -> Result<Volume, ClientError> {
        let request = self.request(Method::POST, &format!("/v1/volumes/{id}/recreate"));
        let any: AnyResource = self.read(self.send(request).await?).await?;
        self.as_typed(any)
    }

    /// Deletes a volume; it is gone when it is not found any more.
    pub async fn delete_volume(&self, id: VolumeId) -> Result<Volume, ClientError> {
        let request = self.request(Method::DELETE, &format!("/v1/volumes/{id}"));
        let any: AnyResource = self.read(self.send(request).await?).await?;
        self.as_typed(any)
    }
}
