//! The open ports: follows the routing, opening and closing listeners as endpoints come and go.
//!
//! Invariant: an endpoint keeps its door, and so the count of its connections, as long as it exists;
//! its listeners may come and go meanwhile. A closed port is free when [`Ports::apply`] goes on.

use crate::{
    bind::{self, Wanted},
    door::{Door, Hall},
    hop, proxy,
    routing::{Route, Routing},
    status::Outcome,
    udp,
};
use freehold_model::{EndpointId, manifest::Protocol};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{runtime::Handle, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

/// The first wait before a port that could not be had is tried again; it doubles up to [`SLOWEST`].
const SOONEST: Duration = Duration::from_millis(100);
const SLOWEST: Duration = Duration::from_secs(5);

/// The doors of all endpoints, to be looked at from outside.
pub(crate) type Doors = Arc<Mutex<BTreeMap<EndpointId, Arc<Door>>>>;

/// Every endpoint's port.
pub(crate) struct Ports {
    listen_on: Vec<IpAddr>,
    workers: Vec<Handle>,
    hall: Hall,
    ports: BTreeMap<EndpointId, Port>,
    doors: Doors,
    hops: Option<HopPort>,
}

/// Where other edges hand connections over.
struct HopPort {
    port: u16,
    stop: CancellationToken,
    acceptors: Vec<JoinHandle<()>>,
}

struct Port {
    door: Arc<Door>,
    state: State,
}

enum State {
    Closed(String),
    Open { at: At, addresses: Vec<IpAddr>, stop: CancellationToken, acceptors: Vec<JoinHandle<()>> },
    Failed { at: At, message: String, again: Instant, wait: Duration },
}

/// Where an endpoint listens, its own address included.
type At = (Protocol, u16, Option<Ipv6Addr>);

impl Ports {
    /// No ports yet; those to come listen on `listen_on`, and are served by `workers`.
    pub(crate) fn new(listen_on: Vec<IpAddr>, workers: Vec<Handle>, hall: Hall) -> Ports {
        Ports { listen_on, workers, hall, ports: BTreeMap::new(), doors: Doors::default(), hops: None }
    }

    /// The addresses on which all of them listen.
    pub(crate) fn listen_on(&self) -> &[IpAddr] {
        &self.listen_on
    }

    /// The doors, as they come and go.
    pub(crate) fn doors(&self) -> Doors {
        Arc::clone(&self.doors)
    }

    /// What all doors share of hops.
    pub(crate) fn hops(&self) -> &hop::Hops {
        &self.hall.hops
    }

    /// Takes hops, or no more, at the first port for them that can be had.
    pub(crate) async fn take_hops(&mut self, wanted: bool) {
        match (&mut self.hops, wanted) {
            (Some(_), true) | (None, false) => {}
            (open, false) => {
                if let Some(open) = open.take() {
                    open.close().await;
                }
            }
            (None, true) => {
                let mut ports = hop::PORT..hop::PORT + hop::PORTS;
                self.hops = ports.find_map(|port| self.open_hops(port));
                if self.hops.is_none() {
                    tracing::warn!(
                        first = hop::PORT,
                        count = hop::PORTS,
                        "no port is free for other edges of the house"
                    );
                }
            }
        }
    }

    fn open_hops(&self, port: u16) -> Option<HopPort> {
        let wanted = Wanted { port, listen_on: &self.listen_on, own: None };
        let listeners = bind::tcp(wanted, &self.workers);
        let listeners = listeners.inspect_err(|error| tracing::debug!(%error, "not for hops")).ok()?;
        let stop = CancellationToken::new();
        let mut acceptors = vec![];
        for (worker, listeners) in listeners {
            acceptors.extend(listeners.into_iter().map(|listener| {
                let (hops, doors) = (self.hall.hops.clone(), Arc::clone(&self.doors));
                worker.spawn(hop::accept(listener, hops, doors, stop.clone()))
            }));
        }
        Some(HopPort { port, stop, acceptors })
    }

    /// Makes listeners and backends as `routing` says: first closes, then opens.
    pub(crate) async fn apply(&mut self, routing: &Routing) {
        let gone = self.ports.extract_if(.., |id, _| !routing.routes.contains_key(id));
        for (id, mut port) in gone.collect::<Vec<_>>() {
            self.doors.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            port.door.pool.set(&[]);
            port.close("its endpoint is gone").await;
            port.door.gone.cancel();
        }
        for (id, route) in &routing.routes {
            let port = self.ports.entry(*id).or_insert_with(|| {
                let door = Door::new(*id, route.owner, route.settings.clone(), &self.hall);
                let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
                doors.insert(*id, Arc::clone(&door));
                Port { door, state: State::Closed(String::new()) }
            });
            port.door.set(route.settings.clone());
            port.door.pool.set(&route.backends);
            match at(route) {
                Err(reason) => port.close(reason).await,
                Ok(wanted) if port.state.at() != Some(wanted) => port.close("it is about to open").await,
                Ok(_) => {}
            }
        }
        for (id, route) in &routing.routes {
            if let (Ok(wanted), Some(port)) = (at(route), self.ports.get_mut(id)) {
                port.open(wanted, &self.listen_on, &self.workers);
            }
        }
    }

    /// What became of an endpoint.
    pub(crate) fn outcome(&self, id: EndpointId) -> Option<Outcome> {
        let port = self.ports.get(&id)?;
        let listening = match &port.state {
            State::Open { addresses, .. } => Ok(addresses.clone()),
            State::Closed(reason) => Err(reason.clone()),
            State::Failed { message, .. } => Err(message.clone()),
        };
        let hop_port = self.hops.as_ref().map(|hops| hops.port);
        Some(Outcome { listening, draining: port.door.pool.draining(), hop_port })
    }

    /// When a port that could not be had should be tried again.
    pub(crate) fn next_try(&self) -> Option<Instant> {
        let again = |port: &Port| match port.state {
            State::Failed { again, .. } => Some(again),
            _ => None,
        };
        self.ports.values().filter_map(again).min()
    }

    /// Closes every listener. Open connections go on.
    pub(crate) async fn close(&mut self) {
        self.take_hops(false).await;
        for port in self.ports.values_mut() {
            port.close("Freehold stops").await;
        }
    }
}

fn at(route: &Route) -> Result<At, &str> {
    let port = route.listen.as_ref().map_err(String::as_str)?;
    Ok((route.protocol, *port, route.own))
}

impl HopPort {
    async fn close(self) {
        self.stop.cancel();
        for acceptor in self.acceptors {
            let _ = acceptor.await;
        }
    }
}

impl Port {
    async fn close(&mut self, reason: &str) {
        let state = std::mem::replace(&mut self.state, State::Closed(reason.to_owned()));
        if let State::Open { stop, acceptors, .. } = state {
            stop.cancel();
            for acceptor in acceptors {
                let _ = acceptor.await;
            }
        }
    }

    fn open(&mut self, at: At, listen_on: &[IpAddr], workers: &[Handle]) {
        let wait = match self.state {
            State::Open { .. } => return,
            State::Failed { again, .. } if again > Instant::now() => return,
            State::Failed { wait, .. } => (wait * 2).min(SLOWEST),
            State::Closed(_) => SOONEST,
        };
        let (protocol, port, own) = at;
        let wanted = Wanted { port, listen_on, own };
        let opened = match protocol {
            Protocol::Tcp => self.serve_tcp(wanted, workers),
            Protocol::Udp => self.serve_udp(wanted, workers),
        };
        self.state = match opened {
            Ok((addresses, stop, acceptors)) => State::Open { at, addresses, stop, acceptors },
            Err(error) => {
                tracing::warn!(%error, "an endpoint cannot listen; trying again");
                State::Failed { at, message: error.to_string(), again: Instant::now() + wait, wait }
            }
        };
    }

    /// Every worker accepts on every address.
    fn serve_tcp(&self, wanted: Wanted<'_>, workers: &[Handle]) -> Result<Served, bind::BindError> {
        let (mut acceptors, stop) = (vec![], CancellationToken::new());
        let listeners = bind::tcp(wanted, workers)?;
        let addresses = listeners.iter().flat_map(|(_, all)| all).filter_map(|one| one.local_addr().ok());
        let addresses = addresses.map(|address| address.ip()).collect();
        for (worker, listeners) in listeners {
            let accept =
                |listener| worker.spawn(proxy::accept(listener, Arc::clone(&self.door), stop.clone()));
            acceptors.extend(listeners.into_iter().map(accept));
        }
        Ok((addresses, stop, acceptors))
    }

    /// Sessions of one endpoint know of each other, so one worker has them all; endpoints take turns.
    fn serve_udp(&self, wanted: Wanted<'_>, workers: &[Handle]) -> Result<Served, bind::BindError> {
        let turn = usize::from(wanted.port) % workers.len();
        let (worker, stop) = (&workers[turn], CancellationToken::new());
        let sockets = bind::udp(wanted, worker)?;
        let addresses = sockets.iter().filter_map(|one| Some(one.local_addr().ok()?.ip())).collect();
        let served = worker.spawn(udp::serve(sockets, Arc::clone(&self.door), stop.clone()));
        Ok((addresses, stop, vec![served]))
    }
}

type Served = (Vec<IpAddr>, CancellationToken, Vec<JoinHandle<()>>);

impl State {
    fn at(&self) -> Option<At> {
        match self {
            State::Closed(_) => None,
            State::Open { at, .. } | State::Failed { at, .. } => Some(*at),
        }
    }
}
