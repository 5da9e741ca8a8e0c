//! The door for machines: TLS, where each side shows a certificate of the house; a machine that is about to
//! join has none yet, and each route says whether it needs one.
//!
//! Started by [`crate::up`] where `--node-listen` is given. Invariants: a request carries a
//! [`Peer`](freehold_identity::Peer) only if its connection proved it and the key is not revoked; a revoked
//! machine's open connections are cut, what was upgraded included; a stranger holds a place for moments, and
//! never one that a machine needs.

mod cut;

use crate::serve::{self, Limits};
use anyhow::{Context as _, Result};
use axum::{
    Json, Router,
    extract::{Request, State},
    http::{Extensions, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use cut::Cut;
use freehold_identity::{Authority, ControlPeer, Live, NotANode, Peer, Presented};
use freehold_model::{Code, Problem};
use jiff::Timestamp;
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How many connections without a certificate may be open, those in their handshake among them.
const STRANGERS: usize = 256;
/// How many machines' connections may be open.
const MACHINES: usize = 8192;

/// The state of the door, shared by its connections.
struct Door {
    router: Router,
    authority: Arc<Authority>,
    shutdown: CancellationToken,
    machines: Arc<Semaphore>,
}

/// Takes the address.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listening = TcpListener::bind(address).await;
    listening
        .with_context(|| format!("cannot listen on {address}: choose another address with --node-listen"))
}

/// Where others reach it: the address it listens on, or this machine's own where that is any.
pub(crate) fn url(listener: &TcpListener) -> Option<String> {
    let mut address = listener.local_addr().ok()?;
    if address.ip().is_unspecified() {
        address.set_ip(outward(address.is_ipv6())?);
    }
    Some(format!("https://{address}"))
}

/// This machine's address on the way out. Sends nothing: connecting only chooses the way.
fn outward(prefer_v6: bool) -> Option<IpAddr> {
    let of = |bind: &str, to: &str| {
        let socket = std::net::UdpSocket::bind(bind).ok()?;
        socket.connect(to).ok()?;
        socket.local_addr().ok().map(|own| own.ip()).filter(|own| !own.is_unspecified())
    };
    // Addresses for documentation (RFC 5737, RFC 3849): nobody has them, the default route leads there.
    let v4 = || of("0.0.0.0:0", "203.0.113.1:9");
    let v6 = || of("[::]:0", "[2001:db8::1]:9");
    v4().or_else(|| prefer_v6.then(v6).flatten())
}

/// Serves until `shutdown`; then lets every request that is under way end.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    authority: Arc<Authority>,
    shutdown: CancellationToken,
) {
    let strangers = Arc::new(Semaphore::new(STRANGERS));
    let machines = Arc::new(Semaphore::new(MACHINES));
    let router = Router::new()
        .fallback_service(router)
        .layer(middleware::from_fn_with_state(authority.live(), admitted));
    let router = serve::strictly(router);
    let door = Arc::new(Door { router, authority, shutdown: shutdown.clone(), machines });
    let mut open = JoinSet::new();
    loop {
        let place = strangers.clone().acquire_owned();
        let next = async {
            let place = place.await;
            (serve::accept(&listener).await, place)
        };
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = open.join_next() => {}
            (stream, place) = next => {
                let door = door.clone();
                open.spawn(async move { door.meet(stream, place.ok()).await });
            }
        }
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

impl Door {
    /// One connection, from its handshake on. `place` is given back once it is known to be a machine's.
    async fn meet(&self, stream: TcpStream, place: Option<tokio::sync::OwnedSemaphorePermit>) {
        serve::tune_or_say(&stream);
        // Apart from what follows, which may last for days: a handshake takes room of its own.
        let Some((stream, shown)) = Box::pin(self.greet(stream)).await else { return };
        if matches!(shown, Shown::Nothing) {
            return self.converse(stream, |_| {}).await;
        }
        let Ok(_machine) = self.machines.clone().try_acquire_owned() else {
            return tracing::warn!("too many connections of machines");
        };
        drop(place);
        match shown {
            Shown::Machine(presented) => self.welcome(stream, *presented).await,
            _ => {
                let known = |extensions: &mut Extensions| {
                    extensions.insert(ControlPeer);
                };
                self.converse(stream, known).await;
            }
        }
    }

    /// The handshake: the stream within TLS, and what the other end showed.
    async fn greet(&self, stream: TcpStream) -> Option<(Box<TlsStream<TcpStream>>, Shown)> {
        let live = self.authority.live().borrow().clone()?;
        let shaking = tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(live.tls.clone()).accept(stream));
        let stream = match shaking.await {
            Ok(Ok(stream)) => Box::new(stream),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                return None;
            }
            Err(_) => {
                tracing::debug!("a TLS handshake took too long");
                return None;
            }
        };
        match Shown::by(&live.house, &stream) {
            Ok(shown) => Some((stream, shown)),
            Err(error) => {
                tracing::warn!(%error, "a connection was cut");
                None
            }
        }
    }

    /// A connection of a machine, for as long as it is let in.
    async fn welcome(&self, stream: Box<TlsStream<TcpStream>>, presented: Presented) {
        let (peer, known) = (presented.peer, self.authority.live());
        let (stream, cut) = Cut::new(stream);
        let admitted = is_admitted(&known, peer)
            || self.authority.admits_now(&peer).await.unwrap_or_else(|error| {
                tracing::warn!(%error, machine = %peer.machine, "cannot look up a machine");
                false
            });
        if admitted {
            if let Err(error) = self.authority.seen(&presented).await {
                tracing::warn!(%error, machine = %peer.machine, "cannot note the certificate that a machine uses");
            }
            tokio::spawn(watch_over(cut, known, presented));
        }
        let known = move |extensions: &mut Extensions| {
            extensions.insert(peer);
        };
        self.converse(stream, known).await;
    }

    async fn converse(
        &self,
        stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
        known: impl Fn(&mut Extensions),
    ) {
        let (router, shutdown) = (self.router.clone(), self.shutdown.clone());
        serve::converse(stream, router, known, shutdown, Limits::default()).await;
    }
}

