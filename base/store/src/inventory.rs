//! Begins a store with what another system knew, and writes the same again: [`Inventory`].

use freehold_model::{
    Actor, AnyId, Claim, CommitError, Device, DeviceId, DeviceSpec, Inventory, Name, NewEvent, Node, NodeId,
    NodeSpec, Seq, Txn,
    inventory::{AuditEntry, FORMAT, Listed, ListedAddress, ListedDevice, ListedNode},
};
use freehold_reconcile::{Ids, Store, StoreError, View, ViewExt};
use jiff::Timestamp;
use serde_json::json;
use std::collections::BTreeMap;

/// The event that an entry of the document becomes; its data is the entry but for its subject.
const IMPORTED: &str = "audit.imported";
/// Events read at a time.
const STRIDE: usize = 1000;

/// An inventory that was not imported; the store is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Something happened there already.
    #[error("the store holds {0} events already, and an inventory begins one: import it into an empty store")]
    Taken(Seq),
    /// The store failed.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Begins an empty store with an inventory: all of it, or nothing. Answers with the last event.
///
/// # Errors
/// When the store is not empty, or fails.
pub async fn import(
    store: &dyn Store,
    inventory: &Inventory,
    ids: &mut (dyn Ids + Send),
    now: Timestamp,
) -> Result<Seq, ImportError> {
    let head = *store.head().borrow();
    if head > 0 {
        return Err(ImportError::Taken(head));
    }
    let committed = store.commit(plan(inventory, ids, now)).await?;
    Ok(committed.version)
}

fn plan(inventory: &Inventory, ids: &mut dyn Ids, now: Timestamp) -> Txn {
    let mut txn = Txn::new(Actor::System, "import an inventory", "import");
    let mut known: BTreeMap<Listed, AnyId> = BTreeMap::new();
    for listed in &inventory.nodes {
        let ListedNode { name, labels, cordoned, created } = listed.clone();
        let spec = NodeSpec { cordoned, ..NodeSpec::default() };
        let mut node = Node::new(NodeId(ids.ulid()), name.as_str(), None, spec, created.unwrap_or(now));
        node.labels = labels;
        txn.put(&node);
        known.insert(Listed::Node(name), node.any_id());
    }
    for listed in &inventory.devices {
        let ListedDevice { name, owner, public_key, labels, created } = listed.clone();
        let spec = DeviceSpec { owner, public_key };
        let mut device = Device::new(DeviceId(ids.ulid()), name.as_str(), None, spec, created.unwrap_or(now));
        device.labels = labels;
        txn.put(&device);
        known.insert(Listed::Device(name), device.any_id());
    }
    for ListedAddress { address, owner } in &inventory.addresses {
        if let Some(owner) = known.get(owner) {
            txn.claim(Claim::ADDRESS, address.to_string(), *owner);
        }
    }
    for entry in &inventory.audit {
        let AuditEntry { time, actor, what, subject, data } = entry;
        let data = json!({ "time": time, "actor": actor, "what": what, "data": data });
        let subject = known.get(subject).copied();
        txn.events.extend(subject.map(|subject| NewEvent { subject, what: IMPORTED.into(), data }));
    }
    txn
}

/// What a store knows of machines, their addresses and their imported past.
///
/// # Errors
/// When the view fails.
pub fn export(view: &dyn View) -> Result<Inventory, StoreError> {
    let mut nodes = view.all::<NodeSpec>(None)?;
    let mut devices = view.all::<DeviceSpec>(None)?;
    nodes.sort_by(|one, other| one.name.cmp(&other.name));
    devices.sort_by(|one, other| one.name.cmp(&other.name));
    let mut names: BTreeMap<AnyId, Listed> = BTreeMap::new();
    let mut inventory =
        Inventory { format: FORMAT, nodes: vec![], devices: vec![], addresses: vec![], audit: vec![] };
    for Node { id, name, labels, created, spec, .. } in nodes {
        let name: Name = named(&name)?;
        names.insert(id.into(), Listed::Node(name.clone()));
        let cordoned = spec.cordoned;
        inventory.nodes.push(ListedNode { name, labels, cordoned, created: Some(created) });
    }
    for Device { id, name, labels, created, spec, .. } in devices {
        let name: Name = named(&name)?;
        names.insert(id.into(), Listed::Device(name.clone()));
        let DeviceSpec { owner, public_key } = spec;
        inventory.devices.push(ListedDevice { name, owner, public_key, labels, created: Some(created) });
    }
    for claim in view.claims(Claim::ADDRESS)? {
        if let (Some(owner), Ok(address)) = (names.get(&claim.owner), claim.key.parse()) {
            inventory.addresses.push(ListedAddress { address, owner: owner.clone() });
        }
    }
    inventory.addresses.sort_by_key(|listed| listed.address);
    past(view, &names, &mut inventory.audit)?;
    Ok(inventory)
}

fn past(
    view: &dyn View,
    names: &BTreeMap<AnyId, Listed>,
    audit: &mut Vec<AuditEntry>,
) -> Result<(), StoreError> {
    let mut after = view.beginning()?;
    loop {
        let events = view.events(after, STRIDE, None)?;
        let Some(last) = events.last() else { return Ok(()) };
        after = last.seq;
        for event in events.into_iter().filter(|event| event.what == IMPORTED) {
            // Of what is gone by now, the event log alone knows.
            let Some(subject) = names.get(&event.subject) else { continue };
            let mut entry = event.data;
            entry["subject"] = subject.to_string().into();
            let broken =
                |error: serde_json::Error| StoreError::Engine(format!("event {}: {error}", event.seq));
            audit.push(serde_json::from_value(entry).map_err(broken)?);
        }
    }
}

fn named(name: &str) -> Result<Name, StoreError> {
    name.parse().map_err(|error| StoreError::Engine(format!("stored name `{name}`: {error}")))
}
