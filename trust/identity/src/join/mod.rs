//! How a machine becomes part of the house: its token is used up in the transaction that makes its node and
//! its identity, so that no token makes two and no identity is made without one.
//!
//! An interrupted join can be repeated: the same token with the same key answers with the same identity.
//! Whoever lost their certificate (a machine that slept past its end) asks with the key alone: it is
//! certified again, since a certificate is of no use without the key. Whoever has a real token and is refused
//! is audited; a text that is no token of ours is not, or strangers could fill the log.

pub(crate) mod refusal;
mod renew;
mod revoke;
pub(crate) mod token;
mod tokens;

#[cfg(test)]
pub(crate) mod tests;

pub use refusal::Refusal;
pub use revoke::revoke_into;

use crate::{
    JoinTokenText,
    ca::{Authority, error::AuthorityError, find, request::Proved},
};
use freehold_model::{
    Actor, AnyId, Device, DeviceId, DeviceSpec, Gateway, GatewayId, GatewaySpec, Identity, IdentityId,
    IdentitySpec, IdentityStatus, IssuedCertificate, JoinToken, JoinTokenSpec, KeyFingerprint, MachineKind,
    Name, Node, NodeId, NodeSpec, Txn, UsedToken,
    join::{JoinRequest, Joined, MachineCertificate, PROTOCOL},
};
use freehold_reconcile::{Ids as _, SystemIds, View, ViewExt as _};
use serde_json::json;

/// The scope of claims on keys: whose key it is, for ever.
pub(crate) const KEYS: &str = "machine-key";
/// How many refusals of one token are audited.
const AUDITED: u32 = 16;

/// What a join came to, before it is answered.
enum Came {
    In(Box<Joined>),
    Refused(Refusal),
}

impl Authority {
    /// Lets a machine join, or join again with the key that it has.
    ///
    /// # Errors
    /// When its token does not let it; then the refusal is in the event log.
    pub async fn join(&self, request: &str, wanted: &JoinRequest) -> Result<Joined, AuthorityError> {
        if wanted.protocol != PROTOCOL {
            return Err(Refusal::Protocol(wanted.protocol).into());
        }
        let proved = Proved::read(&wanted.csr)?;
        let token: JoinTokenText = wanted.token.expose().parse().map_err(|_| Refusal::Unknown)?;
        self.ensure().await?;
        let came = self.commit(|view| self.decide_join(view, request, wanted, &token, &proved)).await?;
        match came {
            Came::In(joined) => Ok(*joined),
            Came::Refused(refusal) => Err(refusal.into()),
        }
    }

    fn decide_join(
        &self,
        view: &dyn View,
        request: &str,
        wanted: &JoinRequest,
        text: &JoinTokenText,
        proved: &Proved,
    ) -> Result<(Option<Txn>, Came), AuthorityError> {
        let found = view.find::<JoinTokenSpec>(text.id)?.filter(|token| text.matches(&token.spec.hash));
        let Some(token) = found else { return Ok((None, Came::Refused(Refusal::Unknown))) };
        if let Some(again) = self.again(view, &token, wanted, proved)? {
            return Ok(again);
        }
        match self.refusal(view, &token, wanted, proved)? {
            Some(refusal) => Ok((audited(token, &refusal, request), Came::Refused(refusal))),
            None => self.admit(view, token, request, wanted, proved),
        }
    }

    /// Why this machine may not join with this token, if it may not.
    fn refusal(
        &self,
        view: &dyn View,
        token: &JoinToken,
        wanted: &JoinRequest,
        proved: &Proved,
    ) -> Result<Option<Refusal>, AuthorityError> {
        let spec = &token.spec;
        Ok(Some(if token.status.used.is_some() {
            Refusal::Used
        } else if spec.revoked.is_some() {
            Refusal::Revoked
        } else if spec.expires <= self.clock.now() {
            Refusal::Expired(spec.expires)
        } else if spec.machine != wanted.machine {
            Refusal::Kind { token: spec.machine, wanted: wanted.machine }
        } else if let Some(only) = spec.only.as_ref().filter(|only| **only != wanted.name) {
            Refusal::Name { only: only.clone(), wanted: wanted.name.clone() }
        } else if view.claim(KEYS, &proved.fingerprint.to_string())?.is_some() {
            Refusal::KeyTaken
        } else if is_taken(view, wanted.machine, &wanted.name)? {
            Refusal::NameTaken(wanted.machine, wanted.name.clone())
        } else {
            return Ok(None);
        }))
    }

    /// The same machine with the same token and key: its join was interrupted.
    fn again(
        &self,
        view: &dyn View,
        token: &JoinToken,
        wanted: &JoinRequest,
        proved: &Proved,
    ) -> Result<Option<(Option<Txn>, Came)>, AuthorityError> {
        let Some(used) = token.status.used.as_ref().filter(|used| used.key == proved.fingerprint) else {
            return Ok(None);
        };
        let identity = view.find::<IdentitySpec>(used.identity)?.filter(|it| it.spec.revoked.is_none());
        let (Some(identity), Some(machine)) = (identity, view.get(used.machine)?) else { return Ok(None) };
        if wanted.machine != identity.spec.machine {
            return Ok(None);
        }
        let (certificate, issued) = self.certify(view, machine.id, proved)?;
        let txn = reissued(identity, issued, "node:join");
        let name: Name = machine.name.parse().map_err(|_| Refusal::Unknown)?;
        Ok(Some((Some(txn), Came::In(Box::new(Joined { machine: machine.id, name, certificate })))))
    }

