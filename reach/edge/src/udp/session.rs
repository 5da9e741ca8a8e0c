//! One client's datagrams at one instance, through a socket of their own: so the instance's answers, and
//! the news that its port is closed, belong to this client and to no other.

use super::{
    Endpoint, Key,
    message::{Here, answer},
};
use crate::{
    connections::Room,
    door::{Door, Inside},
    header::plain,
    hop::{Hop, seal},
    pool::Lease,
    reach::Reach,
    routing::{FarEdge, Way},
};
use freehold_model::traffic::{AccessEnd, AccessLine};
use jiff::Timestamp;
use rustix::{
    io::Errno,
    net::{SendAncillaryBuffer, SendFlags, send, sendmsg},
};
use std::{
    cell::RefCell,
    io::{self, IoSlice},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{Interest, Ready},
    net::UdpSocket,
    time::sleep_until,
};
use tokio_util::sync::CancellationToken;

/// An instance that gets no new clients keeps those it has until they are silent for so long.
const LEAVING: Duration = Duration::from_secs(2);

/// What a socket may have to tell: an answer, or that there is nobody.
const NEWS: Interest = Interest::READABLE.add(Interest::ERROR);

thread_local! {
    /// As long as a datagram can be.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; 64 << 10].into());
}

/// A session. It ends when its task does, which [`answers`] is.
pub(super) struct Session {
    pub(super) key: Key,
    /// Whose it is: who sends the datagrams, or whom another edge names.
    pub(super) client: SocketAddr,
    /// What stands before each datagram: another edge is told whose it is.
    preface: Vec<u8>,
    pub(super) lease: Lease,
    /// Told to make room, or to leave to its successor.
    pub(super) end: CancellationToken,
    upstream: UdpSocket,
    is_broken: AtomicBool,
    began: Instant,
    /// Milliseconds since it began, at the last datagram either way.
    last: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    inside: Inside,
    _room: Room,
}

/// What became of a client's datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    Yes,
    /// It did not fit, or there is no way.
    No,
    /// The instance's port is closed to this very datagram, the session's first: the session is over.
    Refused,
    /// The instance's port was closed to an earlier one: the session is over, and this one was not sent.
    Over,
}

impl Session {
    /// A session of `client` at the instance of `lease`, if there are files for it.
    pub(super) fn open(
        endpoint: &Endpoint,
        lease: Lease,
        key: Key,
        client: SocketAddr,
    ) -> Option<Arc<Session>> {
        let door = &endpoint.door;
        let room = door.connections.admit_now(&door.share)?;
        let (reach, preface) = match lease.backend.way {
            Way::Here => (&door.reach, vec![]),
            Way::Edge(far) => (&Reach::default(), preface(door, &lease, far, client, key.here)),
        };
        let upstream = reach.udp(lease.backend.address);
        let upstream =
            upstream.inspect_err(|error| tracing::debug!(%error, "no socket for a session")).ok()?;
        lease.succeeded();
        Some(Arc::new(Session {
            key,
            client,
            preface,
            lease,
            end: CancellationToken::new(),
            upstream,
            is_broken: AtomicBool::new(false),
            began: Instant::now(),
            last: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            inside: endpoint.door.enter(None)?,
            _room: room,
        }))
    }

    /// Passes a client's datagram on.
    ///
    /// The kernel alone is asked whether it fits: tokio's `try_send` first asks whether the event loop has seen
    /// the socket writable, which it has of no socket that was made a moment ago.
    pub(super) fn send(&self, bytes: &[u8]) -> Sent {
        self.note_activity();
        let is_first = self.bytes_in.load(Relaxed) == 0;
        let sent = match self.pass(bytes) {
            // The answer to an earlier datagram, which was taken already; this one was not sent.
            Err(error) if !is_gone(error) && error != Errno::AGAIN => self.pass(bytes),
            sent => sent,
        };
        match sent {
            // Nobody listens on this machine, or on a link of it: the kernel knows as soon as it has sent.
            Ok(_) if is_first && self.upstream.take_error().is_ok_and(|error| error.is_some()) => {
                self.give_up();
                Sent::Refused
            }
            Ok(sent) => {
                self.bytes_in.fetch_add(sent as u64, Relaxed);
                self.inside.door().pool.counters.bytes_in.fetch_add(sent as u64, Relaxed);
                Sent::Yes
            }
            Err(error) if is_gone(error) => {
                self.give_up();
                if is_first { Sent::Refused } else { Sent::Over }
            }
            Err(_) => Sent::No,
        }
    }

