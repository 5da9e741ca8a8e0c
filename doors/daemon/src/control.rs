//! The control plane as the agent of the same process sees it: its assignments are read from the
//! store, its reports are committed to it.

use crate::isolation;
use async_trait::async_trait;
use freehold_agent::{Control, ControlError, NodeReport};
use freehold_model::{
    Actor, CommitError, Committed, Instance, InstanceId, InstanceSpec, InstanceStatus, NodeId, Txn, Volume,
    VolumeId, VolumeSpec, VolumeStatus,
};
use freehold_reconcile::{Store, StoreError, ViewExt};
use freehold_secrets::{Delivered, Recipient, Vault};
use serde_json::json;
use std::sync::Arc;
use tokio::sync::watch;

/// The agent's port to the store.
pub(crate) struct LocalControl {
    store: Arc<dyn Store>,
    node: NodeId,
    changed: watch::Receiver<u64>,
    vault: Arc<Vault>,
}

impl LocalControl {
    pub(crate) fn new(store: Arc<dyn Store>, node: NodeId, vault: Arc<Vault>) -> LocalControl {
        let (signal, changed) = watch::channel(0);
        tokio::spawn(follow(store.clone(), signal));
        LocalControl::of(store, node, vault, changed)
    }

    /// For a node whose changes somebody else tells.
    pub(crate) fn of(
        store: Arc<dyn Store>,
        node: NodeId,
        vault: Arc<Vault>,
        changed: watch::Receiver<u64>,
    ) -> LocalControl {
        LocalControl { store, node, changed, vault }
    }

    /// The instance, if it is this node's own: of others a node learns and says nothing.
    async fn own(&self, id: InstanceId) -> Result<Instance, ControlError> {
        let view = self.store.view().await.map_err(unavailable)?;
        let found = view.find::<InstanceSpec>(id).map_err(unavailable)?;
        found.filter(|it| it.spec.node == self.node).ok_or(ControlError::Gone(id))
    }

    /// The volume, if it is this node's own.
    async fn own_volume(&self, id: VolumeId) -> Result<Option<Volume>, ControlError> {
        let view = self.store.view().await.map_err(unavailable)?;
        Ok(view.find::<VolumeSpec>(id).map_err(unavailable)?.filter(|it| it.spec.node == self.node))
    }
}

/// Signals when what is wanted of some instance changed. What the agent itself reports
/// (`instance.observed`) is no news to it.
async fn follow(store: Arc<dyn Store>, signal: watch::Sender<u64>) {
    let mut head = store.head();
    let mut seen = *head.borrow_and_update();
    while head.changed().await.is_ok() {
        loop {
            let events = match store.view().await.and_then(|view| view.events(seen, 256, None)) {
                Ok(events) => events,
                Err(StoreError::Pruned { first }) => {
                    // What was missed may have been anything.
                    seen = first - 1;
                    signal.send_replace(seen);
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot read events for the agent");
                    break;
                }
            };
            let Some(last) = events.last() else { break };
            seen = last.seq;
            let ours = |what: &str| what.starts_with("instance.") || what.starts_with("volume.");
            let wanted = |what: &str| ours(what) && !what.ends_with(".observed");
            if events.iter().any(|event| wanted(&event.what)) {
                signal.send_replace(seen);
            }
        }
    }
}

#[async_trait]
impl Control for LocalControl {
    async fn assigned(&self) -> Result<Vec<Instance>, ControlError> {
        let view = self.store.view().await.map_err(unavailable)?;
        let all = view.all::<InstanceSpec>(None).map_err(unavailable)?;
        Ok(all.into_iter().filter(|instance| instance.spec.node == self.node).collect())
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }

    async fn secrets(&self, id: InstanceId, node: &Recipient) -> Result<Vec<Delivered>, ControlError> {
        let instance = self.own(id).await?;
        self.vault.deliver(&instance, node).await.map_err(|error| ControlError::Refused(error.to_string()))
    }

    async fn report(&self, id: InstanceId, status: &InstanceStatus) -> Result<(), ControlError> {
        let old = self.own(id).await?;
        let mut txn = Txn::new(Actor::Node(self.node.to_string()), "observed", "agent");
        txn.observe::<InstanceSpec>(id, status);
        for (what, data) in news(&old, status) {
            txn.event(id, what, data);
        }
        match self.store.commit(txn).await {
            Ok(_) => Ok(()),
            Err(CommitError::Missing { .. }) => Err(ControlError::Gone(id)),
            Err(error) => Err(unavailable(error)),
        }
    }

    async fn volumes(&self) -> Result<Vec<Volume>, ControlError> {
        let view = self.store.view().await.map_err(unavailable)?;
        let all = view.all::<VolumeSpec>(None).map_err(unavailable)?;
        Ok(all.into_iter().filter(|volume| volume.spec.node == self.node).collect())
    }

    async fn report_volume(
        &self,
        id: VolumeId,
        status: &VolumeStatus,
        event: Option<&'static str>,
    ) -> Result<(), ControlError> {
        if self.own_volume(id).await?.is_none() {
            return Ok(());
        }
        let mut txn = Txn::new(Actor::Node(self.node.to_string()), "observed", "agent");
        txn.observe::<VolumeSpec>(id, status);
        if let Some(what) = event {
            txn.event(id, what, json!({ "used": status.used }));
        }
        taken(self.store.commit(txn).await)
    }

    async fn volume_gone(&self, id: VolumeId) -> Result<(), ControlError> {
        match self.own_volume(id).await? {
            None => return Ok(()),
            Some(volume) if volume.deleting.is_none() => {
                return Err(ControlError::Refused(format!("{id} is not to be removed")));
            }
            Some(_) => {}
        }
        let mut txn = Txn::new(Actor::Node(self.node.to_string()), "its bytes are gone", "agent");
        txn.delete(id);
        taken(self.store.commit(txn).await)
    }

    async fn report_node(&self, report: &NodeReport) -> Result<(), ControlError> {
        isolation::record(&*self.store, self.node, report).await
    }
}

/// What is worth an event of its own, beside that something was observed.
fn news(old: &Instance, new: &InstanceStatus) -> Vec<News> {
    let mut news = vec![];
    // Counted anew in each run.
    let before = if old.status.started == new.started { old.status.oom_kills } else { 0 };
    if new.oom_kills > before {
        let data = json!({ "kills": new.oom_kills, "memory": old.spec.template.memory });
        news.push(("instance.oom_killed", data));
    }
    let stopped = new.last_exit.as_ref().and_then(|exit| exit.disk);
    if let Some(disk) = stopped.filter(|_| old.status.last_exit != new.last_exit) {
        let data = json!({ "written": disk.written, "disk": disk.limit, "message": format!("it {disk}") });
        news.push(("instance.over_disk", data));
    }
    news
}

/// What happened, and its particulars.
type News = (&'static str, serde_json::Value);

/// Done, or there is nothing to do it to any more.
fn taken(outcome: Result<Committed, CommitError>) -> Result<(), ControlError> {
    match outcome {
        Ok(_) | Err(CommitError::Missing { .. }) => Ok(()),
        Err(error) => Err(unavailable(error)),
    }
}

fn unavailable(error: impl std::fmt::Display) -> ControlError {
    ControlError::Unavailable(error.to_string())
}
