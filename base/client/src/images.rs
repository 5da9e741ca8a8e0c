//! The images of the built-in registry. Pushing speaks the distribution protocol and is done elsewhere.

use crate::{Client, ClientError};
use freehold_model::{
    Digest,
    api::{CollectRequest, Collected, ImageSummary, PullRequest},
};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Large images over thin lines take their time.
const PULL_TIMEOUT: Duration = Duration::from_secs(3600);

/// One image, with its documents as they are in the registry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageDetails {
    /// As asked for.
    pub reference: String,
    /// The manifest's digest.
    pub digest: Digest,
    /// The OCI manifest.
    pub manifest: serde_json::Value,
    /// The OCI config.
    pub config: serde_json::Value,
}

impl Client {
    /// Every image.
    ///
    /// # Errors
    /// [`ClientError`] when the server cannot be reached or refuses; likewise for every method here.
    pub async fn images(&self) -> Result<Vec<ImageSummary>, ClientError> {
        self.get("/v1/images", &[("", ""); 0]).await
    }

    /// One image: `name:tag` or `name@digest`.
    pub async fn image(&self, reference: &str) -> Result<ImageDetails, ClientError> {
        self.get("/v1/images/inspect", &[("reference", reference)]).await
    }

    /// Has the server fetch an image from another registry, and unpack it if asked to.
    pub async fn pull_image(&self, reference: &str, unpack: bool) -> Result<ImageSummary, ClientError> {
        let body = PullRequest { reference: reference.to_owned(), unpack };
        let request = self.request(Method::POST, "/v1/images/pull").json(&body).timeout(PULL_TIMEOUT);
        self.read(self.send(request).await?).await
    }

    /// Removes what no image needs any more.
    pub async fn collect_images(&self, how: &CollectRequest) -> Result<Collected, ClientError> {
        let request = self.request(Method::POST, "/v1/images/collect").json(how).timeout(PULL_TIMEOUT);
        self.read(self.send(request).await?).await
    }

    /// Removes a tag; the bytes go once nothing names them.
    pub async fn remove_image(&self, reference: &str) -> Result<(), ClientError> {
        let request = self.request(Method::DELETE, "/v1/images").query(&[("reference", reference)]);
        self.send(request).await.map(drop)
    }
}
