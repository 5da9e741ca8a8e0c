//! Carries TCP connections: accepts them, finds each a backend, relays until both sides are done.
//!
//! Invariant: a connection that was accepted is given to every backend once before it is given up, and
//! waits [`HOLD`] for one to appear, so that a restart costs a moment and not a failure. Not a byte has
//! been taken from the client by then, so a second attempt is as good as the first.

use crate::{
    door::Door,
    header::{HeaderError, Received, header, plain, receive},
    pool::Lease,
    relay::{Counted, End, Relay},
};
use freehold_model::traffic::{AccessEnd, AccessLine};
use jiff::Timestamp;
use rustix::{io::Errno, net::sockopt};
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long a backend may take to answer a connection attempt.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a connection waits for a backend when there is none that answers.
const HOLD: Duration = Duration::from_secs(3);
/// How soon backends that did not answer are tried again.
const AGAIN: Duration = Duration::from_millis(250);
/// How long to wait before accepting again when file descriptors or memory ran out.
const BREATHER: Duration = Duration::from_millis(100);
/// A peer that vanished without a word is noticed after one such silence and three probes.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(60), Duration::from_secs(10), 3);

/// How much an instance may send that was not passed on yet. Instances are near: this is what 10 Gbit/s
/// need at a round trip of 0.4 ms. Left alone, the kernel lets each of them fill 32 MiB, which costs
/// memory, and keeps senders running that the proxy then waits for.
const WINDOW: usize = 512 << 10;

/// The open connections of all endpoints, and room for more.
#[derive(Clone)]
pub(crate) struct Connections {
    pub(crate) tasks: TaskTracker,
    room: Arc<Semaphore>,
}

impl Connections {
    /// Room for `most` at a time.
    pub(crate) fn new(most: usize) -> Connections {
        Connections { tasks: TaskTracker::new(), room: Arc::new(Semaphore::new(most)) }
    }

    /// Waits for room: clients wait where the kernel keeps them, and the store, the API and the agent
    /// are left the files that they need.
    async fn room(&self) -> OwnedSemaphorePermit {
        if let Ok(room) = Arc::clone(&self.room).try_acquire_owned() {
            return room;
        }
        tracing::warn!("as many connections are open as may be; others wait");
        Arc::clone(&self.room).acquire_owned().await.expect("it is never closed")
    }

    /// Room for one that would rather be turned away than wait.
    pub(crate) fn room_now(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).try_acquire_owned().ok()
    }
}

/// How the `limit` of open files is shared out: so many connections, of two files each, and so many
/// pipes, likewise, leave a quarter of the files to others.
pub(crate) fn shares(limit: Option<u64>) -> (usize, usize) {
    let limit = usize::try_from(limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX).min(1 << 20);
    let pipes = (limit / 16).min(512);
    ((limit - limit / 4) / 2 - pipes, pipes)
}

/// Accepts connections at `door` and serves each, until `stop`.
pub(crate) async fn accept(listener: TcpListener, door: Arc<Door>, stop: CancellationToken) {
    // What is set here, accepted sockets inherit.
    tune(&listener);
    let next = async || (door.connections.room().await, listener.accept().await);
    while let Some((room, accepted)) = stop.run_until_cancelled(next()).await {
        match accepted {
            Ok((client, from)) => welcome(&door, client, from, room),
            Err(error) if is_exhausted(&error) => {
                tracing::warn!(%error, "cannot accept a connection now");
                sleep(BREATHER).await;
            }
            // The client is gone before it was accepted: nobody's loss (accept(2), ERRORS).
            Err(error) => tracing::debug!(%error, "a connection was lost before it was accepted"),
        }
    }
    // Who was let in by the kernel alone is still served: closing the listener would reset it.
    if let Ok(listener) = listener.into_std() {
        while let (Ok((client, from)), Some(room)) = (listener.accept(), door.connections.room_now()) {
            if client.set_nonblocking(true).is_ok()
                && let Ok(client) = TcpStream::from_std(client)
            {
                welcome(&door, client, from, room);
            }
        }
    }
}

fn welcome(door: &Arc<Door>, client: TcpStream, from: SocketAddr, room: OwnedSemaphorePermit) {
    let served = serve(client, from, Arc::clone(door));
    tokio::spawn(door.connections.tasks.track_future(async move {
        served.await;
        drop(room);
    }));
}

fn is_exhausted(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

async fn serve(client: TcpStream, from: SocketAddr, door: Arc<Door>) {
    let settings = door.settings();
    let mut visit = Visit::new(&door, from);
    let counters = &door.pool.counters;
    let Some(_inside) = door.enter(settings.max_connections) else {
        visit.end = AccessEnd::Refused;
        return reset(&client);
    };
    let mut here = client.local_addr().unwrap_or(from);
    if settings.trusted_proxies.iter().any(|network| network.contains(from.ip())) {
        match receive(&client).await {
            Received::Told(told) => (visit.client, here) = (told.client, told.here),
            Received::Nothing => {}
            Received::Gone => return visit.end = AccessEnd::Done,
            Received::Bad(error) => {
                bad_header(&door, from, &error);
                visit.end = AccessEnd::BadHeader;
                return reset(&client);
            }
        }
    }
    let greeting = header(settings.proxy_protocol, visit.client, here);
    let Some((lease, backend)) = connect(&door, &greeting).await else {
        counters.failed.fetch_add(1, Relaxed);
        visit.end = AccessEnd::NoInstance;
        return;
    };
    let counted = Counted { bytes_in: &counters.bytes_in, bytes_out: &counters.bytes_out };
    visit.lease = Some(lease);
    let relay = visit.relay.insert(Relay::new(client, backend, counted));
    visit.end = match relay.run(settings.idle, &door.pipes).await {
        End::Done => AccessEnd::Done,
        End::Idle => AccessEnd::Idle,
        End::Client => AccessEnd::ClientReset,
        End::Backend => AccessEnd::InstanceReset,
    };
    match visit.end {
        AccessEnd::Idle => counters.idled.fetch_add(1, Relaxed),
        AccessEnd::ClientReset | AccessEnd::InstanceReset => counters.broken.fetch_add(1, Relaxed),
        _ => 0,
    };
}

/// The first, the second, the fourth ... is said aloud: a proxy that is set up wrongly errs every time.
fn bad_header(door: &Door, from: SocketAddr, error: &HeaderError) {
    let count = door.pool.counters.bad_headers.fetch_add(1, Relaxed) + 1;
    if count.is_power_of_two() {
        let (endpoint, proxy) = (door.endpoint, plain(from));
        tracing::warn!(%endpoint, %proxy, %error, count, "a trusted proxy's connection is closed for its PROXY header");
    }
}

/// What the access log will say of a connection, however it ends: cut, if nobody says otherwise.
struct Visit<'a> {
    door: &'a Door,
    client: SocketAddr,
    began: Instant,
    /// Closed before the lease ends: whoever sees that an instance has drained may stop it.
    relay: Option<Relay<'a>>,
    lease: Option<Lease>,
    end: AccessEnd,
}

