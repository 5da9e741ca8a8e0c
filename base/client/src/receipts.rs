//! Searching receipts, exporting them, and comparing releases.

use crate::{Client, ClientError};
use freehold_model::{
    ReceiptId,
    api::{Diff, ResourceList},
};
use jiff::Timestamp;
use reqwest::{Method, Response};
use serde::Serialize;

/// Which receipts are wanted. Every given condition must hold.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ReceiptQuery {
    /// Of the app of this name, which may be gone.
    pub app: Option<String>,
    /// Of the env of this name.
    pub env: Option<String>,
    /// `succeeded`, `failed`, `superseded`, `cancelled`, `running` or `queued`.
    pub verdict: Option<String>,
    /// Asked for by this actor.
    pub actor: Option<String>,
    /// Accepted at this time or later.
    pub since: Option<Timestamp>,
    /// Accepted before this time.
    pub until: Option<Timestamp>,
    /// With this text somewhere in it.
    pub search: Option<String>,
    /// After this one.
    pub after: Option<ReceiptId>,
    /// At most this many.
    pub limit: Option<usize>,
}

/// What is compared, by names.
#[derive(Debug, Clone, Serialize)]
pub struct DiffQuery {
    /// The project.
    pub project: String,
    /// The app.
    pub app: String,
    /// The env.
    pub env: String,
    /// `v3` or `current`.
    pub from: String,
    /// The same, or `observed`.
    pub to: String,
}

/// The lines of an export, as they come.
#[derive(Debug)]
pub struct Export {
    client: Client,
    response: Response,
}

impl Client {
    /// A page of receipts, the newest first. It may be short and still have a `next`.
    pub async fn receipts(&self, query: &ReceiptQuery) -> Result<ResourceList, ClientError> {
        self.get("/v1/receipts", query).await
    }

    /// All receipts that fit, each with its manifest, as JSON Lines.
    pub async fn export_receipts(&self, query: &ReceiptQuery) -> Result<Export, ClientError> {
        let request = self.request(Method::GET, "/v1/receipts/export").query(query);
        Ok(Export { client: self.clone(), response: self.send(request).await? })
    }

    /// What differs.
    pub async fn diff(&self, query: &DiffQuery) -> Result<Diff, ClientError> {
        self.get("/v1/diffs", query).await
    }
}

impl Export {
    /// The next piece of it; pieces do not end where lines do.
    ///
    /// # Errors
    /// When the server breaks off.
    pub async fn next(&mut self) -> Result<Option<bytes::Bytes>, ClientError> {
        self.response.chunk().await.map_err(|source| self.client.unreachable(source))
    }
}
