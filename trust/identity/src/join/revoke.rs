//! Revoking: from this commit on a machine's keys are refused by every door.

use crate::ca::{Authority, error::AuthorityError};
use freehold_model::{Actor, AnyId, Code, IdentitySpec, MachineKind, Problem, Revoked, Txn};
use freehold_reconcile::{StoreError, View, ViewExt as _};
use jiff::Timestamp;
use serde_json::json;

impl Authority {
    /// Revokes every identity of a machine; answers how many. The machine itself stays, and what runs on it.
    ///
    /// # Errors
    /// When there is no such machine, or the store fails.
    pub async fn revoke(
        &self,
        actor: &Actor,
        request: &str,
        machine: impl Into<AnyId>,
    ) -> Result<u32, AuthorityError> {
        let machine = machine.into();
        self.commit(|view| {
            let name = named(view, machine)?;
            let mut txn = Txn::new(actor.clone(), format!("revoke {} {name}", machine.kind), request);
            let revoked = revoke_into(&mut txn, view, machine, &name, actor, self.clock.now())?;
            Ok((Some(txn).filter(|_| revoked > 0), revoked))
        })
        .await
    }

    /// Removes a gateway or a device, and refuses its keys in the same commit; answers how many.
    ///
    /// # Errors
    /// When there is none, or the store fails.
    pub async fn remove(&self, actor: &Actor, request: &str, machine: AnyId) -> Result<u32, AuthorityError> {
        self.commit(|view| {
            let name = named(view, machine)?;
            let mut txn = Txn::new(actor.clone(), format!("remove {} {name}", machine.kind), request);
            let revoked = revoke_into(&mut txn, view, machine, &name, actor, self.clock.now())?;
            txn.event(machine, &format!("{}.remove", machine.kind), json!({ "name": name })).delete(machine);
            Ok((Some(txn), revoked))
        })
        .await
    }
}

fn named(view: &dyn View, machine: AnyId) -> Result<String, AuthorityError> {
    let found = if MachineKind::of(machine).is_some() { view.get(machine)? } else { None };
    let missing = || {
        Problem::new(Code::NotFound, format!("There is no machine {machine}.")).hint(
            "`freehold node list`, `freehold gateway list` and `freehold device list` show those there are.",
        )
    };
    Ok(found.ok_or_else(missing)?.name)
}

/// Adds to `txn` that every identity of `machine` is revoked; answers how many were valid until now. A key stays
/// claimed for ever, so that nobody joins with it again: whoever deletes the machine leaves its identities.
///
/// # Errors
/// When the view fails.
pub fn revoke_into(
    txn: &mut Txn,
    view: &dyn View,
    machine: AnyId,
    name: &str,
    actor: &Actor,
    now: Timestamp,
) -> Result<u32, StoreError> {
    let mut revoked = 0;
    for mut identity in view.all::<IdentitySpec>(Some(machine))? {
        if identity.spec.revoked.is_some() {
            continue;
        }
        identity.spec.revoked = Some(Revoked { at: now, by: actor.clone() });
        let data = json!({ "node": machine, "name": name, "key": identity.spec.key });
        txn.put_spec(&identity).event(identity.id, "identity.revoked", data);
        revoked += 1;
    }
    Ok(revoked)
}
