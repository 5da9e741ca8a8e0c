//! Machines: join tokens and revocation as people ask for them; joining and renewal as machines do.

use crate::{Client, ClientError};
use freehold_identity::{JoinTokenText, Membership, tls};
use freehold_model::{
    AnyId, JoinTokenId, NodeId,
    join::{
        AuthoritySummary, CertificateAdvice, CreateJoinToken, CreatedJoinToken, JoinRequest,
        JoinTokenSummary, Joined, MachineCertificate, MachineSelf, RejoinRequest, RenewRequest,
        RevokedMachine, RevokedNode, Rotate,
    },
};
use jiff::Timestamp;
use reqwest::Method;
use std::time::Duration;

/// A control plane is asked so often whether it has news about the certificate.
const ASK_EVERY: Duration = Duration::from_secs(20);

impl Client {
    /// Every join token that is remembered, the newest first.
    ///
    /// # Errors
    /// [`ClientError`] when the server cannot be reached or refuses; likewise for every method here.
    pub async fn join_tokens(&self) -> Result<Vec<JoinTokenSummary>, ClientError> {
        self.get("/v1/join-tokens", &[("", ""); 0]).await
    }

    /// Makes a join token.
    pub async fn create_join_token(&self, wanted: &CreateJoinToken) -> Result<CreatedJoinToken, ClientError> {
        self.post("/v1/join-tokens", wanted).await
    }

    /// Takes a join token back.
    pub async fn revoke_join_token(&self, id: JoinTokenId) -> Result<JoinTokenSummary, ClientError> {
        let request = self.request(Method::DELETE, &format!("/v1/join-tokens/{id}"));
        self.read(self.send(request).await?).await
    }

    /// Revokes a node's identity.
    pub async fn revoke_node(&self, node: NodeId) -> Result<RevokedNode, ClientError> {
        self.post(&format!("/v1/nodes/{node}/revocation"), &serde_json::json!({})).await
    }

    /// Revokes the identity of a gateway or a device.
    pub async fn revoke_machine(&self, machine: AnyId) -> Result<RevokedMachine, ClientError> {
        self.post(&format!("/v1/machines/{machine}/revocation"), &serde_json::json!({})).await
    }

    /// Removes a gateway or a device.
    pub async fn remove_machine(&self, machine: AnyId) -> Result<RevokedMachine, ClientError> {
        let request = self.request(Method::DELETE, &format!("/v1/machines/{machine}"));
        self.read(self.send(request).await?).await
    }

    /// How the certificate authority is.
    pub async fn authority(&self) -> Result<AuthoritySummary, ClientError> {
        self.get("/v1/authority", &[("", ""); 0]).await
    }

    /// Rotates the certificate authority.
    pub async fn rotate_authority(&self, rotate: &Rotate) -> Result<AuthoritySummary, ClientError> {
        self.post("/v1/authority/rotation", rotate).await
    }
}

/// Lets this machine join the house of `token` at `url`. Verifies the server by the fingerprint in the token
/// before it says anything.
///
/// # Errors
/// When the server is another, cannot be reached, or refuses.
pub async fn join(url: &str, token: &JoinTokenText, request: &JoinRequest) -> Result<Joined, ClientError> {
    let tls = tls::joining(token.root)
        .map_err(|error| ClientError::Address { url: url.to_owned(), reason: error.to_string() })?;
    Client::of_machine(url, tls)?.post("/v1/join", request).await
}

/// Who this machine is, as the first control plane that answers sees it.
///
/// # Errors
/// When none can be reached, or it refuses.
pub async fn machine_self(membership: &Membership) -> Result<MachineSelf, ClientError> {
    let (about, mut last) = (membership.about(), None);
    for url in about.urls.iter().chain(&about.announced) {
        match Client::of_machine(url, membership.tls())?.get("/v1/machine", &[("", ""); 0]).await {
            Ok(who) => return Ok(who),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| ClientError::Address { url: String::new(), reason: "none is known".into() }))
}

/// Keeps the certificate of this machine good, for as long as it is polled: renews it at two thirds of its
/// life, when the authority says so, and when it has ended while the machine was off. `advised` asks the
/// authority, over a connection that is there anyhow.
pub async fn keep_certified<F>(membership: &Membership, advised: impl Fn() -> F)
where
    F: Future<Output = Result<bool, String>>,
{
    let mut failed = 0u32;
    loop {
        let due = membership.about().renew_at <= Timestamp::now();
        let looked = match due {
            true => renew(membership).await.map_err(|error| error.to_string()),
            false => match advised().await {
                Ok(true) => renew(membership).await.map_err(|error| error.to_string()),
                told => told.map(drop),
            },
        };
        match looked {
            Ok(()) => failed = 0,
            Err(error) => {
                failed += 1;
                let until = membership.about().not_after;
                tracing::warn!(%error, %until, failed, "cannot ask about this machine's certificate");
            }
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Has this machine certified anew, whether or not it is time.
///
/// # Errors
/// When no control plane can be reached, or it refuses.
pub async fn renew(membership: &Membership) -> Result<(), ClientError> {
    let mut last = None;
    let about = membership.about();
    for url in about.urls.iter().chain(&about.announced) {
        match at(membership, url).await {
            Ok(()) => return Ok(()),
            Err(error) => last = Some(error),
        }
    }
    last.map_or(Ok(()), Err)
}

async fn at(membership: &Membership, url: &str) -> Result<(), ClientError> {
    let (about, now) = (membership.about(), Timestamp::now());
    let csr = membership.request();
    let next: MachineCertificate = if about.not_after <= now {
        let client = Client::of_machine(url, membership.tls_of_nobody())?;
        client.post("/v1/join/renewal", &RejoinRequest { machine: about.machine, csr }).await?
    } else {
        let client = Client::of_machine(url, membership.tls())?;
        client.post("/v1/node/certificate", &RenewRequest { csr }).await?
    };
    membership.renewed(&next).map_err(|error| ClientError::Protocol {
        url: url.to_owned(),
        what: format!("the next certificate cannot be kept: {error}"),
    })?;
    tracing::info!(until = %next.not_after, "renewed this machine's certificate");
    // Its use is the sign that the old one, and what it depended on, is not needed any more.
    let client = Client::of_machine(url, membership.tls())?;
    client.get::<CertificateAdvice>("/v1/node/certificate", &[("", ""); 0]).await.map(drop)
}
