//! The lines that instances print, one JSON object per line, until the server ends the answer.
//!
//! A stream that follows goes on where it was cut: each line names the place after it, and of every
//! instance that was seen the stream asks for what comes after its last. So no line is lost or doubled.

use crate::{Client, ClientError};
use bytes::BytesMut;
use freehold_model::{
    InstanceId,
    logs::{LogLine, LogPlace, LogQuery},
};
use jiff::Timestamp;
use reqwest::{Method, Response};
use std::{collections::BTreeMap, time::Duration};

const PAUSE: Duration = Duration::from_millis(500);
/// The places of so many instances are sent at most; of older ones it is enough that they are old.
const PLACES: usize = 256;

/// Whose lines are wanted, by names; those of everything where nothing is given.
#[derive(Debug, Clone, Default)]
pub struct LogScope {
    /// The project.
    pub project: Option<String>,
    /// The app.
    pub app: Option<String>,
    /// The env.
    pub env: Option<String>,
    /// The processes; any, where none is given.
    pub processes: Vec<String>,
    /// The instances, which may be gone already: their ids, or the ends of them.
    pub instances: Vec<String>,
}

/// A stream of lines in the order of time.
#[derive(Debug)]
pub struct Logs {
    client: Client,
    scope: LogScope,
    query: LogQuery,
    open: Option<Response>,
    rest: BytesMut,
    /// When the first answer began, by the server's clock.
    began: Option<Timestamp>,
    /// No line of an instance that was not seen yet is wanted if it is older.
    first: Option<Timestamp>,
    /// Where the log of each instance goes on, and the time of its last line.
    seen: BTreeMap<InstanceId, (LogPlace, Timestamp)>,
}

/// What a stream of lines brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogNews {
    /// Lines, at least one: those that had arrived.
    Lines(Vec<LogLine>),
    /// The connection broke; the stream, which follows, goes on once the server is back.
    Broken,
    /// There are no more lines.
    End,
}

impl Client {
    /// Opens a stream of lines.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn logs(&self, scope: LogScope, query: LogQuery) -> Result<Logs, ClientError> {
        let mut logs = Logs {
            client: self.clone(),
            scope,
            query,
            open: None,
            rest: BytesMut::new(),
            began: None,
            first: None,
            seen: BTreeMap::new(),
        };
        let response = logs.connect().await?;
        let began = response.headers().get("freehold-began").and_then(|value| value.to_str().ok());
        logs.began = began.and_then(|text| text.parse().ok());
        logs.open = Some(response);
        Ok(logs)
    }
}

impl Logs {
    /// What comes next. Safe to cancel.
    ///
    /// # Errors
    /// When the server breaks off, unless the stream follows: then it is connected again.
    pub async fn next(&mut self) -> Result<LogNews, ClientError> {
        loop {
            let mut lines = vec![];
            while let Some(line) = self.take_line()? {
                self.remember(&line);
                lines.push(line);
            }
            if !lines.is_empty() {
                return Ok(LogNews::Lines(lines));
            }
            let Some(response) = &mut self.open else {
                if !self.query.follow {
                    return Ok(LogNews::End);
                }
                self.reconnect().await?;
                continue;
            };
            match response.chunk().await {
                Ok(Some(bytes)) => self.rest.extend_from_slice(&bytes),
                Ok(None) | Err(_) if self.query.follow => {
                    self.close();
                    return Ok(LogNews::Broken);
                }
                Ok(None) => self.close(),
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
        self.resume();
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

    fn remember(&mut self, line: &LogLine) {
        if !self.query.follow {
            return;
        }
        if self.query.tail.is_some() {
            self.first.get_or_insert(line.time);
        }
        self.seen.insert(line.instance, (line.next, line.time));
        if self.seen.len() > PLACES {
            let oldest =
                self.seen.iter().min_by_key(|(_, (_, time))| *time).map(|(id, (_, time))| (*id, *time));
            if let Some((instance, time)) = oldest {
                self.seen.remove(&instance);
                self.first = self.first.max(Some(time));
            }
        }
    }

    /// Asks for what comes after what was given out.
    fn resume(&mut self) {
        self.query.after = self.seen.iter().map(|(instance, (place, _))| (*instance, *place)).collect();
        if self.query.tail.is_none() && self.first.is_none() {
            return;
        }
        // An instance that was not seen yet has no line that was wanted before this.
        self.query.tail = None;
        self.query.since = self.query.since.max(self.first.or(self.began));
    }
}

fn pairs(scope: &LogScope, query: &LogQuery) -> Vec<(&'static str, String)> {
    let mut pairs = vec![];
    pairs.extend(scope.project.clone().map(|name| ("project", name)));
    pairs.extend(scope.app.clone().map(|name| ("app", name)));
    pairs.extend(scope.env.clone().map(|name| ("env", name)));
    pairs.extend(scope.processes.iter().map(|name| ("process", name.clone())));
    pairs.extend(scope.instances.iter().map(|id| ("instance", id.clone())));
    pairs.extend(query.since.map(|time| ("since", time.to_string())));
    pairs.extend(query.until.map(|time| ("until", time.to_string())));
    pairs.extend(query.tail.map(|count| ("tail", count.to_string())));
    pairs.extend(query.grep.iter().map(|pattern| ("grep", pattern.clone())));
    pairs.extend(query.after.iter().map(|(instance, place)| ("after", format!("{instance}:{place}"))));
    if query.follow {
        pairs.push(("follow", "true".into()));
    }
    pairs
}
