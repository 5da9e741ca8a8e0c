//! Changing the world: plan, apply, and the receipt that says how it ended.
//!
//! The server owns the verdict. Waiting therefore survives everything but its own deadline: a server
//! that restarts answers the next poll from the same receipt.

use crate::{Client, ClientError};
use freehold_model::{
    AnyResource, Plan, Receipt, ReceiptId,
    api::{Apply, Change},
};
use reqwest::Method;
use std::time::{Duration, Instant};

/// The server answers no long poll later than this.
const LONGEST_POLL: Duration = Duration::from_secs(60);
/// What an answer may take beyond the poll itself.
const ANSWER_GRACE: Duration = Duration::from_secs(10);
/// How long a lost server is left alone before it is asked again.
const PAUSE: Duration = Duration::from_millis(250);

/// How to wait.
#[derive(Debug, Clone, Copy)]
pub struct Wait {
    /// Until when.
    pub deadline: Instant,
    /// How long each poll lasts: short ones show the steps as they happen.
    pub poll: Duration,
}

impl Wait {
    /// Waits for the verdict alone, at most so long.
    pub fn for_verdict(limit: Duration) -> Wait {
        Wait { deadline: Instant::now() + limit, poll: LONGEST_POLL }
    }

    /// The same wait, seeing a receipt's steps at least every `poll`.
    pub fn polling(self, poll: Duration) -> Wait {
        Wait { poll: poll.min(LONGEST_POLL), ..self }
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

impl Client {
    /// What `change` would do.
    ///
    /// # Errors
    /// [`ClientError`] when the server cannot be reached or refuses; likewise for every method here.
    pub async fn plan(&self, change: &Change) -> Result<Plan, ClientError> {
        self.post("/v1/plans", change).await
    }

    /// Begins an operation and answers with its receipt. `key` makes it safe to repeat: while the
    /// server is away, for at most `patience`, the same request is sent again and is done once.
    pub async fn apply(
        &self,
        apply: &Apply,
        key: Option<&str>,
        patience: Duration,
    ) -> Result<Receipt, ClientError> {
        let deadline = Instant::now() + patience;
        loop {
            match self.apply_once(apply, key).await {
                Err(error) if key.is_some() && error.is_transient() && Instant::now() < deadline => {
                    tokio::time::sleep(PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    /// Calls an operation off; answers with its receipt, which has no verdict yet if it is being taken back.
    ///
    /// # Errors
    /// When there is no such receipt, it has ended, or it is too late.
    pub async fn cancel(&self, id: ReceiptId) -> Result<Receipt, ClientError> {
        let request = self.request(Method::POST, &format!("/v1/receipts/{id}/cancel"));
        let any: AnyResource = self.read(self.send(request).await?).await?;
        self.as_typed(any)
    }

    async fn apply_once(&self, apply: &Apply, key: Option<&str>) -> Result<Receipt, ClientError> {
        let mut request = self.request(Method::POST, "/v1/operations").json(apply);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let any: AnyResource = self.read(self.send(request).await?).await?;
        self.as_typed(any)
    }

    /// The receipt as it is, or, with `wait`, as it is when there is a verdict or so much time has passed.
    pub async fn receipt(&self, id: ReceiptId, wait: Duration) -> Result<Receipt, ClientError> {
        let wait = wait.min(LONGEST_POLL);
        let request = self
            .request(Method::GET, &format!("/v1/receipts/{id}"))
            .query(&[("wait_ms", wait.as_millis().to_string())])
            .timeout(wait + ANSWER_GRACE);
        let any: AnyResource = self.read(self.send(request).await?).await?;
        self.as_typed(any)
    }

    /// Waits for the verdict; `seen` is shown the receipt after each poll. A server that goes away is
    /// asked again until the deadline. Answers with a receipt without a verdict when time is up.
    pub async fn wait_receipt(
        &self,
        id: ReceiptId,
        wait: Wait,
        mut seen: impl FnMut(&Receipt),
    ) -> Result<Receipt, ClientError> {
        let mut last = None;
        loop {
            match self.receipt(id, wait.poll.min(wait.left())).await {
                Ok(receipt) => {
                    seen(&receipt);
                    if receipt.status.verdict.is_some() || wait.left().is_zero() {
                        return Ok(receipt);
                    }
                    last = Some(receipt);
                }
                Err(error) if error.is_transient() => {
                    if wait.left().is_zero() {
                        return last.ok_or(error);
                    }
                    tokio::time::sleep(PAUSE.min(wait.left())).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}
