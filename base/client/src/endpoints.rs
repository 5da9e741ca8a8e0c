//! What endpoints carry: counters, and the lines of the access log as connections end.

use crate::{Client, ClientError};
use bytes::BytesMut;
use freehold_model::{
    EndpointId,
    traffic::{AccessLine, AccessQuery, EndpointTraffic},
};
use reqwest::{Method, Response};

/// A stream of lines, the oldest first.
#[derive(Debug)]
pub struct AccessLog {
    client: Client,
    open: Response,
    rest: BytesMut,
}

impl Client {
    /// What an endpoint has carried.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn traffic(&self, endpoint: EndpointId) -> Result<EndpointTraffic, ClientError> {
        self.get(&format!("/v1/endpoints/{endpoint}/traffic"), &()).await
    }

    /// Opens an endpoint's access log.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn access_log(
        &self,
        endpoint: EndpointId,
        query: &AccessQuery,
    ) -> Result<AccessLog, ClientError> {
        let mut pairs = vec![];
        pairs.extend(query.since.map(|time| ("since", time.to_string())));
        pairs.extend(query.tail.map(|count| ("tail", count.to_string())));
        pairs.extend(query.follow.then(|| ("follow", "true".to_owned())));
        let request = self.request(Method::GET, &format!("/v1/endpoints/{endpoint}/access")).query(&pairs);
        let open = self.send(request).await?;
        Ok(AccessLog { client: self.clone(), open, rest: BytesMut::new() })
    }
}

impl AccessLog {
    /// The next line; `None` after the last one. Safe to cancel.
    ///
    /// # Errors
    /// When the server breaks off, or says what is no line.
    pub async fn next(&mut self) -> Result<Option<AccessLine>, ClientError> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line = self.rest.split_to(end + 1);
                return serde_json::from_slice(&line).map(Some).map_err(|error| ClientError::Protocol {
                    url: self.client.url().to_owned(),
                    what: format!("a line that cannot be read: {error}"),
                });
            }
            match self.open.chunk().await {
                Ok(Some(bytes)) => self.rest.extend_from_slice(&bytes),
                Ok(None) => return Ok(None),
                Err(source) => return Err(self.client.unreachable(source)),
            }
        }
    }
}
