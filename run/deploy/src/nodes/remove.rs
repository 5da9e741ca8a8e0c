//! Removing a node: only when it is empty, or lost for good.
//!
//! Called by the API, which commits the transaction.

use super::{change::find, there};
use crate::volumes::{Asker, ChangeError};
use freehold_model::{Code, NodeId, NodeSpec, Problem, Txn, VolumeSpec};
use freehold_reconcile::{View, ViewExt};
use serde_json::json;

/// The transaction that removes node `id`. What is left of instances on a lost one goes with it, and they are
/// made again elsewhere; volumes stay as resources, for their bytes may come back.
///
/// # Errors
/// When there is no such node, it answers and is not empty, or it is the only one.
pub fn remove_node(view: &dyn View, id: NodeId, asker: &Asker) -> Result<(Txn, NodeId), ChangeError> {
    let node = find(view, id)?;
    let name = &node.name;
    if view.all::<NodeSpec>(None)?.len() == 1 {
        return Err(Problem::new(Code::Conflict, format!("{name} is the only node")).into());
    }
    let instances = there(view, id)?;
    let volumes: Vec<String> =
        view.all::<VolumeSpec>(None)?.into_iter().filter(|it| it.spec.node == id).map(|it| it.name).collect();
    if node.status.away().is_none() {
        let refused = |why: String, hint: String| Problem::new(Code::Conflict, why).hint(hint);
        if !instances.is_empty() {
            let why = format!("{} instances are on {name}, and it answers", instances.len());
            return Err(refused(why, format!("move them first: `freehold node drain {name}`")).into());
        }
        if !volumes.is_empty() {
            let why = format!("{name} has volumes: {}", volumes.join(", "));
            let hint = "copy what they hold, then delete each with `freehold volume delete NAME --yes`";
            return Err(refused(why, hint.into()).into());
        }
        if !node.spec.cordoned {
            let why = format!("{name} takes instances");
            return Err(refused(why, format!("drain it first: `freehold node drain {name}`")).into());
        }
    }
    let mut txn = Txn::new(asker.actor.clone(), format!("remove node {name}"), asker.request.clone());
    txn.expect(id, node.version);
    for instance in view.all::<freehold_model::InstanceSpec>(None)? {
        if instance.spec.node == id {
            txn.expect(instance.id, instance.version).delete(instance.id);
        }
    }
    let lost: Vec<_> = instances.iter().map(|instance| instance.id).collect();
    txn.event(id, "node.remove", json!({ "name": name, "instances": lost, "volumes": volumes }));
    txn.delete(id);
    Ok((txn, id))
}
