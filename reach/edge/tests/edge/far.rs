//! An edge far from the store: what it tells, and how often.

use crate::house::free_port;
use async_trait::async_trait;
use freehold_edge::{Edge, EdgeConfig, Scene, Scenery};
use freehold_model::{Endpoint, EndpointId, EndpointSpec, EndpointStatus, EnvId, NodeId};
use freehold_reconcile::{Clock as _, SystemClock};
use serde_json::json;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

const NODE: NodeId = NodeId(Ulid(1));

/// A control plane that keeps what it is told, and whose version rises all the time.
struct Plane {
    endpoint: Mutex<Endpoint>,
    /// How often it was asked for the scene, and how often something was told.
    asked: watch::Sender<u64>,
    told: watch::Sender<u64>,
    changed: watch::Sender<u64>,
}

#[async_trait]
impl Scenery for Plane {
    fn node(&self) -> NodeId {
        NODE
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    async fn scene(&self) -> Result<Scene, String> {
        self.asked.send_modify(|n| *n += 1);
        let (version, endpoints) = (100 + *self.asked.borrow(), vec![self.endpoint.lock().unwrap().clone()]);
        Ok(Scene { version, endpoints, ..Scene::default() })
    }

    fn reached_at(&self, address: SocketAddr) -> SocketAddr {
        SocketAddr::new([192, 0, 2, 2].into(), address.port())
    }

    async fn tell(&self, statuses: BTreeMap<EndpointId, EndpointStatus>) -> Result<(), String> {
        self.told.send_modify(|n| *n += 1);
        for status in statuses.into_values() {
            let mut endpoint = self.endpoint.lock().unwrap();
            endpoint.status = std::mem::take(&mut endpoint.status).with(NODE, status, &[NODE].into());
        }
        Ok(())
    }
}

#[tokio::test]
async fn what_was_told_is_told_once() {
    let port = free_port();
    let spec: EndpointSpec = serde_json::from_value(json!({
        "process": "web", "listen": port, "target": 80, "protocol": "tcp", "proxy_protocol": "off",
    }))
    .unwrap();
    let (id, env) = (EndpointId(Ulid(1)), EnvId(Ulid(1)));
    let endpoint = Endpoint::new(id, port.to_string(), Some(env.into()), spec, SystemClock.now());
    let plane = Arc::new(Plane {
        endpoint: Mutex::new(endpoint),
        asked: watch::channel(0).0,
        told: watch::channel(0).0,
        changed: watch::channel(0).0,
    });
    let shutdown = CancellationToken::new();
    let edge = Edge::start_far(plane.clone(), EdgeConfig::default(), shutdown.clone());
    let mut asked = plane.asked.subscribe();
    timeout(Duration::from_secs(10), plane.told.subscribe().wait_for(|told| *told == 1))
        .await
        .unwrap()
        .unwrap();
    // Others change, again and again: each time it looks. A look begins when all of the one before is done.
    for _ in 0..6 {
        let before = *asked.borrow_and_update();
        plane.changed.send_modify(|n| *n += 1);
        timeout(Duration::from_secs(10), asked.wait_for(|asked| *asked > before)).await.unwrap().unwrap();
    }
    assert_eq!(*plane.told.borrow(), 1);
    let addresses = plane.endpoint.lock().unwrap().status.addresses.clone();
    assert_eq!(addresses, [format!("192.0.2.2:{port}")]);
    shutdown.cancel();
    edge.stopped(Duration::from_secs(1)).await;
}
