//! Finds a connection a backend, and tells it whose connection it is.

use crate::{
    door::{Door, Settings},
    header::header,
    hop::{Handed, Hop, hand},
    pool::Lease,
    routing::{Backend, FarEdge, Way},
};
use freehold_model::{InstanceId, manifest::ProxyProtocol};
use rustix::net::sockopt;
use std::{io, net::SocketAddr, time::Duration};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};

/// How long a backend may take to answer a connection attempt.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a connection waits for a backend when there is none that answers.
const HOLD: Duration = Duration::from_secs(3);
/// How soon backends that did not answer are tried again.
const AGAIN: Duration = Duration::from_millis(250);
/// A peer that vanished without a word is noticed after one such silence and three probes.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(60), Duration::from_secs(10), 3);

/// How much an instance may send that was not passed on yet. Instances are near: this is what 10 Gbit/s
/// need at a round trip of 0.4 ms. Left alone, the kernel lets each of them fill 32 MiB, which costs
/// memory, and keeps senders running that the proxy then waits for.
const WINDOW: usize = 512 << 10;

/// Whose connection it is, and where it went.
#[derive(Clone, Copy)]
pub(crate) struct Whose<'a> {
    pub(crate) client: SocketAddr,
    pub(crate) here: Here<'a>,
}

/// The address that a client connected to.
#[derive(Clone, Copy)]
pub(crate) enum Here<'a> {
    /// As somebody said.
    Said(SocketAddr),
    /// As the client's socket knows: asked only where anybody is told, since each question is a call.
    Of(&'a TcpStream),
}

impl Whose<'_> {
    fn here(&self) -> SocketAddr {
        match self.here {
            Here::Said(here) => here,
            Here::Of(socket) => socket.local_addr().unwrap_or(self.client),
        }
    }

    fn greeting(&self, settings: &Settings) -> Vec<u8> {
        match settings.proxy_protocol {
            ProxyProtocol::Off => vec![],
            version => header(version, self.client, self.here()),
        }
    }
}

/// A connection to a backend, which knows whose it is; `None` when none answered within [`HOLD`].
pub(crate) async fn connect(
    door: &Door,
    settings: &Settings,
    whose: Whose<'_>,
) -> Option<(Lease, TcpStream)> {
    let greeting = whose.greeting(settings);
    let mut changed = None;
    let patience = async {
        loop {
            if let Some(connected) = try_each(door, whose, &greeting).await {
                return connected;
            }
            // Looked at before the second attempt, so that no change is missed after it.
            let changed = changed.get_or_insert_with(|| door.pool.changed());
            let _ = timeout(AGAIN, changed.changed()).await;
        }
    };
    // The first attempt needs no timer.
    if let Some(connected) = try_each(door, whose, &greeting).await {
        return Some(connected);
    }
    timeout(HOLD, patience).await.ok()
}

async fn try_each(door: &Door, whose: Whose<'_>, greeting: &[u8]) -> Option<(Lease, TcpStream)> {
    let mut tried = vec![];
    while let Some(lease) = door.pool.lease(&tried) {
        if let Some(stream) = try_one(door, &lease, whose, greeting).await {
            return Some((lease, stream));
        }
        tried.push(lease.backend.instance);
    }
    None
}

/// A connection to this very instance, if it is on this node and answers.
pub(crate) async fn connect_to(
    door: &Door,
    settings: &Settings,
    instance: InstanceId,
    whose: Whose<'_>,
) -> Option<(Lease, TcpStream)> {
    let lease = door.pool.lease_here(instance)?;
    let greeting = whose.greeting(settings);
    let stream = try_one(door, &lease, whose, &greeting).await?;
    Some((lease, stream))
}

async fn try_one(door: &Door, lease: &Lease, whose: Whose<'_>, greeting: &[u8]) -> Option<TcpStream> {
    let reached = async {
        match lease.backend.way {
            Way::Here => greet(door, lease.backend.address, greeting).await,
            Way::Edge(far) => hand_over(door, lease.backend, far, whose).await,
        }
    };
    match timeout(CONNECT, reached).await {
        Ok(Ok(stream)) => {
            lease.succeeded();
            return Some(stream);
        }
        failed => tracing::debug!(backend = ?lease.backend, ?failed, "a backend does not answer"),
    }
    lease.failed();
    None
}

async fn greet(door: &Door, address: SocketAddr, greeting: &[u8]) -> io::Result<TcpStream> {
    let mut stream = door.reach.tcp(address).await?;
    // An instance of this machine does not vanish without a word: its kernel is ours.
    let _ = sockopt::set_tcp_nodelay(&stream, true);
    let _ = sockopt::set_socket_recv_buffer_size(&stream, WINDOW);
    if !greeting.is_empty() {
        stream.write_all(greeting).await?;
    }
    Ok(stream)
}

/// The other edge says to the instance whose connection it is: what is said to it besides would be taken for
/// the client's.
async fn hand_over(door: &Door, backend: Backend, far: FarEdge, whose: Whose<'_>) -> io::Result<TcpStream> {
    let (client, here) = (whose.client, whose.here());
    let hop = Hop { endpoint: door.endpoint, instance: backend.instance, client, here };
    let stream = match hand(&door.hops, far, backend.address, &hop).await? {
        Handed::Over(stream) => stream,
        Handed::Refused => return Err(io::ErrorKind::ConnectionRefused.into()),
        Handed::NoHops => TcpStream::connect(backend.address).await?,
    };
    tune(&stream);
    let _ = sockopt::set_socket_recv_buffer_size(&stream, WINDOW);
    Ok(stream)
}

/// Small writes go out at once; silent death is noticed. A socket that refuses is already broken, and
/// the relay will say so.
pub(crate) fn tune(socket: &impl std::os::fd::AsFd) {
    let (idle, interval, probes) = KEEPALIVE;
    let _ = sockopt::set_tcp_nodelay(socket, true);
    let _ = sockopt::set_socket_keepalive(socket, true);
    let _ = sockopt::set_tcp_keepidle(socket, idle);
    let _ = sockopt::set_tcp_keepintvl(socket, interval);
    let _ = sockopt::set_tcp_keepcnt(socket, probes);
}
