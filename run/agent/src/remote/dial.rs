//! Dials a WebSocket at a control plane: a node that answers a call, or a control plane that hands one on.

use super::{
    link::causes,
    protocol::{HEADER, VERSION},
};
use reqwest::Url;
use rustls::pki_types::ServerName;
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        client::IntoClientRequest as _,
        http::HeaderValue,
        protocol::{Role, WebSocketConfig},
    },
};

/// A connection is made within this.
pub(super) const CONNECT: Duration = Duration::from_secs(5);
/// No message within a call is larger.
const MAX_MESSAGE: usize = 4 << 20;
/// So much of a call within this process is on its way.
const BETWEEN: usize = 256 << 10;

/// Either a TLS stream or, in tests and within a process, a plain one.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// The connection of one call.
pub type CallSocket = WebSocketStream<Box<dyn Wire>>;

/// Opens a WebSocket at `path` of `url`.
///
/// # Errors
/// When nobody answers there, or it is no control plane of the house.
pub async fn dial(url: &Url, tls: Option<&rustls::ClientConfig>, path: &str) -> io::Result<CallSocket> {
    let other = |what: &str| io::Error::other(format!("{what}: {url}"));
    let host = url.host_str().ok_or_else(|| other("no host"))?;
    let port = url.port_or_known_default().ok_or_else(|| other("no port"))?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = timeout(CONNECT, TcpStream::connect((bare, port))).await.map_err(io::Error::other)??;
    stream.set_nodelay(true)?;
    let opened = async {
        let wire: Box<dyn Wire> = match tls {
            None => Box::new(stream),
            Some(tls) => {
                let name = ServerName::try_from(bare.to_owned()).map_err(io::Error::other)?;
                Box::new(TlsConnector::from(Arc::new(tls.clone())).connect(name, stream).await?)
            }
        };
        let mut request = format!("ws://{host}:{port}/{path}")
            .into_client_request()
            .map_err(|error| io::Error::other(causes(&error)))?;
        request.headers_mut().insert(HEADER, HeaderValue::from(VERSION));
        let done = tokio_tungstenite::client_async_with_config(request, wire, Some(config())).await;
        Ok(done.map_err(|error| io::Error::other(causes(&error)))?.0)
    };
    timeout(CONNECT, opened).await.map_err(io::Error::other)?
}

/// Both ends of a call that does not leave this process: whoever asks, whoever answers.
pub async fn within() -> (CallSocket, CallSocket) {
    let (asks, answers) = tokio::io::duplex(BETWEEN);
    let of = |stream: tokio::io::DuplexStream, role| {
        WebSocketStream::from_raw_socket(Box::new(stream) as Box<dyn Wire>, role, Some(config()))
    };
    (of(asks, Role::Server).await, of(answers, Role::Client).await)
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE))
}
