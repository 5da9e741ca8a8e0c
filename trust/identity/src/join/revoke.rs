//! Revoking: from this commit on a node's keys are refused by every door.

use crate::ca::{Authority, error::AuthorityError};
use freehold_model::{Actor, IdentitySpec, Node, NodeId, NodeSpec, Revoked, Txn};
use freehold_reconcile::{StoreError, View, ViewExt as _};
use jiff::Timestamp;
use serde_json::json;

impl Authority {
    /// Revokes every identity of a node; answers how many. The node itself stays, and what runs on it.
    ///
    /// # Errors
    /// When there is no such node, or the store fails.
    pub async fn revoke(&self, actor: &Actor, request: &str, node: NodeId) -> Result<u32, AuthorityError> {
        self.commit(|view| {
            let found = view.find::<NodeSpec>(node)?;
            let found = found.ok_or_else(|| {
                freehold_model::Problem::new(
                    freehold_model::Code::NotFound,
                    format!("There is no node {node}."),
                )
                .hint("`freehold node list` shows those there are.")
            })?;
            let mut txn = Txn::new(actor.clone(), format!("revoke node {}", found.name), request);
            let revoked = revoke_into(&mut txn, view, &found, actor, self.clock.now())?;
            Ok((Some(txn).filter(|_| revoked > 0), revoked))
        })
        .await
    }
}

/// Adds to `txn` that every identity of `node` is revoked; answers how many were valid until now. A key stays
/// claimed for ever, so that nobody joins with it again: whoever deletes the node leaves its identities.
///
/// # Errors
/// When the view fails.
pub fn revoke_into(
    txn: &mut Txn,
    view: &dyn View,
    node: &Node,
    actor: &Actor,
    now: Timestamp,
) -> Result<u32, StoreError> {
    let mut revoked = 0;
    for mut identity in view.all::<IdentitySpec>(Some(node.any_id()))? {
        if identity.spec.revoked.is_some() {
            continue;
        }
        identity.spec.revoked = Some(Revoked { at: now, by: actor.clone() });
        let data = json!({ "node": node.id, "name": node.name, "key": identity.spec.key });
        txn.put_spec(&identity).event(identity.id, "identity.revoked", data);
        revoked += 1;
    }
    Ok(revoked)
}
