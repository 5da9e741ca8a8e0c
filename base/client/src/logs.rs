//! The lines that instances print, one JSON object per line, until the server ends the answer.
//!
//! A stream that follows goes on where it was cut: it asks again from the time of its last line and
//! drops what it has already given out of that very moment.

use crate::{Client, ClientError};
use bytes::BytesMut;
use freehold_model::{
    InstanceId,
    logs::{LogLine, LogQuery},
};
use reqwest::{Method, Response};
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(500);

/// Whose lines are wanted, by names; those of everything where nothing is given.
#[derive(Debug, Clone, Default)]
pub struct LogScope {
    /// The project.
    pub project: Option<String>,
    /// The app.
    pub app: Option<String>,
    /// The env.
    pub env: Option<String>,
    /// The process.
    pub process: Option<String>,
    /// One instance, which may be gone already.
    pub instance: Option<InstanceId>,
}

/// A stream of lines in the order of time.
#[derive(Debug)]
pub struct Logs {
    client: Client,
    scope: LogScope,
    query: LogQuery,
    open: Option<Response>,
    rest: BytesMut,
    /// The lines given out that bear the time of the last one.
    latest: Vec<LogLine>,
}

impl Client {
    /// Opens a stream of lines.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn logs(&self, scope: LogScope, query: LogQuery) -> Result<Logs, ClientError> {
        let mut logs =
            Logs { client: self.clone(), scope, query, open: None, rest: BytesMut::new(), latest: vec![] };
        logs.open = Some(logs.connect().await?);
        Ok(logs)
    }
}

impl Logs {
    /// The next line; `None` after the last one, which never comes while following. Safe to cancel.
    ///
    /// # Errors
    /// When the server breaks off, unless the stream follows: then it is connected again.
    pub async fn next(&mut self) -> Result<Option<LogLine>, ClientError> {
        loop {
            while let Some(line) = self.take_line()? {
                if self.is_new(&line) {
                    return Ok(Some(line));
                }
            }
            let Some(response) = &mut self.open else {
                if !self.query.follow {
                    return Ok(None);
                }
                self.reconnect().await?;
                continue;
            };
            match response.chunk().await {
                Ok(Some(bytes)) => self.rest.extend_from_slice(&bytes),
                Ok(None) => self.close(),
                Err(_) if self.query.follow => self.close(),
                Err(source) => return Err(self.client.unreachable(source)),
            }
        }
    }

    fn close(&mut self) {
        self.open = None;
        self.rest.clear();
    }

    async fn reconnect(&mut self) -> Result<(), ClientError> {
        tokio::time::sleep(PAUSE).await;
        if let Some(last) = self.latest.last() {
            self.query.since = Some(last.time);
            self.query.tail = None;
        }
        match self.connect().await {
            Ok(response) => self.open = Some(response),
            Err(error) if error.is_transient() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn connect(&self) -> Result<Response, ClientError> {
        let request = self.client.request(Method::GET, "/v1/logs").query(&pairs(&self.scope, &self.query));
        self.client.send(request).await
    }

    /// The next whole line of what has arrived.
    fn take_line(&mut self) -> Result<Option<LogLine>, ClientError> {
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line = self.rest.split_to(end + 1);
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            return serde_json::from_slice(&line).map(Some).map_err(|error| ClientError::Protocol {
                url: self.client.url().to_owned(),
                what: format!("a line that cannot be read: {error}"),
            });
        }
        Ok(None)
    }

    /// Whether the line was not given out before, and remembers it.
    fn is_new(&mut self, line: &LogLine) -> bool {
        if !self.query.follow {
            return true;
        }
        if self.latest.first().is_some_and(|seen| seen.time != line.time) {
            self.latest.clear();
        }
        if self.query.since == Some(line.time) && self.latest.contains(line) {
            return false;
        }
        self.latest.push(line.clone());
        true
    }
}

fn pairs(scope: &LogScope, query: &LogQuery) -> Vec<(&'static str, String)> {
    let mut pairs = vec![];
    pairs.extend(scope.project.clone().map(|name| ("project", name)));
    pairs.extend(scope.app.clone().map(|name| ("app", name)));
    pairs.extend(scope.env.clone().map(|name| ("env", name)));
    pairs.extend(scope.process.clone().map(|name| ("process", name)));
    pairs.extend(scope.instance.map(|id| ("instance", id.to_string())));
    pairs.extend(query.since.map(|time| ("since", time.to_string())));
    pairs.extend(query.until.map(|time| ("until", time.to_string())));
    pairs.extend(query.tail.map(|count| ("tail", count.to_string())));
    if query.follow {
        pairs.push(("follow", "true".into()));
    }
    pairs
}
