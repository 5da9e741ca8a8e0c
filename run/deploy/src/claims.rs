//! The scopes of the claims that deploys take, and how their keys are written.

use freehold_model::{
    EnvId, Receipt, ReceiptId, ReceiptSpec, Rollout, RolloutId, RolloutSpec, manifest::Protocol,
};
use freehold_reconcile::{StoreError, View, ViewExt};

/// Held by an instance for its address.
pub(crate) const ADDRESS: &str = freehold_model::Claim::ADDRESS;
/// Held by an endpoint for its port on the node.
pub(crate) const PORT: &str = "port";
/// Held by the active rollout for its env.
pub(crate) const ROLLOUT: &str = "rollout";

/// Held by the receipt of the operation that waits for its turn in an env.
pub(crate) const WAITING: &str = "waiting";

/// Held by the instance that has a volume, for that volume.
pub(crate) const VOLUME: &str = "volume";

/// The key of a port, which is also its endpoint's name: `tcp/8000`.
pub(crate) fn port(protocol: Protocol, listen: u16) -> String {
    match protocol {
        Protocol::Tcp => format!("tcp/{listen}"),
        Protocol::Udp => format!("udp/{listen}"),
    }
}

/// The rollout that is under way in `env`.
pub(crate) fn active_rollout(view: &dyn View, env: EnvId) -> Result<Option<Rollout>, StoreError> {
    let holder = view.claim(ROLLOUT, &env.to_string())?;
    match holder.and_then(|owner| RolloutId::try_from(owner).ok()) {
        Some(id) => view.find::<RolloutSpec>(id),
        None => Ok(None),
    }
}

/// The receipt of the operation that waits in `env` until the rollout under way has ended.
pub(crate) fn waiting(view: &dyn View, env: EnvId) -> Result<Option<Receipt>, StoreError> {
    let holder = view.claim(WAITING, &env.to_string())?;
    match holder.and_then(|owner| ReceiptId::try_from(owner).ok()) {
        Some(id) => view.find::<ReceiptSpec>(id),
        None => Ok(None),
    }
}
