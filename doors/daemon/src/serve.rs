//! Serves HTTP/1.1: accepts connections, bounds them in time and number, and sees each to its end.
//!
//! Called by [`crate::up`], and by [`crate::machines`] for what comes out of TLS. Whoever can reach the port
//! can open a connection before any token is asked for. Invariant: such a caller holds no connection for longer
//! than [`Limits::headers`] without a whole request, keeps nobody else out ([`crate::guests`]), and there are
//! never so many that the process runs out of files.

use crate::{guests::Guests, strict::strict};
use axum::{
    Router,
    http::{Extensions, Request},
    middleware,
};
use freehold_api::{ClientAddress, Stranger};
use freehold_edge::{Unproxied, client_of_proxy};
use freehold_model::Network;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt;
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tower::Service as _;

/// A peer that has vanished without a word is noticed after so long: by then nine probes went unanswered.
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(60);
/// Between two attempts to accept when the machine has no files or memory left.
const PAUSE: Duration = Duration::from_millis(200);

/// What callers may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// How long the head of a request may take, the first and each later one of a connection.
    pub(crate) headers: Duration,
    /// How many connections may be open on which nobody has shown who they are; then one makes way.
    pub(crate) strangers: usize,
    /// How many connections may be open in all, those of the house's owner apart.
    pub(crate) connections: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { headers: Duration::from_secs(20), strangers: 512, connections: 8192 }
    }
}

/// Serves until `shutdown`; then lets every request that is under way end. Connections from `proxies` begin with
/// a PROXY header, which says who the client is; nobody else is believed about that.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
    limits: Limits,
    proxies: Vec<Network>,
) {
    let router = strictly(router);
    let proxies: Arc<[Network]> = proxies.into();
    let guests = Guests::new(limits.strangers, limits.connections);
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = open.join_next() => {}
            stream = accept(&listener) => {
                let (router, shutdown, proxies) = (router.clone(), shutdown.clone(), Arc::clone(&proxies));
                let guests = guests.clone();
                open.spawn(async move { receive(stream, router, shutdown, (limits, guests), &proxies).await });
            }
        }
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

/// One connection, until it ends or has to make way for others.
async fn receive(
    stream: TcpStream,
    router: Router,
    shutdown: CancellationToken,
    (limits, guests): (Limits, Guests),
    proxies: &[Network],
) {
    tune_or_say(&stream);
    // Until a proxy has said whose it is, it counts as the proxy's.
    let peer = ClientAddress(stream.peer_addr().ok().map(|peer| peer.ip().to_canonical()));
    let place = guests.admit(peer);
    let leave = place.leave.clone();
    let told = async {
        let address = client(&stream, proxies).await?;
        let place = if address == peer { place } else { guests.admit(address) };
        Some((address, place.leave.clone(), Stranger::with(Arc::new(place))))
    };
    let Some(Some((address, leave, stranger))) = leave.run_until_cancelled(told).await else { return };
    let known = move |extensions: &mut Extensions| {
        extensions.insert(address);
        extensions.insert(stranger.clone());
    };
    leave.run_until_cancelled(converse(stream, router, known, shutdown, limits)).await;
}

/// Whose connection it is: the peer's, or whose a trusted proxy says it is. `None`: that one says nothing that can
/// be read, and its connection is worth nothing.
async fn client(stream: &TcpStream, proxies: &[Network]) -> Option<ClientAddress> {
    let peer = stream.peer_addr().ok().map(|peer| peer.ip().to_canonical());
    let Some(proxy) = peer.filter(|peer| proxies.iter().any(|network| network.contains(*peer))) else {
        return Some(ClientAddress(peer));
    };
    match client_of_proxy(stream).await {
        Ok(told) => Some(ClientAddress(Some(told.map_or(proxy, |client| client.ip())))),
        Err(Unproxied::Gone) => None,
        Err(Unproxied::Bad(why)) => {
            tracing::info!(%proxy, why, "a trusted proxy's connection was closed");
            None
        }
    }
}

/// The next connection, however long that takes.
pub(crate) async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            // The caller went away before it was served.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// `router` behind what refuses requests that could be read in two ways.
///
/// Put around the whole, and once: a layer on the router itself is put around each of its routes, and one that
/// is made for a connection is kept as long as that.
pub(crate) fn strictly(router: Router) -> Router {
    Router::new().fallback_service(router).layer(middleware::from_fn(strict))
}