    fn pass(&self, bytes: &[u8]) -> rustix::io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        if self.preface.is_empty() {
            return send(&self.upstream, bytes, flags);
        }
        let pieces = [IoSlice::new(&self.preface), IoSlice::new(bytes)];
        let sent = sendmsg(&self.upstream, &pieces, &mut SendAncillaryBuffer::default(), flags)?;
        Ok(sent.saturating_sub(self.preface.len()))
    }

    fn give_up(&self) {
        self.is_broken.store(true, Relaxed);
        self.end.cancel();
    }

    fn note_activity(&self) {
        self.last.store(self.began.elapsed().as_millis() as u64, Relaxed);
    }

    /// When it has been silent for too long.
    fn deadline(&self, idle: Duration) -> Instant {
        let patience = if self.lease.serves() { idle } else { idle.min(LEAVING) };
        self.began + Duration::from_millis(self.last.load(Relaxed)) + patience
    }
}

/// What stands before datagrams to the edge of another node; nothing where that does not know hops.
fn preface(door: &Door, lease: &Lease, far: FarEdge, client: SocketAddr, here: IpAddr) -> Vec<u8> {
    let key = far.hop_port.and_then(|_| door.hops.key_to(far.node));
    let (endpoint, instance) = (door.endpoint, lease.backend.instance);
    // The endpoint's port is the same on all nodes.
    let here = SocketAddr::new(here, lease.backend.address.port());
    key.map(|key| seal(&Hop { endpoint, instance, client, here }, &key)).unwrap_or_default()
}

/// Whether the instance's port is closed, or its machine cannot be reached (icmp(7)). Anything else, such as
/// a datagram too large for the way, says nothing of the next one.
fn is_gone(error: Errno) -> bool {
    matches!(error, Errno::CONNREFUSED | Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::HOSTDOWN)
}

/// Passes the instance's answers on until the session ends.
pub(super) async fn answers(
    endpoint: Arc<Endpoint>,
    session: Arc<Session>,
    socket: Arc<UdpSocket>,
    here: Here,
) {
    let end = carry(&endpoint, &session, &socket, here).await;
    endpoint.sessions().remove(&session);
    let (door, counters) = (session.inside.door(), &session.inside.door().pool.counters);
    match end {
        AccessEnd::Idle => counters.idled.fetch_add(1, Relaxed),
        AccessEnd::InstanceReset => counters.broken.fetch_add(1, Relaxed),
        _ => 0,
    };
    door.access.note(AccessLine {
        time: Timestamp::now(),
        endpoint: door.endpoint,
        client: plain(session.client),
        instance: Some(session.lease.backend.instance),
        bytes_in: session.bytes_in.load(Relaxed),
        bytes_out: session.bytes_out.load(Relaxed),
        duration_ms: session.began.elapsed().as_millis() as u64,
        end,
    });
}

async fn carry(endpoint: &Endpoint, session: &Session, socket: &UdpSocket, here: Here) -> AccessEnd {
    let (door, idle) = (&endpoint.door, endpoint.door.settings().idle);
    let mut changed = door.pool.changed();
    loop {
        let deadline = session.deadline(idle);
        if deadline <= Instant::now() {
            return AccessEnd::Idle;
        }
        tokio::select! {
            () = endpoint.stop.cancelled() => return AccessEnd::Cut,
            () = session.end.cancelled() => {
                if session.is_broken.load(Relaxed) {
                    return broken(endpoint, session);
                }
                return if session.lease.serves() { AccessEnd::Refused } else { AccessEnd::Done };
            }
            () = sleep_until(deadline.into()) => {}
            _ = changed.changed() => {}
            ready = session.upstream.ready(NEWS) => match ready.and_then(|ready| pass(ready, session, socket, here)) {
                Ok(bytes) => {
                    session.note_activity();
                    session.bytes_out.fetch_add(bytes, Relaxed);
                    door.pool.counters.bytes_out.fetch_add(bytes, Relaxed);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if Errno::from_io_error(&error).is_some_and(|error| !is_gone(error)) => {}
                Err(error) => {
                    tracing::debug!(instance = %session.lease.backend.instance, %error, "a session broke");
                    return broken(endpoint, session);
                }
            }
        }
    }
}

/// Its instance's port is closed, or it is gone: the client's next datagram goes elsewhere.
fn broken(endpoint: &Endpoint, session: &Session) -> AccessEnd {
    session.lease.failed();
    endpoint.shun(session.lease.backend.instance);
    AccessEnd::InstanceReset
}

/// One datagram from the instance to the client. One that cannot be sent is lost, as datagrams are.
fn pass(ready: Ready, session: &Session, socket: &UdpSocket, here: Here) -> io::Result<u64> {
    if ready.is_error() {
        let none = || io::Result::<()>::Err(io::ErrorKind::WouldBlock.into());
        // Seen now: told again when there is another.
        let _ = session.upstream.try_io(Interest::ERROR, none);
        session.upstream.take_error()?.map_or(Ok(()), Err)?;
    }
    BUFFER.with_borrow_mut(|buffer| {
        let length = session.upstream.try_recv(buffer)?;
        match answer(socket, &buffer[..length], session.key.client, here) {
            Ok(sent) => Ok(sent as u64),
            Err(_) => {
                session.inside.door().pool.counters.dropped.fetch_add(1, Relaxed);
                Ok(0)
            }
        }
    })
}
