//! The open ports: follows the routing, opening and closing listeners as endpoints come and go.
//!
//! Invariant: an endpoint keeps its pool, and so the count of its connections, as long as it exists;
//! its listener may come and go meanwhile. A closed port is free when [`Ports::apply`] goes on.

use crate::{
    bind,
    pool::Pool,
    proxy::{self, Connections},
    routing::Routing,
    status::Outcome,
};
use freehold_model::EndpointId;
use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};
use tokio::{sync::Notify, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

/// The first wait before a port that could not be had is tried again; it doubles up to [`SLOWEST`].
const SOONEST: Duration = Duration::from_millis(100);
const SLOWEST: Duration = Duration::from_secs(5);

/// Every endpoint's port.
pub(crate) struct Ports {
    listen_on: Vec<IpAddr>,
    connections: Connections,
    drained: Arc<Notify>,
    ports: BTreeMap<EndpointId, Port>,
}

struct Port {
    pool: Arc<Pool>,
    state: State,
}

enum State {
    Closed(String),
    Open { port: u16, addresses: Vec<IpAddr>, stop: CancellationToken, acceptors: JoinSet<()> },
    Failed { port: u16, message: String, again: Instant, wait: Duration },
}

impl Ports {
    /// No ports yet; those to come listen on `listen_on`, and carry their connections as `connections`.
    pub(crate) fn new(listen_on: Vec<IpAddr>, connections: Connections, drained: Arc<Notify>) -> Ports {
        Ports { listen_on, connections, drained, ports: BTreeMap::new() }
    }

    /// Makes listeners and backends as `routing` says: first closes, then opens.
    pub(crate) async fn apply(&mut self, routing: &Routing) {
        let gone = self.ports.extract_if(.., |id, _| !routing.routes.contains_key(id));
        for (_, mut port) in gone.collect::<Vec<_>>() {
            port.pool.set(&[]);
            port.close("its endpoint is gone").await;
        }
        for (id, route) in &routing.routes {
            let new =
                || Port { pool: Pool::new(Arc::clone(&self.drained)), state: State::Closed(String::new()) };
            let port = self.ports.entry(*id).or_insert_with(new);
            port.pool.set(&route.backends);
            match &route.listen {
                Err(reason) => port.close(reason).await,
                Ok(wanted) if port.state.port() != Some(*wanted) => port.close("it is about to open").await,
                Ok(_) => {}
            }
        }
        for (id, route) in &routing.routes {
            if let (Ok(wanted), Some(port)) = (&route.listen, self.ports.get_mut(id)) {
                port.open(*wanted, &self.listen_on, &self.connections);
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
        Some(Outcome { listening, draining: port.pool.draining() })
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
        for port in self.ports.values_mut() {
            port.close("Freehold stops").await;
        }
    }
}

impl Port {
    async fn close(&mut self, reason: &str) {
        let state = std::mem::replace(&mut self.state, State::Closed(reason.to_owned()));
        if let State::Open { stop, acceptors, .. } = state {
            stop.cancel();
            acceptors.join_all().await;
        }
    }

    fn open(&mut self, port: u16, listen_on: &[IpAddr], connections: &Connections) {
        let wait = match self.state {
            State::Open { .. } => return,
            State::Failed { again, .. } if again > Instant::now() => return,
            State::Failed { wait, .. } => (wait * 2).min(SLOWEST),
            State::Closed(_) => SOONEST,
        };
        self.state = match bind::bind(listen_on, port) {
            Ok(listeners) => self.accept(port, listeners, connections),
            Err(error) => {
                tracing::warn!(%error, "an endpoint cannot listen; trying again");
                State::Failed { port, message: error.to_string(), again: Instant::now() + wait, wait }
            }
        };
    }

    fn accept(&self, port: u16, listeners: Vec<tokio::net::TcpListener>, connections: &Connections) -> State {
        let stop = CancellationToken::new();
        let (mut addresses, mut acceptors) = (vec![], JoinSet::new());
        for listener in listeners {
            addresses.extend(listener.local_addr().map(|address| address.ip()));
            acceptors.spawn(proxy::accept(
                listener,
                Arc::clone(&self.pool),
                stop.clone(),
                connections.clone(),
            ));
        }
        State::Open { port, addresses, stop, acceptors }
    }
}

impl State {
    fn port(&self) -> Option<u16> {
        match self {
            State::Closed(_) => None,
            State::Open { port, .. } | State::Failed { port, .. } => Some(*port),
        }
    }
}
