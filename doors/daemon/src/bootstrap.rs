//! What a first start makes: the org `home`, its project `default`, this machine's node, and the
//! platform's IPv6 prefix.

use anyhow::{Context, Result};
use freehold_edge::own::{self, Prefix};
use freehold_model::{
    Actor, Name, Node, NodeId, NodeSpec, Org, OrgSpec, ProjectSpec, Resource, Txn,
    id::{OrgId, ProjectId},
};
use freehold_reconcile::{
    Clock, Ids, Store, View, ViewExt,
    ports::{StoreError, SystemIds},
};

/// Makes what is missing, in one transaction, and answers with this machine's node, if it is to
/// have one.
pub(crate) async fn ensure(store: &dyn Store, clock: &dyn Clock, with_node: bool) -> Result<Option<NodeId>> {
    let (txn, node) = plan(&*store.view().await?, clock, with_node)?;
    if !txn.is_empty() {
        store.commit(txn).await.context("cannot make the first resources")?;
    }
    Ok(node)
}

/// What is missing, and the node of this process.
fn plan(view: &dyn View, clock: &dyn Clock, with_node: bool) -> Result<(Txn, Option<NodeId>), StoreError> {
    let mut txn = Txn::new(Actor::System, "first start", "bootstrap");
    let mut ids = SystemIds;
    let now = clock.now();
    let org = match view.named::<OrgSpec>(None, "home")? {
        Some(org) => org.id,
        None => {
            let org = Org::new(OrgId(ids.ulid()), "home", None, OrgSpec::default(), now);
            txn.put(&org);
            org.id
        }
    };
    // Unique among all platforms, most likely: two that meet one day need not be numbered anew.
    if view.claims(own::PREFIX)?.is_empty() {
        txn.claim(own::PREFIX, Prefix::random(ids.ulid().random()).address(), org);
    }
    if view.named::<ProjectSpec>(Some(org.into()), "default")?.is_none() {
        let id = ProjectId(ids.ulid());
        txn.put(&Resource::new(id, "default", Some(org.into()), ProjectSpec::default(), now));
    }
    let node = match with_node.then(|| own_node(view)).transpose()? {
        None => None,
        Some(Some(known)) => Some(known),
        Some(None) => {
            let id = NodeId(ids.ulid());
            txn.put(&Resource::new(id, &free_name(view)?, None, NodeSpec::default(), now));
            Some(id)
        }
    };
    Ok((txn, node))
}

/// The node that runs beside the control plane: one that has done so before, whatever the machine is called by
/// now, or one of the machine's name that nobody has run yet.
fn own_node(view: &dyn View) -> Result<Option<NodeId>, StoreError> {
    let name = host_name();
    let ours =
        |node: &Node| !node.status.remote && (node.status.started.is_some() || node.name == name.as_str());
    Ok(view.all::<NodeSpec>(None)?.iter().find(|node| ours(node)).map(|node| node.id))
}

/// The machine's name, with a number where a far node has it.
fn free_name(view: &dyn View) -> Result<String, StoreError> {
    let name = host_name().to_string();
    let taken = view.all::<NodeSpec>(None)?;
    let numbered = (2..).map(|n| format!("{name}-{n}"));
    let mut names = std::iter::once(name.clone()).chain(numbered);
    Ok(names.find(|name| taken.iter().all(|node| node.name != *name)).unwrap_or(name))
}

/// What a node on this machine is called: the machine's name without its domain, or `node` where it is no name.
pub fn host_name() -> Name {
    let uname = rustix::system::uname();
    let full = uname.nodename().to_string_lossy().to_ascii_lowercase();
    let label = full.split('.').next().unwrap_or_default();
    label.parse().unwrap_or_else(|_| "node".parse().expect("`node` is a name"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_model::NodeStatus;
    use freehold_reconcile::{MemoryStore, SystemClock};
    use std::sync::Arc;

    async fn put(store: &MemoryStore, name: &str, status: NodeStatus) -> NodeId {
        let mut node =
            Node::new(NodeId(SystemIds.ulid()), name, None, NodeSpec::default(), SystemClock.now());
        node.status = status;
        let mut txn = Txn::new(Actor::System, "test", "test");
        txn.put(&node);
        store.commit(txn).await.unwrap();
        node.id
    }

    #[tokio::test]
    async fn nodes_that_are_elsewhere_are_not_taken_for_this_one() {
        let store = MemoryStore::new(Arc::new(SystemClock));
        assert_eq!(ensure(&store, &SystemClock, false).await.unwrap(), None);
        let far = NodeStatus { remote: true, started: Some(SystemClock.now()), ..NodeStatus::default() };
        put(&store, host_name().as_str(), far).await;
        put(&store, "told-of", NodeStatus::default()).await;
        let own = ensure(&store, &SystemClock, true).await.unwrap().unwrap();
        let made = store.view().await.unwrap().find::<NodeSpec>(own).unwrap().unwrap();
        assert_eq!(made.name, format!("{}-2", host_name()));
        let mut txn = Txn::new(Actor::System, "test", "test");
        let started = NodeStatus { started: Some(SystemClock.now()), ..NodeStatus::default() };
        txn.observe::<NodeSpec>(own, &started);
        store.commit(txn).await.unwrap();
        assert_eq!(ensure(&store, &SystemClock, true).await.unwrap(), Some(own), "it is known again");
    }
}
