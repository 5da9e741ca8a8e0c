//! Quotas of orgs and projects.

use crate::{Client, ClientError};
use freehold_model::{AnyId, Quota, QuotaReport};
use reqwest::Method;

impl Client {
    /// Orgs, then projects, with what they may use and what they use.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses; likewise below.
    pub async fn quotas(&self) -> Result<Vec<QuotaReport>, ClientError> {
        self.get("/v1/quotas", &()).await
    }

    /// Gives an org or a project another quota.
    ///
    /// # Errors
    /// As above.
    pub async fn set_quota(&self, id: AnyId, quota: &Quota) -> Result<Quota, ClientError> {
        let request = self.request(Method::PUT, &format!("/v1/quotas/{id}")).json(quota);
        self.read(self.send(request).await?).await
    }
}
