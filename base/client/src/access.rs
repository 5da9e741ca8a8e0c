//! Who may do what: oneself, tokens, explanations, orgs and projects.

use crate::{Client, ClientError};
use freehold_model::{
    AnyResource, TokenId,
    access::{CreateOrg, CreateProject, CreateToken, CreatedToken, Explanation, TokenSummary, Whoami},
};
use reqwest::Method;
use serde::Serialize;

/// What is asked about access.
#[derive(Debug, Clone, Default, Serialize)]
pub struct AccessQuery {
    /// The action: `deploy`, `read-logs`, …
    pub action: String,
    /// In this org as a whole.
    pub org: Option<String>,
    /// In this project.
    pub project: Option<String>,
    /// In what all orgs share.
    pub house: bool,
    /// About this token.
    pub token: Option<String>,
    /// About everybody who has a role there.
    pub everybody: bool,
}

impl Client {
    /// Who one is.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses; likewise for every method here.
    pub async fn whoami(&self) -> Result<Whoami, ClientError> {
        self.get("/v1/whoami", &()).await
    }

    /// Who may do what somewhere, and why.
    ///
    /// # Errors
    /// As above.
    pub async fn explain_access(&self, query: &AccessQuery) -> Result<Explanation, ClientError> {
        self.get("/v1/access", query).await
    }

    /// The tokens of the places whose tokens one manages.
    ///
    /// # Errors
    /// As above.
    pub async fn tokens(&self) -> Result<Vec<TokenSummary>, ClientError> {
        self.get("/v1/tokens", &()).await
    }

    /// Makes a token.
    ///
    /// # Errors
    /// As above.
    pub async fn create_token(&self, wanted: &CreateToken) -> Result<CreatedToken, ClientError> {
        self.post("/v1/tokens", wanted).await
    }

    /// Revokes a token.
    ///
    /// # Errors
    /// As above.
    pub async fn revoke_token(&self, id: TokenId) -> Result<(), ClientError> {
        self.send(self.request(Method::DELETE, &format!("/v1/tokens/{id}"))).await.map(drop)
    }

    /// Makes an org.
    ///
    /// # Errors
    /// As above.
    pub async fn create_org(&self, wanted: &CreateOrg) -> Result<AnyResource, ClientError> {
        self.post("/v1/orgs", wanted).await
    }

    /// Makes a project.
    ///
    /// # Errors
    /// As above.
    pub async fn create_project(&self, wanted: &CreateProject) -> Result<AnyResource, ClientError> {
        self.post("/v1/projects", wanted).await
    }
}
