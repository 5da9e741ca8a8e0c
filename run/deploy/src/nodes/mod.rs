//! Operating nodes: what people change of them, drains that move instances elsewhere, and removal.
//!
//! Invariant: nothing here deletes a volume, and a drain takes nothing away before its replacement serves.

mod change;
mod drain;
mod moving;
mod remove;

pub use change::change_node;
pub use drain::{DrainReconciler, drain_progress};
pub use remove::remove_node;

use freehold_model::{
    AnyId, AppSpec, Desired, Env, EnvId, EnvSpec, Instance, InstanceSpec, NodeId, Phase, Rollout, RolloutId,
    RolloutSpec,
};
use freehold_reconcile::{StoreError, View, ViewExt};

/// The instances that are not gone from `node`.
fn there(view: &dyn View, node: NodeId) -> Result<Vec<Instance>, StoreError> {
    let mut all = view.all::<InstanceSpec>(None)?;
    all.retain(|it| it.spec.node == node && !is_gone(it));
    Ok(all)
}

fn is_gone(instance: &Instance) -> bool {
    instance.spec.desired == Desired::Stopped && instance.status.phase == Phase::Stopped
}

/// The rollouts under way that move off `node`.
fn moves(view: &dyn View, node: NodeId) -> Result<Vec<Rollout>, StoreError> {
    let mut found = vec![];
    for claim in view.claims(crate::claims::ROLLOUT)? {
        let Ok(id) = RolloutId::try_from(claim.owner) else { continue };
        found.extend(view.find::<RolloutSpec>(id)?.filter(|rollout| rollout.spec.leaves == Some(node)));
    }
    Ok(found)
}

/// The env with that id.
pub(crate) fn env(view: &dyn View, id: AnyId) -> Result<Option<Env>, StoreError> {
    EnvId::try_from(id).map_or(Ok(None), |id| view.find::<EnvSpec>(id))
}

/// `app/env`, for people.
pub(crate) fn title(view: &dyn View, env: &Env) -> Result<String, StoreError> {
    let app = match env.parent.and_then(|id| id.try_into().ok()) {
        Some(id) => view.find::<AppSpec>(id)?.map(|app| app.name),
        None => None,
    };
    Ok(format!("{}/{}", app.unwrap_or_default(), env.name))
}
