//! Carries datagrams: those of one client, sent to one address, go to one instance until they cease.
//!
//! Invariants: an answer leaves from the address to which the client sent; the number of sessions is
//! bounded, and the one that was silent longest makes room; what comes from a port of our own is never
//! carried, so that two endpoints cannot be made to talk to each other for ever.

mod message;
mod session;
mod table;

use crate::{door::Door, pool::Lease};
use freehold_model::InstanceId;
use message::{Datagram, Here, receive};
use session::{Sent, Session};
use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};
use table::Table;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

/// So many sessions an endpoint may have when it does not say.
const SESSIONS: u32 = 4096;
/// An instance whose port was closed is passed over for so long, if there is another.
const SHUNNED: Duration = Duration::from_secs(1);

/// Who sent, and to which of our addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    client: SocketAddr,
    here: IpAddr,
}

/// Whose a datagram is.
#[derive(Clone, Copy)]
struct Said {
    key: Key,
    here: Here,
    client: SocketAddr,
    /// Where another edge wants it to go.
    instance: Option<InstanceId>,
}

impl Said {
    /// What the datagram itself says.
    fn by(datagram: &Datagram<'_>) -> Said {
        let key = Key { client: datagram.client, here: datagram.here.ip };
        Said { key, here: datagram.here, client: datagram.client, instance: None }
    }
}

/// One endpoint's sessions.
struct Endpoint {
    door: Arc<Door>,
    sessions: Mutex<Table>,
    refused: Mutex<Option<(InstanceId, Instant)>>,
    stop: CancellationToken,
}

/// Carries what comes in at `sockets` until `stop`; then the sessions end too.
pub(crate) async fn serve(sockets: Vec<UdpSocket>, door: Arc<Door>, stop: CancellationToken) {
    let port = sockets.first().and_then(|socket| socket.local_addr().ok()).map(|address| address.port());
    door.own_ports.insert(port);
    let endpoint = Arc::new(Endpoint {
        door: Arc::clone(&door),
        sessions: Mutex::default(),
        refused: Mutex::default(),
        stop: stop.clone(),
    });
    let receivers: Vec<_> = sockets
        .into_iter()
        .map(|socket| tokio::spawn(Arc::clone(&endpoint).receive(Arc::new(socket))))
        .collect();
    for receiver in receivers {
        let _ = receiver.await;
    }
    door.own_ports.remove(port);
}

impl Endpoint {
    async fn receive(self: Arc<Self>, socket: Arc<UdpSocket>) {
        let mut buffer = vec![0; 64 << 10];
        let stop = self.stop.clone();
        while let Some(received) = stop.run_until_cancelled(receive(&socket, &mut buffer)).await {
            match received {
                Ok(datagram) => self.carry(&socket, &datagram),
                // A datagram of ours that could not be delivered: its session learns of it, or ends idle.
                Err(error) => tracing::debug!(%error, "no datagram"),
            }
        }
    }

    fn carry(self: &Arc<Self>, socket: &Arc<UdpSocket>, datagram: &Datagram<'_>) {
        let handed = self.handed(datagram);
        let said = handed.as_ref().map_or(Said::by(datagram), |(said, _)| *said);
        let bytes = handed.map_or(datagram.bytes, |(_, bytes)| bytes);
        let known = self.sessions().touch(&said.key);
        let session = match known.filter(|session| session.client == said.client) {
            Some(session) if session.lease.serves() => Some(session),
            // Its instance leaves: another takes over, if there is one.
            known => self.open(socket, said, &[]).or(known),
        };
        if !session.is_some_and(|session| self.pass_on(session, socket, (said, bytes))) {
            self.door.pool.counters.dropped.fetch_add(1, Relaxed);
        }
    }

    /// What another edge hands over, and the datagram itself.
    fn handed<'b>(&self, datagram: &Datagram<'b>) -> Option<(Said, &'b [u8])> {
        let (hop, bytes) = self.door.hops.open(datagram.bytes)?;
        let said = Said { client: hop.client, instance: Some(hop.instance), ..Said::by(datagram) };
        (hop.endpoint == self.door.endpoint).then_some((said, bytes))
    }

    /// Sends to the instance of `session`; where nobody listens there, to each of the others, once.
    fn pass_on(
        self: &Arc<Self>,
        session: Arc<Session>,
        socket: &Arc<UdpSocket>,
        (said, bytes): (Said, &[u8]),
    ) -> bool {
        let (mut next, mut refused) = (Some(session), vec![]);
        while let Some(session) = next {
            let instance = session.lease.backend.instance;
            match session.send(bytes) {
                Sent::Yes => return true,
                Sent::No => return false,
                Sent::Refused => refused.push(instance),
                Sent::Over => {}
            }
            self.shun(instance);
            next = self.open(socket, said, &refused);
        }
        false
    }

    /// A session of this client at an instance that is not one of `refused`.
    fn open(
        self: &Arc<Self>,
        socket: &Arc<UdpSocket>,
        said: Said,
        refused: &[InstanceId],
    ) -> Option<Arc<Session>> {
        if self.is_ours(&said.key) {
            return None;
        }
        let most = self.door.settings().max_connections.unwrap_or(SESSIONS);
        let lease = self.lease(said.instance, refused)?;
        while self.sessions().len() >= most as usize
            && let Some(oldest) = self.sessions().evict()
        {
            self.door.pool.counters.refused.fetch_add(1, Relaxed);
            oldest.end.cancel();
        }
        let session = Session::open(self, lease, said.key, said.client)?;
        if let Some(before) = self.sessions().insert(said.key, Arc::clone(&session)) {
            before.end.cancel();
        }
        let carried = session::answers(Arc::clone(self), Arc::clone(&session), Arc::clone(socket), said.here);
        tokio::spawn(self.door.connections.tasks.track_future(carried));
        Some(session)
    }

    /// The instance that another edge chose, or any; one that was shunned recently serves where no other is left.
    fn lease(&self, chosen: Option<InstanceId>, refused: &[InstanceId]) -> Option<Lease> {
        if let Some(lease) =
            chosen.filter(|it| !refused.contains(it)).and_then(|it| self.door.pool.lease_here(it))
        {
            return Some(lease);
        }
        let shunned = *self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let shunned = shunned.filter(|(_, at)| at.elapsed() < SHUNNED).map(|(instance, _)| instance);
        let passed_over: Vec<_> = refused.iter().copied().chain(shunned).collect();
        self.door.pool.lease(&passed_over).or_else(|| self.door.pool.lease(refused))
    }

    /// Whether one of our own sockets seems to have sent it: nobody else has that address.
    fn is_ours(&self, key: &Key) -> bool {
        let (ip, port) = (key.client.ip().to_canonical(), key.client.port());
        let is_here = || ip == key.here.to_canonical() || std::net::UdpSocket::bind((ip, 0)).is_ok();
        port == 0 || (self.door.own_ports.contains(port) && is_here())
    }

    fn shun(&self, instance: InstanceId) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some((instance, Instant::now()));
    }

    /// Nothing panics while it holds the lock, and no await happens.
    fn sessions(&self) -> std::sync::MutexGuard<'_, Table> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
