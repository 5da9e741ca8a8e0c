//! What a first start makes: the org `home`, its project `default`, this machine's node, and the
//! platform's IPv6 prefix.

use anyhow::{Context, Result};
use freehold_edge::own::{self, Prefix};
use freehold_model::{
    Actor, Name, NodeId, NodeSpec, Org, OrgSpec, ProjectSpec, Resource, Spec, Txn,
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

/// One data directory belongs to one machine, so its first node is this one, whatever the machine is
/// called by now.
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
    let node = match first::<NodeSpec>(view)? {
        _ if !with_node => None,
        Some(node) => Some(node.id),
        None => {
            let id = NodeId(ids.ulid());
            txn.put(&Resource::new(id, host_name().as_str(), None, NodeSpec::default(), now));
            Some(id)
        }
    };
    Ok((txn, node))
}

fn first<S: Spec>(view: &dyn View) -> Result<Option<Resource<S>>, StoreError> {
    Ok(view.all::<S>(None)?.into_iter().next())
}

/// What a node on this machine is called: the machine's name without its domain, or `node` where it is no name.
pub fn host_name() -> Name {
    let uname = rustix::system::uname();
    let full = uname.nodename().to_string_lossy().to_ascii_lowercase();
    let label = full.split('.').next().unwrap_or_default();
    label.parse().unwrap_or_else(|_| "node".parse().expect("`node` is a name"))
}
