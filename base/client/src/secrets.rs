//! Secrets, and the key that seals them.

use crate::{Client, ClientError, SummaryQuery};
use freehold_model::{
    SecretId,
    secrets::{HouseKey, RotatedKey, SecretRemoved, SecretSet, SecretSummary, SetSecret},
};
use reqwest::Method;

impl Client {
    /// The secrets of some envs, without values.
    ///
    /// # Errors
    /// [`ClientError`] when the server cannot be reached or refuses; likewise for every method here.
    pub async fn secrets(&self, query: &SummaryQuery) -> Result<Vec<SecretSummary>, ClientError> {
        self.get("/v1/secrets", query).await
    }

    /// Gives a secret a new value.
    pub async fn set_secret(&self, wanted: &SetSecret) -> Result<SecretSet, ClientError> {
        self.post("/v1/secrets", wanted).await
    }

    /// Removes one version of a secret, or all.
    pub async fn remove_secret(
        &self,
        id: SecretId,
        version: Option<u32>,
        force: bool,
    ) -> Result<SecretRemoved, ClientError> {
        let mut query = vec![("force", force.to_string())];
        query.extend(version.map(|version| ("version", version.to_string())));
        let request = self.request(Method::DELETE, &format!("/v1/secrets/{id}")).query(&query);
        self.read(self.send(request).await?).await
    }

    /// The key that seals for this house.
    pub async fn key(&self) -> Result<HouseKey, ClientError> {
        self.get("/v1/key", &[("", ""); 0]).await
    }

    /// Replaces the root key.
    pub async fn rotate_key(&self) -> Result<RotatedKey, ClientError> {
        self.post("/v1/key/rotation", &serde_json::json!({})).await
    }
}
