//! What people want of a node: cordon, uncordon, drain, labels and taints.
//!
//! Called by the API, which commits the transaction: the change and the event that audits it are one.

use super::{moves, there};
use crate::volumes::{Asker, ChangeError};
use freehold_model::{
    Code, Desired, Instance, InstanceSpec, LabelKey, Node, NodeChange, NodeId, NodeSpec, Problem,
    RolloutPhase, Txn, label_value,
};
use freehold_reconcile::{StoreError, View, ViewExt};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// The transaction that makes `change` of node `id`.
///
/// # Errors
/// When there is no such node, it is being removed, or a label cannot be.
pub fn change_node(
    view: &dyn View,
    id: NodeId,
    change: &NodeChange,
    asker: &Asker,
) -> Result<(Txn, NodeId), ChangeError> {
    let mut node = find(view, id)?;
    let reason = format!("{} node {}", change.verb(), node.name);
    let mut txn = Txn::new(asker.actor.clone(), reason, asker.request.clone());
    let before = node.clone();
    match change {
        NodeChange::Cordon {} => node.spec.cordoned = true,
        NodeChange::Uncordon {} => {
            (node.spec.cordoned, node.spec.draining) = (false, None);
            call_off(view, &node, asker, &mut txn)?;
        }
        NodeChange::Drain { force } => {
            node.spec.cordoned = true;
            node.spec.draining.get_or_insert(asker.now);
            if *force {
                stop_pinned(view, id, &mut txn)?;
            }
        }
        NodeChange::Label { set, remove } => label(&mut node, set, remove)?,
        NodeChange::Taint { add, remove } => {
            node.spec.taints.extend(add.iter().cloned());
            node.spec.taints.retain(|taint| !remove.contains(taint));
        }
    }
    if node != before {
        txn.put(&node);
    }
    if !txn.is_empty() {
        txn.event(id, &format!("node.{}", change.verb()), json!(change));
    }
    Ok((txn, id))
}

/// The node.
pub(super) fn find(view: &dyn View, id: NodeId) -> Result<Node, ChangeError> {
    let missing = || {
        Problem::new(Code::NotFound, format!("there is no node {id}"))
            .hint("`freehold node list` shows what there is")
    };
    let node = view.find::<NodeSpec>(id)?.ok_or_else(missing)?;
    match node.deleting {
        None => Ok(node),
        Some(_) => Err(Problem::new(Code::Conflict, format!("node {} is being removed", node.name)).into()),
    }
}

fn label(
    node: &mut Node,
    set: &BTreeMap<LabelKey, String>,
    remove: &BTreeSet<LabelKey>,
) -> Result<(), ChangeError> {
    for (key, value) in set {
        if key.as_str() == LabelKey::HOST {
            return Err(Problem::new(Code::Invalid, "`host` is the node's own name, and cannot be set")
                .hint("choose another label")
                .into());
        }
        label_value(value).map_err(|error| Problem::new(Code::Invalid, error.to_string()))?;
        node.labels.insert(key.to_string(), value.clone());
    }
    node.labels.retain(|key, _| !remove.contains(key.as_str()));
    Ok(())
}

/// A move that has not shifted yet is taken back; one that has goes to its end.
fn call_off(view: &dyn View, node: &Node, asker: &Asker, txn: &mut Txn) -> Result<(), StoreError> {
    for mut rollout in moves(view, node.id)? {
        if rollout.status.phase == RolloutPhase::Starting && rollout.spec.cancelled_by.is_none() {
            rollout.spec.cancelled_by = Some(asker.actor.clone());
            txn.expect(rollout.id, rollout.version).put_spec(&rollout);
        }
    }
    Ok(())
}

/// Stops what has volumes there. The volumes stay; it starts again when the node takes instances.
fn stop_pinned(view: &dyn View, id: NodeId, txn: &mut Txn) -> Result<(), StoreError> {
    for instance in there(view, id)? {
        if instance.spec.desired == Desired::Running && !instance.spec.volumes.is_empty() {
            let spec = InstanceSpec { desired: Desired::Stopped, serving: false, ..instance.spec.clone() };
            txn.put_spec(&Instance { spec, ..instance });
        }
    }
    Ok(())
}
