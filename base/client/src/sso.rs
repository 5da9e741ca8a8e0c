//! The identity providers that people sign in with.

use crate::{Client, ClientError};
use freehold_model::sso::{CheckedProvider, IdentityProviderSummary, SetIdentityProvider};
use reqwest::Method;

impl Client {
    /// Every identity provider.
    ///
    /// # Errors
    /// [`ClientError`] when the server cannot be reached or refuses; likewise for every method here.
    pub async fn identity_providers(&self) -> Result<Vec<IdentityProviderSummary>, ClientError> {
        self.get("/v1/sso", &()).await
    }

    /// The one of that name.
    pub async fn identity_provider(&self, name: &str) -> Result<IdentityProviderSummary, ClientError> {
        self.get(&format!("/v1/sso/{name}"), &()).await
    }

    /// Makes or changes it.
    pub async fn set_identity_provider(
        &self,
        name: &str,
        wanted: &SetIdentityProvider,
    ) -> Result<IdentityProviderSummary, ClientError> {
        let request = self.request(Method::PUT, &format!("/v1/sso/{name}")).json(wanted);
        self.read(self.send(request).await?).await
    }

    /// Removes it; with `force`, even if somebody could not sign in any more.
    pub async fn remove_identity_provider(&self, name: &str, force: bool) -> Result<(), ClientError> {
        let request = self.request(Method::DELETE, &format!("/v1/sso/{name}"));
        self.send(request.query(&[("force", force)])).await.map(drop)
    }

    /// Has the server look at it.
    pub async fn check_identity_provider(&self, name: &str) -> Result<CheckedProvider, ClientError> {
        let request = self.request(Method::POST, &format!("/v1/sso/{name}/check"));
        self.read(self.send(request).await?).await
    }
}