    fn admit(
        &self,
        view: &dyn View,
        mut token: JoinToken,
        request: &str,
        wanted: &JoinRequest,
        proved: &Proved,
    ) -> Result<(Option<Txn>, Came), AuthorityError> {
        let now = self.clock.now();
        let machine = AnyId { kind: wanted.machine.kind(), ulid: SystemIds.ulid() };
        let (certificate, issued) = self.certify(view, machine, proved)?;
        let key = proved.fingerprint;
        let spec = IdentitySpec { machine: wanted.machine, key, token: token.id, revoked: None };
        let id = IdentityId(SystemIds.ulid());
        let mut identity = Identity::new(id, key.to_string(), Some(machine), spec, now);
        identity.status = IdentityStatus { issued: Some(issued), used: None };
        token.status.used = Some(UsedToken { at: now, key, identity: id, machine });

        let reason = format!("{} {} joins with token {}", wanted.machine, wanted.name, token.id);
        let mut txn = Txn::new(Actor::Node(machine.to_string()), reason, request);
        put_machine(&mut txn, machine, &wanted.name, now);
        txn.put(&identity).put_status(&token).claim(KEYS, key, id);
        let data = json!({ "name": wanted.name, "identity": id, "key": key, "token": token.id });
        txn.event(machine, &format!("{}.joined", wanted.machine), data);
        let joined = Joined { machine, name: wanted.name.clone(), certificate };
        Ok((Some(txn), Came::In(Box::new(joined))))
    }

    /// A certificate of `machine` for a proved key.
    fn certify(
        &self,
        view: &dyn View,
        machine: AnyId,
        proved: &Proved,
    ) -> Result<(MachineCertificate, IssuedCertificate), AuthorityError> {
        let spec = find(view)?.ok_or(AuthorityError::Missing)?.spec;
        self.issuing(&spec)?.machine(&path(machine), &proved.key, self.clock.now())
    }
}

/// Where a machine is within the house's SPIFFE ids.
fn path(machine: AnyId) -> String {
    format!("{}/{machine}", machine.kind)
}

/// Whether a machine of that kind has the name.
fn is_taken(view: &dyn View, machine: MachineKind, name: &Name) -> Result<bool, AuthorityError> {
    Ok(match machine {
        MachineKind::Node => view.named::<NodeSpec>(None, name.as_str())?.is_some(),
        MachineKind::Gateway => view.named::<GatewaySpec>(None, name.as_str())?.is_some(),
        MachineKind::Device => view.named::<DeviceSpec>(None, name.as_str())?.is_some(),
    })
}

/// Makes the resource that the machine is.
fn put_machine(txn: &mut Txn, machine: AnyId, name: &Name, now: jiff::Timestamp) {
    let (name, ulid) = (name.as_str(), machine.ulid);
    match MachineKind::of(machine) {
        Some(MachineKind::Gateway) => {
            txn.put(&Gateway::new(GatewayId(ulid), name, None, GatewaySpec::default(), now))
        }
        Some(MachineKind::Device) => {
            txn.put(&Device::new(DeviceId(ulid), name, None, DeviceSpec::default(), now))
        }
        _ => txn.put(&Node::new(NodeId(ulid), name, None, NodeSpec::default(), now)),
    };
}

/// Notes that an identity has another certificate.
fn reissued(mut identity: Identity, issued: IssuedCertificate, request: &str) -> Txn {
    let node = identity.parent.map(|node| node.to_string()).unwrap_or_default();
    let mut txn = Txn::new(Actor::Node(node), "its next certificate", request);
    let data =
        json!({ "serial": issued.serial, "until": issued.not_after, "intermediate": issued.intermediate });
    identity.status.issued = Some(issued);
    txn.put_status(&identity).event(identity.id, "identity.certified", data);
    txn
}

/// Notes that somebody who has a token of ours was refused; not endlessly.
fn audited(mut token: JoinToken, refusal: &Refusal, request: &str) -> Option<Txn> {
    if token.status.refused >= AUDITED {
        tracing::warn!(token = %token.id, %refusal, "a join was refused");
        return None;
    }
    token.status.refused += 1;
    let mut txn = Txn::new(Actor::System, "refuse to join", request);
    let data = json!({ "reason": refusal.reason(), "message": refusal.to_string() });
    txn.put_status(&token).event(token.id, "jointoken.refused", data);
    Some(txn)
}

/// Whose key it is.
pub(crate) fn holder(view: &dyn View, key: KeyFingerprint) -> Result<Option<Identity>, AuthorityError> {
    let Some(id) = view.claim(KEYS, &key.to_string())? else { return Ok(None) };
    let Ok(id) = IdentityId::try_from(id) else { return Ok(None) };
    Ok(view.find::<IdentitySpec>(id)?)
}