impl<'a> Visit<'a> {
    fn new(door: &'a Door, client: SocketAddr) -> Visit<'a> {
        Visit { door, client, began: Instant::now(), relay: None, lease: None, end: AccessEnd::Cut }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        let (bytes_in, bytes_out) = self.relay.as_ref().map_or((0, 0), Relay::bytes);
        self.door.access.note(AccessLine {
            time: Timestamp::now(),
            endpoint: self.door.endpoint,
            client: plain(self.client),
            instance: self.lease.as_ref().map(|lease| lease.backend.instance),
            bytes_in,
            bytes_out,
            duration_ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            end: self.end,
        });
    }
}

/// A connection to a backend, which knows by now whose it is; `None` when none answered within [`HOLD`].
async fn connect(door: &Door, greeting: &[u8]) -> Option<(Lease, TcpStream)> {
    let mut changed = None;
    let patience = async {
        loop {
            if let Some(connected) = try_each(door, greeting).await {
                return connected;
            }
            // Looked at before the second attempt, so that no change is missed after it.
            let changed = changed.get_or_insert_with(|| door.pool.changed());
            let _ = timeout(AGAIN, changed.changed()).await;
        }
    };
    // The first attempt needs no timer.
    if let Some(connected) = try_each(door, greeting).await {
        return Some(connected);
    }
    timeout(HOLD, patience).await.ok()
}

async fn try_each(door: &Door, greeting: &[u8]) -> Option<(Lease, TcpStream)> {
    let mut tried = vec![];
    while let Some(lease) = door.pool.lease(&tried) {
        match timeout(CONNECT, greet(door, lease.backend.address, greeting)).await {
            Ok(Ok(stream)) => {
                lease.succeeded();
                return Some((lease, stream));
            }
            failed => tracing::debug!(backend = ?lease.backend, ?failed, "a backend does not answer"),
        }
        lease.failed();
        tried.push(lease.backend.instance);
    }
    None
}

async fn greet(door: &Door, address: SocketAddr, greeting: &[u8]) -> io::Result<TcpStream> {
    let mut stream = door.reach.tcp(address).await?;
    tune(&stream);
    let _ = sockopt::set_socket_recv_buffer_size(&stream, WINDOW);
    if !greeting.is_empty() {
        stream.write_all(greeting).await?;
    }
    Ok(stream)
}

/// Small writes go out at once; silent death is noticed. A socket that refuses is already broken, and
/// the relay will say so.
fn tune(socket: &impl std::os::fd::AsFd) {
    let (idle, interval, probes) = KEEPALIVE;
    let _ = sockopt::set_tcp_nodelay(socket, true);
    let _ = sockopt::set_socket_keepalive(socket, true);
    let _ = sockopt::set_tcp_keepidle(socket, idle);
    let _ = sockopt::set_tcp_keepintvl(socket, interval);
    let _ = sockopt::set_tcp_keepcnt(socket, probes);
}

fn reset(client: &TcpStream) {
    let _ = sockopt::set_socket_linger(client, Some(Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::Backend;
    use freehold_model::InstanceId;
    use tokio::io::AsyncReadExt;

    #[test]
    fn a_quarter_of_the_files_is_left_to_others() {
        for limit in [1024_u64, 20_000, 1 << 20] {
            let (connections, pipes) = shares(Some(limit));
            assert!(2 * (connections + pipes) as u64 <= limit - limit / 4, "{limit}");
            assert!(connections as u64 > limit / 4 && pipes > 32, "{limit}: {connections}, {pipes}");
        }
        assert!(shares(None).0 < Semaphore::MAX_PERMITS);
    }

    #[tokio::test]
    async fn who_finds_no_room_waits_for_it() {
        let backend = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = Door::for_test(Connections::new(1));
        let instance = InstanceId(ulid::Ulid::nil());
        door.pool.set(&[Backend { instance, address: backend.local_addr().unwrap() }]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let edge = tokio::spawn(accept(listener, door, stop.clone()));

        let first = TcpStream::connect(address).await.unwrap();
        let (server, _) = backend.accept().await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        assert!(timeout(Duration::from_millis(100), backend.accept()).await.is_err(), "it waits");
        drop((first, server));
        let (server, _) = timeout(CONNECT, backend.accept()).await.expect("its turn came").unwrap();
        drop(server);
        assert_eq!(second.read(&mut [0]).await.unwrap(), 0);
        stop.cancel();
        edge.await.unwrap();
    }
}
