//! Takes a PROXY header off the start of a connection from a trusted proxy.
//!
//! Invariant: not a byte after the header is taken: those are the client's, and the relay carries them.

use super::parse::{Header, HeaderError, MOST, Told, parse};
use std::{io, net::SocketAddr, time::Duration};
use tokio::{net::TcpStream, time::timeout};

/// How long it may take: more than one lost packet costs (proxy-protocol.txt, 2: at least 3 s).
const PATIENCE: Duration = Duration::from_secs(5);

/// What came of it.
pub(crate) enum Received {
    /// The client is this one.
    Told(Told),
    /// The client is the peer itself.
    Nothing,
    /// The peer left without a word, as a proxy does that only looks whether the port is open.
    Gone,
    /// There is none that can be read.
    Bad(HeaderError),
}

/// Waits for the header and takes it.
pub(crate) async fn receive(client: &TcpStream) -> Received {
    let mut held = vec![];
    match timeout(PATIENCE, take(client, &mut held)).await {
        Ok(Ok(Ok(Header { told: Some(told), .. }))) => Received::Told(told),
        Ok(Ok(Ok(Header { told: None, .. }))) => Received::Nothing,
        Ok(Ok(Err(HeaderError::Ended)) | Err(_)) if held.is_empty() => Received::Gone,
        Ok(Ok(Err(error))) => Received::Bad(error),
        Ok(Err(_)) => Received::Bad(HeaderError::Ended),
        Err(_) => Received::Bad(HeaderError::Slow(PATIENCE.as_secs())),
    }
}

/// Why a connection from a trusted proxy cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Unproxied {
    /// The proxy left without a word: it only looked whether the port is open.
    #[error("it ended without a byte")]
    Gone,
    /// There is no header that can be read.
    #[error("{0}")]
    Bad(String),
}

/// Takes the PROXY header off the start of a connection from a trusted proxy, for servers that are no endpoints:
/// the client, or `None` where the connection is the proxy's own. Not a byte after the header is taken.
///
/// # Errors
/// When there is none, it cannot be read, or it does not come whole within 5 s.
pub async fn client_of_proxy(stream: &TcpStream) -> Result<Option<SocketAddr>, Unproxied> {
    match receive(stream).await {
        Received::Told(told) => Ok(Some(told.client)),
        Received::Nothing => Ok(None),
        Received::Gone => Err(Unproxied::Gone),
        Received::Bad(error) => Err(Unproxied::Bad(error.to_string())),
    }
}

/// What is not a whole header yet belongs to one, so it may be taken; only then is more looked at.
async fn take(client: &TcpStream, held: &mut Vec<u8>) -> io::Result<Result<Header, HeaderError>> {
    let mut chunk = [0; 512];
    loop {
        let seen = client.peek(&mut chunk).await?;
        if seen == 0 {
            return Ok(Err(HeaderError::Ended));
        }
        let before = held.len();
        held.extend_from_slice(&chunk[..seen]);
        let header = match parse(held) {
            Ok(header) => header,
            Err(error) => return Ok(Err(error)),
        };
        let wanted = header.map_or(held.len(), |header| header.length) - before;
        discard(client, &mut chunk[..wanted]).await?;
        if let Some(header) = header {
            return Ok(Ok(header));
        }
        debug_assert!(held.len() < MOST, "more is asked for than a header has");
    }
}

/// Takes as many bytes as were seen.
async fn discard(client: &TcpStream, mut seen: &mut [u8]) -> io::Result<()> {
    while !seen.is_empty() {
        client.readable().await?;
        match client.try_read(seen) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(taken) => seen = &mut seen[taken..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
