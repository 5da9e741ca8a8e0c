//! What the edge of a far node routes by: asked of the control plane, and kept on disk for the times when
//! none answers.

use async_trait::async_trait;
use freehold_agent::remote::{
    Link, RemoteControl,
    protocol::{RoutingView, resources},
};
use freehold_edge::{Scene, Scenery};
use freehold_model::{EndpointId, EndpointStatus, NodeId};
use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, SocketAddr, UdpSocket},
    path::PathBuf,
    sync::Arc,
};
use tokio::sync::{Mutex, watch};

/// The control plane as the edge needs it.
pub(super) struct FarScenery {
    node: NodeId,
    control: Arc<RemoteControl>,
    link: Arc<Link>,
    file: PathBuf,
    /// What is on disk; `None` before anything was asked.
    kept: Mutex<Option<RoutingView>>,
}

impl FarScenery {
    pub(super) fn new(
        node: NodeId,
        control: Arc<RemoteControl>,
        link: Arc<Link>,
        file: PathBuf,
    ) -> FarScenery {
        FarScenery { node, control, link, file, kept: Mutex::default() }
    }

    /// This machine's address on the way to a control plane: what others of that network can dial.
    fn own_address(&self) -> Option<IpAddr> {
        let to = |url: &reqwest::Url| url.socket_addrs(|| None).ok()?.into_iter().next();
        self.link.urls().all().iter().find_map(|url| {
            let to = to(url)?;
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).ok()?;
            // Sends nothing: it only chooses the way.
            socket.connect(to).ok()?;
            socket.local_addr().ok().map(|own| own.ip())
        })
    }
}

#[async_trait]
impl Scenery for FarScenery {
    fn node(&self) -> NodeId {
        self.node
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.control.routing_changed()
    }

    async fn scene(&self) -> Result<Scene, String> {
        let mut kept = self.kept.lock().await;
        let view = match self.control.routing().await {
            Ok(view) => {
                if kept.as_ref().is_none_or(|kept| !same(kept, &view))
                    && let Err(error) = crate::data::replace(&self.file, &view)
                {
                    tracing::warn!(%error, "the routing is not on disk");
                }
                *kept = Some(view.clone());
                view
            }
            // The first that is asked after a start: better than nothing.
            Err(error) if kept.is_none() => {
                let read = fs::read(&self.file).ok().and_then(|text| serde_json::from_slice(&text).ok());
                let view: RoutingView = read.ok_or_else(|| error.to_string())?;
                tracing::warn!(%error, "routing by what was known last");
                *kept = Some(view.clone());
                view
            }
            Err(error) => return Err(error.to_string()),
        };
        Ok(Scene {
            version: view.version,
            endpoints: resources(view.endpoints),
            instances: resources(view.instances),
            rollouts: resources(view.rollouts),
            hop_key: view.hop_key,
        })
    }

    fn reached_at(&self, address: SocketAddr) -> SocketAddr {
        let own = if address.ip().is_loopback() { self.own_address() } else { None };
        SocketAddr::new(own.unwrap_or(address.ip()), address.port())
    }

    async fn tell(&self, statuses: BTreeMap<EndpointId, EndpointStatus>) -> Result<(), String> {
        self.control.report_endpoints(statuses).await.map_err(|error| error.to_string())
    }
}

/// Whether two views route alike.
fn same(one: &RoutingView, other: &RoutingView) -> bool {
    let RoutingView { version: _, endpoints, instances, rollouts, hop_key } = one;
    *endpoints == other.endpoints
        && *instances == other.instances
        && *rollouts == other.rollouts
        && *hop_key == other.hop_key
}
