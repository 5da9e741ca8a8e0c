//! Keeps the node's rules about its instances' network as the residents need them.
//!
//! A worker settles them before it starts anything; a task follows what changes otherwise. Invariant: what
//! was set last is what was wanted last, because one change is made at a time.

use crate::{agent::AgentConfig, residents::Residents};
use freehold_runtime::{Runtime, RuntimeError, network::Neighbourhood};
use std::{net::Ipv4Addr, sync::Arc, time::Duration};
use tokio::{sync::Mutex, time::sleep};
use tokio_util::task::AbortOnDropHandle;

/// After a failure it is tried again so soon.
const AGAIN: Duration = Duration::from_secs(5);

/// The rules, and how to set them.
#[derive(Clone)]
pub(crate) struct Network {
    gateway: Ipv4Addr,
    bits: u8,
    runtime: Arc<dyn Runtime>,
    residents: Arc<Residents>,
    /// What was set last; `None` before anything was.
    set: Arc<Mutex<Option<Option<Neighbourhood>>>>,
    /// The resolver's port.
    resolver: Option<u16>,
}

impl Network {
    pub(crate) fn new(
        config: &AgentConfig,
        resolver: Option<u16>,
        runtime: Arc<dyn Runtime>,
        residents: Arc<Residents>,
    ) -> Network {
        let (gateway, bits) = (config.gateway, config.network_bits);
        Network { gateway, bits, runtime, residents, set: Arc::default(), resolver }
    }

    /// Sets the rules as they should be by now.
    pub(crate) async fn settle(&self) -> Result<(), RuntimeError> {
        let mut set = self.set.lock().await;
        let wanted = self.residents.neighbourhood(self.gateway, self.bits, self.resolver);
        if set.as_ref() == Some(&wanted) || wanted.is_none() && set.is_none() {
            return Ok(());
        }
        self.runtime.settle(wanted.as_ref()).await?;
        *set = Some(wanted);
        Ok(())
    }

    /// Nothing runs any more: leaves the node as it was.
    pub(crate) async fn leave(&self) {
        let mut set = self.set.lock().await;
        match self.runtime.settle(None).await {
            Ok(()) => *set = Some(None),
            Err(error) => tracing::warn!(%error, "the rules of the instances' network stay behind"),
        }
    }

    /// Follows the residents until it is dropped.
    pub(crate) fn follow(&self) -> AbortOnDropHandle<()> {
        let network = self.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            let mut changed = network.residents.changed();
            loop {
                changed.mark_unchanged();
                let failed =
                    network.settle().await.inspect_err(|error| tracing::error!(%error, "unguarded")).is_err();
                tokio::select! {
                    Ok(()) = changed.changed() => {}
                    () = sleep(AGAIN), if failed => {}
                    else => return,
                }
            }
        }))
    }
}
