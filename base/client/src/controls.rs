//! Control planes.

use crate::{Client, ClientError, resources::NO_QUERY};
use freehold_model::{controls::ControlPlanes, tasks::BackgroundTasks};

impl Client {
    /// The control planes of the house, as the one that is asked sees them.
    ///
    /// # Errors
    /// [`ClientError`] when the server cannot be reached or refuses.
    pub async fn controls(&self) -> Result<ControlPlanes, ClientError> {
        self.get("/v1/controls", &NO_QUERY).await
    }

    /// What the control plane that is asked does in the background.
    ///
    /// # Errors
    /// As [`Client::controls`].
    pub async fn tasks(&self) -> Result<BackgroundTasks, ClientError> {
        self.get("/v1/tasks", &NO_QUERY).await
    }
}