/// One connection from its first request to its last; each request is told what is `known` of the connection.
/// What breaks it concerns the caller alone.
pub(crate) async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    known: impl Fn(&mut Extensions),
    shutdown: CancellationToken,
    limits: Limits,
) {
    let service = service_fn(|mut request: Request<Incoming>| {
        known(request.extensions_mut());
        // A router is always ready.
        router.clone().call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.headers)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}

/// As [`tune`]; a connection is served all the same where that fails.
pub(crate) fn tune_or_say(stream: &TcpStream) {
    if let Err(error) = tune(stream) {
        tracing::debug!(%error, "cannot tune a connection");
    }
}

/// Small answers go out at once, and a peer that was switched off does not hold its place for ever.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEP_ALIVE_IDLE)?;
    Ok(sockopt::set_tcp_keepintvl(stream, Duration::from_secs(10))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Extension, routing::get};
    use std::net::SocketAddr;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::timeout,
    };

    const WHOLE: &[u8] = b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";

    const DEAF: &[u8] = b"GET /much HTTP/1.1\r\nhost: h\r\n\r\n";

    async fn start(limits: Limits) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        start_behind(limits, vec![]).await
    }

    async fn start_behind(
        limits: Limits,
        proxies: Vec<Network>,
    ) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let slow = get(async || {
            tokio::time::sleep(Duration::from_millis(300)).await;
            "slow"
        });
        let known = get(async |Extension(stranger): Extension<Stranger>| stranger.is_known(None));
        let whose = get(async |Extension(client): Extension<ClientAddress>| {
            client.0.map(|it| it.to_string()).unwrap_or_default()
        });
        let router = Router::new().route("/", get(async || "hello")).route("/slow", slow);
        let router = router.route("/much", get(async || "much ".repeat(4 << 20)));
        let router = router.route("/known", known).route("/whose", whose);
        let stop = CancellationToken::new();
        (address, stop.clone(), tokio::spawn(serve(listener, router, stop, limits, proxies)))
    }

    async fn say(address: SocketAddr, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    async fn answer(mut stream: TcpStream) -> String {
        let mut text = String::new();
        let read = timeout(Duration::from_secs(10), stream.read_to_string(&mut text));
        read.await.expect("it is held open").unwrap();
        text
    }

    #[tokio::test]
    async fn who_sends_half_a_head_or_nothing_is_not_waited_for() {
        let limits = Limits { headers: Duration::from_millis(200), ..Limits::default() };
        let (address, ..) = start(limits).await;
        for sent in [&b""[..], b"GET / HTTP/1.1\r\nhost: h\r\nx: "] {
            assert!(!answer(say(address, sent).await).await.contains("hello"));
        }
        assert!(answer(say(address, WHOLE).await).await.ends_with("hello"));
    }

    #[tokio::test]
    async fn callers_that_send_or_read_nothing_keep_nobody_out() {
        let limits = Limits { strangers: 2, connections: 8, ..Limits::default() };
        let (address, ..) = start(limits).await;
        let idle = [say(address, b"").await, say(address, b"").await];
        assert!(answer(say(address, WHOLE).await).await.ends_with("hello"));
        // Two that ask for more than the kernel keeps for them, and never read it.
        let deaf = [say(address, DEAF).await, say(address, DEAF).await];
        assert!(answer(say(address, WHOLE).await).await.ends_with("hello"));
        drop((idle, deaf));
    }

    #[tokio::test]
    async fn who_is_known_takes_no_place_of_strangers() {
        let (address, ..) = start(Limits { strangers: 1, ..Limits::default() }).await;
        let mut known = say(address, b"GET /known HTTP/1.1\r\nhost: h\r\n\r\n").await;
        known.read_u8().await.unwrap();
        // Its connection stays open, as a watch does.
        assert!(answer(say(address, WHOLE).await).await.ends_with("hello"));
    }

    const WHOSE: &str =
        "GET /whose HTTP/1.1\r\nhost: h\r\nx-forwarded-for: 6.6.6.6\r\nconnection: close\r\n\r\n";
    const LINE: &str = "PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\r\n";

    /// What was answered before the connection ended, be it by a reset.
    async fn said(address: SocketAddr, bytes: &[u8]) -> String {
        let (mut stream, mut found) = (say(address, bytes).await, vec![]);
        let read = timeout(Duration::from_secs(10), stream.read_to_end(&mut found)).await;
        drop(read.expect("it is held open"));
        String::from_utf8(found).unwrap()
    }

    #[tokio::test]
    async fn a_trusted_proxy_says_who_the_client_is_and_nobody_else_does() {
        let trusted = vec!["127.0.0.1".parse().unwrap()];
        let (address, ..) = start_behind(Limits::default(), trusted).await;
        let asked = async |head: &str| said(address, format!("{head}{WHOSE}").as_bytes()).await;
        assert!(asked(LINE).await.ends_with("\r\n\r\n192.0.2.7"));
        assert!(asked("PROXY UNKNOWN\r\n").await.ends_with("\r\n\r\n127.0.0.1"));
        // No header, a wrong one, and one too many.
        assert_eq!(asked("").await, "");
        assert_eq!(asked("PROXY TCP4 192.0.2.7 192.0.2.1 5000 99999\r\n").await, "");
        assert!(asked(&LINE.repeat(2)).await.starts_with("HTTP/1.1 400"));
        // Where nobody is trusted, a header is a bad request.
        let (address, ..) = start(Limits::default()).await;
        let asked = async |head: &str| said(address, format!("{head}{WHOSE}").as_bytes()).await;
        assert!(asked(LINE).await.starts_with("HTTP/1.1 400"));
        assert!(asked("").await.ends_with("\r\n\r\n127.0.0.1"));
    }

    #[tokio::test]
    async fn a_stop_lets_requests_end_and_takes_no_more() {
        let (address, stop, served) = start(Limits::default()).await;
        let slow = say(address, b"GET /slow HTTP/1.1\r\nhost: h\r\n\r\n").await;
        let idle = say(address, b"").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        stop.cancel();
        assert!(answer(slow).await.ends_with("slow"));
        assert_eq!(answer(idle).await, "");
        timeout(Duration::from_secs(5), served).await.expect("it goes on serving").unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }
}
