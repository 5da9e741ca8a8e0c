//! Signing in to apps: which there are, and the keys.

use crate::{Client, ClientError};
use freehold_model::oidc::{ClientSummary, RotateSigningKeys, SigningKeySummary};

impl Client {
    /// The apps that people sign in to through the house.
    ///
    /// # Errors
    /// [`ClientError`] when the server cannot be reached or refuses; likewise for every method here.
    pub async fn oidc_clients(&self) -> Result<Vec<ClientSummary>, ClientError> {
        self.get("/v1/oidc/clients", &[("", ""); 0]).await
    }

    /// The keys that sign ID tokens, the newest first.
    pub async fn oidc_keys(&self) -> Result<Vec<SigningKeySummary>, ClientError> {
        self.get("/v1/oidc/keys", &[("", ""); 0]).await
    }

    /// Makes a new one.
    pub async fn rotate_oidc_keys(
        &self,
        wanted: &RotateSigningKeys,
    ) -> Result<Vec<SigningKeySummary>, ClientError> {
        self.post("/v1/oidc/keys", wanted).await
    }
}