/// What the other end showed.
enum Shown {
    /// No certificate: it may be about to join.
    Nothing,
    /// That of another control plane of the house.
    Control,
    Machine(Box<Presented>),
}

impl Shown {
    fn by(house: &str, stream: &TlsStream<TcpStream>) -> Result<Shown, NotANode> {
        let (_, connection) = stream.get_ref();
        let Some(own) = connection.peer_certificates().and_then(|all| all.first()) else {
            return Ok(Shown::Nothing);
        };
        if ControlPeer::read(house, own).is_some() {
            return Ok(Shown::Control);
        }
        Ok(Shown::Machine(Box::new(Presented::read(house, own)?)))
    }
}

fn is_admitted(known: &watch::Receiver<Option<Arc<Live>>>, peer: Peer) -> bool {
    known.borrow().as_ref().is_some_and(|live| live.admits(&peer))
}

/// Cuts a machine's connection when it is let in no more: revoked, or its certificate has ended.
async fn watch_over(cut: cut::Cutter, mut known: watch::Receiver<Option<Arc<Live>>>, presented: Presented) {
    let left = presented.not_after.duration_since(Timestamp::now());
    let ended = tokio::time::sleep(Duration::try_from(left).unwrap_or_default());
    let refused = known.wait_for(|live| !live.as_ref().is_some_and(|live| live.admits(&presented.peer)));
    let why = tokio::select! {
        () = cut.gone() => return,
        _ = refused => "its identity was revoked",
        () = ended => "its certificate has ended",
    };
    tracing::info!(machine = %presented.peer.machine, why, "a machine's connection is cut");
    cut.cut();
}

/// Asked at each request: a connection may be older than the revocation.
async fn admitted(
    State(known): State<watch::Receiver<Option<Arc<Live>>>>,
    request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<Peer>();
    if peer.is_none_or(|peer| is_admitted(&known, *peer)) {
        return next.run(request).await;
    }
    let problem = Problem::new(Code::NotAllowed, "The identity of this node was revoked.")
        .hint("Join anew, with a token: remove the `identity` folder of the node's data folder first.");
    let mut response = (StatusCode::FORBIDDEN, Json(problem)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
