//! Calls: what a control plane wants of the node now, as logs and exec. The node holds a request open to
//! each control plane, on which calls come as lines, and answers each by a WebSocket that it dials itself.
//!
//! Invariant: nothing listens on the node; a call that cannot be answered ends, and others go on.

use super::{
    link::{Link, LinkError, causes},
    protocol::{Call, HEADER, VERSION, Want},
};
use async_trait::async_trait;
use futures::StreamExt as _;
use reqwest::Url;
use rustls::pki_types::ServerName;
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{client::IntoClientRequest as _, http::HeaderValue, protocol::WebSocketConfig},
};
use tokio_util::task::AbortOnDropHandle;

/// So many calls are answered at once; others wait.
const AT_ONCE: usize = 256;
/// A control plane says something at least every 10 s.
const SILENCE: Duration = Duration::from_secs(25);
/// A connection is made within this.
const CONNECT: Duration = Duration::from_secs(5);
/// No call is longer, as a line.
const LONGEST: usize = 1 << 20;
/// No message within a call is larger.
const MAX_MESSAGE: usize = 4 << 20;
const SLOWEST: Duration = Duration::from_secs(5);

/// Either a TLS stream or, in tests, a plain one.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// The connection of one call.
pub type CallSocket = WebSocketStream<Box<dyn Wire>>;

/// Who answers calls: the daemon, with the agent and the edge.
#[async_trait]
pub trait Answerer: Send + Sync + 'static {
    /// Answers one call, to its end.
    async fn answer(&self, want: Want, socket: CallSocket);
}

/// Answers what each control plane asks until the result is dropped.
pub fn answer_calls(link: &Arc<Link>, answerer: Arc<dyn Answerer>) -> Vec<AbortOnDropHandle<()>> {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let listen = |url: &Url| {
        let line = Line {
            link: Arc::clone(link),
            url: url.clone(),
            answerer: Arc::clone(&answerer),
            places: Arc::clone(&places),
        };
        AbortOnDropHandle::new(tokio::spawn(line.run()))
    };
    link.urls().iter().map(listen).collect()
}

/// The open request to one control plane.
#[derive(Clone)]
struct Line {
    link: Arc<Link>,
    url: Url,
    answerer: Arc<dyn Answerer>,
    places: Arc<Semaphore>,
}

impl Line {
    async fn run(self) {
        let mut wait = Duration::from_millis(250);
        loop {
            match self.listen().await {
                Ok(()) => wait = Duration::from_millis(250),
                Err(error) => {
                    tracing::debug!(url = %self.url, %error, "no calls from there");
                    wait = (wait * 2).min(SLOWEST);
                }
            }
            sleep(wait.mul_f64(rand::random_range(0.5..1.0))).await;
        }
    }

    /// Until the control plane goes away.
    async fn listen(&self) -> Result<(), LinkError> {
        let mut pieces = self.link.stream_from(&self.url, "v1/node/calls").await?.bytes_stream();
        let mut line = vec![];
        // Those under way end with the process, not with this request: its end says nothing of theirs.
        while let Ok(Some(Ok(piece))) = timeout(SILENCE, pieces.next()).await {
            for byte in piece {
                match byte {
                    b'\n' => self.take(&std::mem::take(&mut line)).await,
                    byte if line.len() < LONGEST => line.push(byte),
                    _ => return Err(LinkError::Away("a call is longer than 1 MiB".into())),
                }
            }
        }
        Ok(())
    }

    async fn take(&self, line: &[u8]) {
        if line.is_empty() {
            return;
        }
        let call: Call = match serde_json::from_slice(line) {
            Ok(call) => call,
            Err(error) => return tracing::warn!(%error, "a call cannot be read"),
        };
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
        let line = self.clone();
        tokio::spawn(async move {
            let _place = place;
            match timeout(CONNECT * 2, line.dial(&call.id)).await {
                Ok(Ok(socket)) => line.answerer.answer(call.want, socket).await,
                Ok(Err(error)) => tracing::warn!(call = call.id, %error, "a call cannot be answered"),
                Err(_) => tracing::warn!(call = call.id, "a call cannot be answered in time"),
            }
        });
    }

    async fn dial(&self, id: &str) -> io::Result<CallSocket> {
        let other = |what: &str| io::Error::other(format!("{what}: {}", self.url));
        let host = self.url.host_str().ok_or_else(|| other("no host"))?;
        let port = self.url.port_or_known_default().ok_or_else(|| other("no port"))?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let stream = timeout(CONNECT, TcpStream::connect((bare, port))).await.map_err(io::Error::other)??;
        stream.set_nodelay(true)?;
        let wire: Box<dyn Wire> = match self.link.tls() {
            None => Box::new(stream),
            Some(tls) => {
                let name = ServerName::try_from(bare.to_owned()).map_err(io::Error::other)?;
                Box::new(TlsConnector::from(Arc::new(tls.clone())).connect(name, stream).await?)
            }
        };
        let mut request = format!("ws://{host}:{port}/v1/node/calls/{id}")
            .into_client_request()
            .map_err(|error| io::Error::other(causes(&error)))?;
        request.headers_mut().insert(HEADER, HeaderValue::from(VERSION));
        let config =
            WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
        let done = tokio_tungstenite::client_async_with_config(request, wire, Some(config)).await;
        Ok(done.map_err(|error| io::Error::other(causes(&error)))?.0)
    }
}
