//! The stream of events, which goes on by itself where it was cut.
//!
//! Every event is given out once and in order: whatever the server repeats after a reconnection is
//! recognised by its number.

use crate::{Client, ClientError, sse::Parser};
use freehold_model::{AnyId, Code, Event, Problem, Seq};
use reqwest::{Method, Response, header};
use std::{collections::VecDeque, time::Duration};

/// The server keeps the line open with comments; silence for so long means that it is gone.
const SILENCE: Duration = Duration::from_secs(45);
/// Between two attempts to connect again.
const PAUSE: Duration = Duration::from_millis(500);

/// A stream of events.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    subject: Option<AnyId>,
    last: Seq,
    /// Whether it was ever connected: from then on it does not give up.
    begun: bool,
    open: Option<(Response, Parser)>,
    ready: VecDeque<Event>,
}

impl Client {
    /// Every event after `last`, as it happens; about one resource if it is given.
    pub fn watch(&self, last: Seq, subject: Option<AnyId>) -> Watch {
        Watch { client: self.clone(), subject, last, begun: false, open: None, ready: VecDeque::new() }
    }
}

impl Watch {
    /// The number of the last event that was given out.
    pub fn last(&self) -> Seq {
        self.last
    }

    /// The next event, waiting for it as long as it takes. Safe to cancel.
    ///
    /// # Errors
    /// When the first connection fails, or the server refuses. A connection that breaks later is made
    /// again, for ever. When events were pruned before they could be read ([`Code::Gone`]): the caller lists
    /// afresh what it follows, and the next call goes on with the first event that is kept.
    pub async fn next(&mut self) -> Result<Event, ClientError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.last = event.seq;
                return Ok(event);
            }
            if self.open.is_none() {
                match self.connect().await {
                    Ok(response) => {
                        self.open = Some((response, Parser::default()));
                        self.begun = true;
                    }
                    Err(error) if self.begun && error.is_transient() => tokio::time::sleep(PAUSE).await,
                    Err(error) => {
                        if let ClientError::Problem(Problem {
                            code: Code::Gone, first: Some(first), ..
                        }) = error
                        {
                            self.last = first.saturating_sub(1).max(self.last);
                        }
                        return Err(error);
                    }
                }
            }
            self.read().await?;
        }
    }

    async fn connect(&self) -> Result<Response, ClientError> {
        let mut request = self
            .client
            .request(Method::GET, "/v1/watch")
            .header(header::ACCEPT, "text/event-stream")
            .query(&[("from", self.last)]);
        if let Some(subject) = self.subject {
            request = request.query(&[("subject", subject.to_string())]);
        }
        self.client.send(request).await
    }

    /// Reads once; whatever ends the connection only closes it.
    async fn read(&mut self) -> Result<(), ClientError> {
        let Some((response, parser)) = &mut self.open else { return Ok(()) };
        let Ok(Ok(Some(bytes))) = tokio::time::timeout(SILENCE, response.chunk()).await else {
            self.open = None;
            return Ok(());
        };
        for frame in parser.push(&bytes) {
            let event: Event = serde_json::from_str(&frame.data).map_err(|error| ClientError::Protocol {
                url: self.client.url().to_owned(),
                what: format!("an event that cannot be read: {error}"),
            })?;
            let newest = self.ready.back().map_or(self.last, |event| event.seq);
            if event.seq > newest {
                self.ready.push_back(event);
            }
        }
        Ok(())
    }
}
