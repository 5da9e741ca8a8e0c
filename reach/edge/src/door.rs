//! What whoever carries an endpoint's traffic needs to know of it. One for each endpoint, as long as the
//! endpoint exists; what can be changed by a deploy is read anew for each connection.

use crate::{
    access::Access,
    connections::{Connections, Share},
    hop::Hops,
    pool::Pool,
    reach::Reach,
    relay::Pipes,
};
use freehold_model::{
    AnyId, EndpointId, EndpointSpec, Network, manifest::ProxyProtocol, traffic::EndpointTraffic,
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// An endpoint, from the inside.
pub(crate) struct Door {
    pub(crate) endpoint: EndpointId,
    pub(crate) pool: Arc<Pool>,
    pub(crate) connections: Connections,
    pub(crate) share: Arc<Share>,
    pub(crate) pipes: Pipes,
    pub(crate) access: Access,
    pub(crate) own_ports: OwnPorts,
    pub(crate) reach: Reach,
    pub(crate) hops: Hops,
    /// The endpoint is no more: what it still carries is cut.
    pub(crate) gone: CancellationToken,
    settings: Mutex<Settings>,
}

/// How its connections are treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// After such a silence they are ended.
    pub idle: Duration,
    /// More are refused.
    pub max_connections: Option<u32>,
    /// What instances are told of the client.
    pub proxy_protocol: ProxyProtocol,
    /// Whose word is taken for who the client is.
    pub trusted_proxies: Arc<[Network]>,
}

/// What all doors share.
#[derive(Clone)]
pub(crate) struct Hall {
    pub(crate) connections: Connections,
    pub(crate) pipes: Pipes,
    pub(crate) access: Access,
    pub(crate) own_ports: OwnPorts,
    pub(crate) drained: Arc<Notify>,
    pub(crate) reach: Reach,
    pub(crate) hops: Hops,
}

impl Settings {
    /// Those that `spec` asks for.
    pub fn of(spec: &EndpointSpec) -> Settings {
        Settings {
            idle: spec.idle().duration(),
            max_connections: spec.max_connections,
            proxy_protocol: spec.proxy_protocol,
            trusted_proxies: spec.trusted_proxies.clone().into(),
        }
    }
}

impl Door {
    /// The door of an endpoint of `owner` in `hall`.
    pub(crate) fn new(
        endpoint: EndpointId,
        owner: Option<AnyId>,
        settings: Settings,
        hall: &Hall,
    ) -> Arc<Door> {
        Arc::new(Door {
            endpoint,
            pool: Pool::new(Arc::clone(&hall.drained)),
            connections: hall.connections.clone(),
            share: hall.connections.share(owner),
            pipes: hall.pipes.clone(),
            access: hall.access.clone(),
            own_ports: hall.own_ports.clone(),
            reach: hall.reach.clone(),
            hops: hall.hops.clone(),
            gone: CancellationToken::new(),
            settings: Mutex::new(settings),
        })
    }

    /// The settings that hold for a connection that comes now.
    pub(crate) fn settings(&self) -> Settings {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Those for connections to come.
    pub(crate) fn set(&self, settings: Settings) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// Counts one more connection, until the answer is dropped; none if there are `most`.
    pub(crate) fn enter(self: &Arc<Self>, most: Option<u32>) -> Option<Inside> {
        self.pool.counters.enter(most).then(|| Inside(Arc::clone(self)))
    }

    /// What went through it.
    pub(crate) fn traffic(&self) -> EndpointTraffic {
        EndpointTraffic {
            unlogged: self.access.lost(self.endpoint),
            backends: self.pool.traffic(),
            ..self.pool.counters.read(self.endpoint)
        }
    }

    #[cfg(test)]
    pub(crate) fn for_test(connections: Connections) -> Arc<Door> {
        Door::reaching(connections, Reach::default())
    }

    #[cfg(test)]
    pub(crate) fn reaching(connections: Connections, reach: Reach) -> Arc<Door> {
        let access = Access::start(None).0;
        let hall = Hall {
            connections,
            pipes: Pipes::new(8),
            access,
            own_ports: OwnPorts::default(),
            drained: Arc::default(),
            reach,
            hops: Hops::default(),
        };
        let settings = Settings {
            idle: Duration::from_secs(3600),
            max_connections: None,
            proxy_protocol: ProxyProtocol::Off,
            trusted_proxies: [].into(),
        };
        Door::new(EndpointId(ulid::Ulid::nil()), None, settings, &hall)
    }
}

/// An open connection of a door.
pub(crate) struct Inside(Arc<Door>);

impl Inside {
    /// Which door it came through.
    pub(crate) fn door(&self) -> &Arc<Door> {
        &self.0
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.pool.counters.leave();
    }
}

/// The UDP ports on which endpoints listen.
#[derive(Clone, Default)]
pub(crate) struct OwnPorts(Arc<Mutex<BTreeSet<u16>>>);

impl OwnPorts {
    /// Somebody listens there now.
    pub(crate) fn insert(&self, port: Option<u16>) {
        self.lock().extend(port);
    }

    /// Nobody does any more.
    pub(crate) fn remove(&self, port: Option<u16>) {
        port.map(|port| self.lock().remove(&port));
    }

    /// Whether somebody does.
    pub(crate) fn contains(&self, port: u16) -> bool {
        self.lock().contains(&port)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<u16>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
