//! The node's part of a process: agent, edge, and the watch over the machine's disk.
//!
//! Started by [`crate::up`] for `freehold up`. One of these for each machine; none of it is led, since all of
//! it is about this machine alone.

use crate::{
    control::LocalControl, disk, edge, far::Answers, node, nodes::hop_secret, tasks::Tasks, up::Options,
};
use anyhow::{Context, Result};
use freehold_agent::{Agent, AgentConfig, NameServers, remote::Answerer};
use freehold_api::EdgePort;
use freehold_deploy::address::Range;
use freehold_edge::{Edge, EdgeConfig, HopKeys, Reach};
use freehold_image::ImageStore;
use freehold_model::NodeId;
use freehold_reconcile::{Clock, Store};
use freehold_runtime::{Installation, LocalRuntime, RuntimeConfig, doctor, rootless};
use freehold_secrets::Vault;
use std::{sync::Arc, time::Duration};

/// What is known of this machine's node before it starts.
pub(crate) struct Here {
    pub(crate) id: NodeId,
    pub(crate) installation: Installation,
    /// Where its instances have their addresses.
    pub(crate) range: Range,
}

/// The node that runs in this process.
pub(crate) struct LocalNode {
    id: NodeId,
    agent: Arc<Agent>,
    /// Until it is drained.
    edge: Option<Edge>,
    window: edge::Window,
}

impl LocalNode {
    pub(crate) async fn start(
        options: &Options,
        here: Here,
        (store, clock): (&Arc<dyn Store>, &Arc<dyn Clock>),
        (images, vault): (ImageStore, Arc<Vault>),
        tasks: &mut Tasks,
    ) -> Result<LocalNode> {
        let id = here.id;
        node::register(&**store, id, &doctor::examine(&options.data), clock.now()).await?;
        let control = LocalControl::new(store.clone(), id, vault.clone());
        let agent = Arc::new(start_agent(options, here, control, images, clock.clone()).await?);
        let config = EdgeConfig {
            listen_on: options.endpoints_on.clone(),
            access_log: Some(options.data.join("access")),
            // Their route is the machine's, which is root's.
            own_addresses: !rootless::is_rootless(),
            reach: if rootless::is_rootless() { Reach::by(rootless::socket) } else { Reach::default() },
            node: Some(id),
            hop_keys: HopKeys::by(move |node| hop_secret(&vault, node)),
        };
        let shutdown = tasks.shutdown.clone();
        let edge = Edge::start(store.clone(), config, shutdown.clone());
        let (parts, data) = ((store.clone(), clock.clone()), options.data.clone());
        tasks.keep(disk::spec(), move |task| {
            disk::run(parts.clone(), id, data.clone(), task, shutdown.clone())
        });
        Ok(LocalNode { id, agent, window: edge::Window(edge.observer()), edge: Some(edge) })
    }

    /// As the API sees it; `port` is the API's.
    pub(crate) fn near(&self, port: u16) -> (NodeId, node::Door) {
        (self.id, node::Door::new(self.agent.clone(), port))
    }

    /// Who answers for it what other control planes ask.
    pub(crate) fn answerer(&self, port: u16) -> Option<(NodeId, Arc<dyn Answerer>)> {
        let (id, door) = self.near(port);
        let edge = self.edge.as_ref()?.observer();
        Some((id, Arc::new(Answers { door, edge })))
    }

    /// What its endpoints carry.
    pub(crate) fn window(&self) -> Arc<dyn EdgePort> {
        Arc::new(self.window.clone())
    }

    /// Lets proxied connections end for a while.
    pub(crate) async fn drained(&mut self, patience: Duration) {
        if let Some(edge) = self.edge.take() {
            edge.stopped(patience).await;
        }
    }

    /// Leaves instances running unless told otherwise.
    pub(crate) async fn stop(&self, stop_apps: bool) {
        self.agent.stop(stop_apps).await;
    }
}

async fn start_agent(
    options: &Options,
    here: Here,
    control: LocalControl,
    images: ImageStore,
    clock: Arc<dyn Clock>,
) -> Result<Agent> {
    let data = &options.data;
    let Here { id: node, installation, range } = here;
    let runtime = Arc::new(LocalRuntime::new(RuntimeConfig::new(data, installation.clone())?)?);
    let name_servers = Some(match options.name_servers.as_slice() {
        [] => NameServers::System,
        fixed => NameServers::Fixed(fixed.to_vec()),
    });
    let (data, gateway, network_bits) = (data.to_owned(), range.gateway(), range.bits());
    let installation = Some(installation);
    let config = AgentConfig { node, data, installation, gateway, network_bits, name_servers };
    Agent::start(config, Arc::new(control), Arc::new(images), runtime, clock)
        .await
        .context("starting the node's agent")
}
