//! One more command inside an instance, over a WebSocket (RFC 6455); see `freehold_model::exec`.
//!
//! The upgrade is an ordinary request of the same HTTP client, so a refusal arrives as the problem that
//! every other route gives.

use crate::{Client, ClientError};
use bytes::Bytes;
use freehold_model::{
    InstanceId,
    exec::{ExecControl, ExecReport, ExecRequest, STDERR, STDOUT},
};
use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use reqwest::{Method, Response, Upgraded, header};
use serde::Serialize;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::{client::generate_key, derive_accept_key},
        protocol::Role,
    },
};

type Socket = WebSocketStream<Upgraded>;

/// What the command's side says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecFrame {
    /// Standard output, or the terminal's.
    Stdout(Bytes),
    /// Standard error.
    Stderr(Bytes),
    /// The command ended with this code; nothing follows.
    Exit(i32),
    /// The command could not be run; nothing follows.
    Failed(String),
}

/// The way to the command.
#[derive(Debug)]
pub struct ExecInput(SplitSink<Socket, Message>);

/// The way from the command.
#[derive(Debug)]
pub struct ExecOutput {
    socket: SplitStream<Socket>,
    server: String,
    url: String,
}

impl Client {
    /// Starts a command inside an instance.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn exec(
        &self,
        instance: InstanceId,
        request: &ExecRequest,
    ) -> Result<(ExecInput, ExecOutput), ClientError> {
        let path = format!("/v1/instances/{instance}/exec");
        let url = format!("{}{path}", self.url());
        let socket = self.websocket(&path, &url).await?;
        let (sink, stream) = socket.split();
        let mut input = ExecInput(sink);
        if !input.say(request).await {
            return Err(ClientError::Protocol { url, what: "it closed the connection".into() });
        }
        Ok((input, ExecOutput { socket: stream, server: self.url().to_owned(), url }))
    }

    async fn websocket(&self, path: &str, url: &str) -> Result<Socket, ClientError> {
        let key = generate_key();
        let request = self
            .request(Method::GET, path)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, &key);
        let response = self.send(request).await?;
        if !accepts(&response, &key) {
            let what = format!("{} instead of a WebSocket", response.status());
            return Err(ClientError::Protocol { url: url.to_owned(), what });
        }
        let upgraded = response.upgrade().await.map_err(|source| self.unreachable(source))?;
        Ok(WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await)
    }
}

fn accepts(response: &Response, key: &str) -> bool {
    let accept = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
    response.status() == reqwest::StatusCode::SWITCHING_PROTOCOLS
        && accept.is_some_and(|value| value.as_bytes() == derive_accept_key(key.as_bytes()).as_bytes())
}

impl ExecInput {
    /// Sends bytes to standard input. `false` once the command's side is gone.
    pub async fn stdin(&mut self, bytes: Bytes) -> bool {
        self.0.send(Message::Binary(bytes)).await.is_ok()
    }

    /// Sends the end of standard input, a new size, a signal. `false` once the command's side is gone.
    pub async fn control(&mut self, control: &ExecControl) -> bool {
        self.say(control).await
    }

    async fn say(&mut self, message: &impl Serialize) -> bool {
        match serde_json::to_string(message) {
            Ok(text) => self.0.send(Message::text(text)).await.is_ok(),
            Err(_) => false,
        }
    }
}

impl ExecOutput {
    /// What comes next; [`ExecFrame::Exit`] or [`ExecFrame::Failed`] is always the last.
    ///
    /// # Errors
    /// When the connection ends before the command.
    pub async fn next(&mut self) -> Result<ExecFrame, ClientError> {
        loop {
            let message = match self.socket.next().await {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Err(self.broken(&error.to_string())),
                None => return Err(self.broken("it was closed")),
            };
            match message {
                Message::Binary(bytes) => return self.output(bytes),
                Message::Text(text) => return self.report(&text),
                Message::Close(_) => return Err(self.broken("it was closed")),
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    fn output(&self, bytes: Bytes) -> Result<ExecFrame, ClientError> {
        match bytes.first() {
            Some(&STDOUT) => Ok(ExecFrame::Stdout(bytes.slice(1..))),
            Some(&STDERR) => Ok(ExecFrame::Stderr(bytes.slice(1..))),
            other => Err(self.odd(format!("output of an unknown stream {other:?}"))),
        }
    }

    fn report(&self, text: &str) -> Result<ExecFrame, ClientError> {
        match serde_json::from_str(text) {
            Ok(ExecReport::Exit(code)) => Ok(ExecFrame::Exit(code)),
            Ok(ExecReport::Failed(reason)) => Ok(ExecFrame::Failed(reason)),
            Err(error) => Err(self.odd(format!("a report that cannot be read: {error}"))),
        }
    }

    fn broken(&self, what: &str) -> ClientError {
        ClientError::Broken { url: self.server.clone(), what: what.to_owned() }
    }

    fn odd(&self, what: impl Into<String>) -> ClientError {
        ClientError::Protocol { url: self.url.clone(), what: what.into() }
    }
}
