//! How long the event log reaches back.

use crate::{Client, ClientError};
use freehold_model::{Retention, RetentionReport};
use reqwest::Method;

const ROUTE: &str = "/v1/audit/retention";

impl Client {
    /// What counts, and from what the rest of the log is proved.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses; likewise below.
    pub async fn retention(&self) -> Result<RetentionReport, ClientError> {
        self.get(ROUTE, &()).await
    }

    /// Gives the log another rule; without one, everything is kept.
    ///
    /// # Errors
    /// As above.
    pub async fn set_retention(&self, rule: Option<&Retention>) -> Result<RetentionReport, ClientError> {
        let request = match rule {
            Some(rule) => self.request(Method::PUT, ROUTE).json(rule),
            None => self.request(Method::DELETE, ROUTE),
        };
        self.read(self.send(request).await?).await
    }
}
