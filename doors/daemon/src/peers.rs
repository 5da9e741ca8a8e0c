//! The other control planes of the house, as this one reaches them: over their doors for machines, each side
//! with its own certificate.
//!
//! Used by [`crate::nodes`] for calls, and by the image store for what is not here. Invariants: only control
//! planes that live are asked; nothing that was handed on is handed on again.

use freehold_agent::remote::{CallSocket, dial, protocol::HandedCall, whole};
use freehold_identity::Authority;
use freehold_model::{Lease, NodeId, controls::Presence};
use freehold_reconcile::{Store, StoreError, lease::Watched};
use futures::SinkExt as _;
use reqwest::Url;
use std::{io, sync::Arc};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;

/// The others.
#[derive(Clone)]
pub(crate) struct Peers {
    pub(crate) own: String,
    pub(crate) leases: watch::Receiver<Vec<Watched>>,
    pub(crate) authority: Arc<Authority>,
}

/// One that lives and has a door.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fellow {
    pub(crate) name: String,
    pub(crate) url: Url,
    /// A node runs in its process.
    pub(crate) node: bool,
}

impl Peers {
    /// Those that live.
    pub(crate) fn all(&self) -> Vec<Fellow> {
        let leases = self.leases.borrow();
        let live = leases.iter().filter(|it| it.live);
        live.filter_map(|it| fellow(&it.lease)).filter(|it| it.name != self.own).collect()
    }

    /// Those that came, or came back, since leases were looked at last.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn newcomers(&self, store: &dyn Store) -> Result<Vec<Fellow>, StoreError> {
        let now = store.leases().await?;
        let seen = self.leases.borrow();
        let is_news = |lease: &&Lease| {
            let known = seen.iter().find(|it| it.lease.name == lease.name);
            let same = |old: &Lease| (old.version, old.renewals) == (lease.version, lease.renewals);
            !lease.holder.is_empty() && known.is_none_or(|known| !known.live && !same(&known.lease))
        };
        Ok(now.iter().filter(is_news).filter_map(fellow).filter(|it| it.name != self.own).collect())
    }

    /// Hands a call on to the control plane that the node is connected to.
    pub(crate) async fn call(
        &self,
        fellow: &Fellow,
        node: NodeId,
        call: &HandedCall,
    ) -> io::Result<CallSocket> {
        let tls = self.authority.client().await.map_err(io::Error::other)?;
        let mut socket = dial(&fellow.url, Some(&tls), &format!("v1/control/calls/{node}")).await?;
        let text = serde_json::to_string(call).map_err(io::Error::other)?;
        socket.send(Message::Text(text.into())).await.map_err(io::Error::other)?;
        Ok(socket)
    }
}

fn fellow(lease: &Lease) -> Option<Fellow> {
    let name = Presence::of(&lease.name)?.to_owned();
    let said: Presence = serde_json::from_str(&lease.note).ok()?;
    Some(Fellow { name, url: whole(&said.node_url?).ok()?, node: said.node })
}
