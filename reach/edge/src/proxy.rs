//! Carries TCP connections: accepts them, finds each a backend, relays until both sides are done.
//!
//! Invariant: a connection that was accepted is given to every backend once before it is given up, and
//! waits a moment for one to appear, so that a restart costs a moment and not a failure. Not a byte has
//! been taken from the client by then, so a second attempt is as good as the first.

use crate::{
    connect::{Here, Whose, connect, connect_to, tune},
    connections::Room,
    door::{Door, Inside},
    header::{HeaderError, Received, plain, receive},
    hop::Hop,
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
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

/// How long to wait before accepting again when file descriptors or memory ran out.
const BREATHER: Duration = Duration::from_millis(100);

/// Accepts connections at `door` and serves each, until `stop`.
pub(crate) async fn accept(listener: TcpListener, door: Arc<Door>, stop: CancellationToken) {
    // What is set here, accepted sockets inherit.
    tune(&listener);
    let next = async || (door.connections.wait().await, listener.accept().await);
    while let Some((place, accepted)) = stop.run_until_cancelled(next()).await {
        match accepted {
            Ok((client, from)) => match door.connections.admit(&door.share, place) {
                Some(room) => welcome(&door, client, from, room),
                None => turn_away(&door, &client, from),
            },
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
        while let (Ok((client, from)), Some(room)) =
            (listener.accept(), door.connections.admit_now(&door.share))
        {
            if client.set_nonblocking(true).is_ok()
                && let Ok(client) = TcpStream::from_std(client)
            {
                welcome(&door, client, from, room);
            }
        }
    }
}

fn welcome(door: &Arc<Door>, client: TcpStream, from: SocketAddr, room: Room) {
    let served = serve(client, from, Arc::clone(door));
    tokio::spawn(door.connections.tasks.track_future(async move {
        served.await;
        drop(room);
    }));
}

/// Resets one that is beyond the endpoint's share. The first, the second, the fourth ... is said aloud.
fn turn_away(door: &Arc<Door>, client: &TcpStream, from: SocketAddr) {
    let count = door.pool.counters.refused.fetch_add(1, Relaxed) + 1;
    if count.is_power_of_two() {
        let endpoint = door.endpoint;
        tracing::warn!(%endpoint, count, "connections are refused: the endpoint has all that leave room for others");
    }
    let mut visit = Visit::new(door, from);
    visit.end = AccessEnd::Refused;
    reset(client);
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
    let mut here = Here::Of(&client);
    if settings.trusted_proxies.iter().any(|network| network.contains(from.ip())) {
        match receive(&client).await {
            Received::Told(told) => (visit.client, here) = (told.client, Here::Said(told.here)),
            Received::Nothing => {}
            Received::Gone => return visit.end = AccessEnd::Done,
            Received::Bad(error) => {
                bad_header(&door, from, &error);
                visit.end = AccessEnd::BadHeader;
                return reset(&client);
            }
        }
    }
    let whose = Whose { client: visit.client, here };
    let Some((lease, backend)) = connect(&door, &settings, whose).await else {
        counters.failed.fetch_add(1, Relaxed);
        visit.end = AccessEnd::NoInstance;
        return;
    };
    visit.relay(client, lease, backend, settings.idle).await;
}

/// A connection that another edge hands over, and the instance that waits for it.
pub(crate) struct Taken {
    client: SocketAddr,
    began: Instant,
    inside: Inside,
    lease: Lease,
    backend: TcpStream,
    idle: Duration,
    room: Room,
}

/// Connects what `hop` tells of to its instance, if that is here and answers. The edge where the client came
/// counts the endpoint's limit.
pub(crate) async fn take(door: &Arc<Door>, hop: &Hop) -> Option<Taken> {
    let began = Instant::now();
    let (room, settings, inside) =
        (door.connections.admit_now(&door.share)?, door.settings(), door.enter(None)?);
    let whose = Whose { client: hop.client, here: Here::Said(hop.here) };
    let (lease, backend) = connect_to(door, &settings, hop.instance, whose).await?;
    Some(Taken { client: hop.client, began, inside, lease, backend, idle: settings.idle, room })
}

impl Taken {
    /// Carries it, from now on beside others.
    pub(crate) fn carry(self, client: TcpStream) {
        tune(&client);
        let tasks = self.inside.door().connections.tasks.clone();
        tokio::spawn(tasks.track_future(async move {
            let mut visit = Visit::new(self.inside.door(), self.client);
            visit.began = self.began;
            visit.relay(client, self.lease, self.backend, self.idle).await;
            drop(visit);
            drop(self.room);
        }));
    }
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

    /// Carries the connection to its end.
    async fn relay(&mut self, client: TcpStream, lease: Lease, backend: TcpStream, idle: Duration) {
        let counters = &self.door.pool.counters;
        let counted = Counted { bytes_in: &counters.bytes_in, bytes_out: &counters.bytes_out };
        self.lease = Some(lease);
        let relay = self.relay.insert(Relay::new(client, backend, counted));
        // Cut, if the endpoint goes before.
        let gone = &self.door.gone;
        let Some(ended) = gone.run_until_cancelled(relay.run(idle, &self.door.pipes)).await else { return };
        self.end = match ended {
            End::Done => AccessEnd::Done,
            End::Idle => AccessEnd::Idle,
            End::Client => AccessEnd::ClientReset,
            End::Backend => AccessEnd::InstanceReset,
        };
        match self.end {
            AccessEnd::Idle => counters.idled.fetch_add(1, Relaxed),
            AccessEnd::ClientReset | AccessEnd::InstanceReset => counters.broken.fetch_add(1, Relaxed),
            _ => 0,
        };
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

fn reset(client: &TcpStream) {
    let _ = sockopt::set_socket_linger(client, Some(Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        connections::Connections,
        routing::{Backend, Way},
    };
    use freehold_model::InstanceId;
    use tokio::{io::AsyncReadExt, time::timeout};

    const SOON: Duration = Duration::from_secs(2);

    #[tokio::test]
    async fn who_is_beyond_the_share_is_reset_and_counted() {
        let door = Door::for_test(Connections::new(100));
        let rooms: Vec<_> = std::iter::from_fn(|| door.connections.admit_now(&door.share)).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let edge = tokio::spawn(accept(listener, door.clone(), stop.clone()));
        let refused = async {
            // The reset may come before the client has noticed that it is connected.
            match TcpStream::connect(address).await {
                Ok(mut client) => client.read(&mut [0]).await.map(drop),
                Err(error) => Err(error),
            }
        };
        let refused = timeout(SOON, refused).await.expect("it is not left waiting");
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(door.traffic().refused, 1);
        drop(rooms);
        stop.cancel();
        edge.await.unwrap();
    }

    #[tokio::test]
    async fn who_finds_no_room_waits_for_it() {
        let backend = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = Door::for_test(Connections::new(1));
        let instance = InstanceId(ulid::Ulid::nil());
        door.pool.set(&[Backend { instance, address: backend.local_addr().unwrap(), way: Way::Here }]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let edge = tokio::spawn(accept(listener, door, stop.clone()));

        let first = TcpStream::connect(address).await.unwrap();
        let (server, _) = backend.accept().await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        assert!(timeout(Duration::from_millis(100), backend.accept()).await.is_err(), "it waits");
        drop((first, server));
        let (server, _) = timeout(SOON, backend.accept()).await.expect("its turn came").unwrap();
        drop(server);
        assert_eq!(second.read(&mut [0]).await.unwrap(), 0);
        stop.cancel();
        edge.await.unwrap();
    }
}
