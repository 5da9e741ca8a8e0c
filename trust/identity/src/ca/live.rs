//! What doors know without asking the store: who is let in, and with what the control plane shows itself.
//!
//! [`Authority::run`] keeps it up to date from the event log. Invariant: a revocation is here as soon as its
//! commit is in the log of this control plane's store; what cannot be read leaves what was known.

use super::{Authority, error::AuthorityError, find};
use crate::{Peer, Presented, join::holder, tls};
use freehold_model::{
    AnyId, AuthoritySpec, DeviceSpec, GatewaySpec, Identity, IdentityId, IdentitySpec, IssuedCertificate,
    KeyFingerprint, Kind, MachineKind, NodeSpec,
};
use freehold_reconcile::{View, ViewExt as _};
use jiff::Timestamp;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// Looked at again after so long, whatever happened.
const EVERY: Duration = Duration::from_secs(60);
/// Between two attempts to read.
const PAUSE: Duration = Duration::from_secs(1);

/// What doors know.
pub struct Live {
    /// The trust domain.
    pub house: String,
    /// How TLS is spoken with machines.
    pub tls: Arc<rustls::ServerConfig>,
    pub(crate) own: Arc<tls::Own>,
    pub(crate) issuing: u32,
    machines: HashMap<KeyFingerprint, Machine>,
}

/// A machine that is let in.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) id: AnyId,
    pub(crate) identity: IdentityId,
    pub(crate) issued: Option<IssuedCertificate>,
    pub(crate) used: Option<IssuedCertificate>,
}

impl Live {
    /// Whether this machine is let in: its key is the one by which its node is known, and not revoked.
    pub fn admits(&self, peer: &Peer) -> bool {
        self.machine(peer).is_some()
    }

    pub(crate) fn machine(&self, peer: &Peer) -> Option<&Machine> {
        self.machines.get(&peer.key).filter(|machine| machine.id == peer.machine)
    }

    /// Whether `peer` should ask for another certificate before its time: the authority issues under another
    /// key by now.
    pub fn advises_renewal(&self, peer: &Peer) -> bool {
        let has = self.machine(peer).and_then(|machine| machine.used.as_ref().or(machine.issued.as_ref()));
        has.is_some_and(|has| has.intermediate != self.issuing)
    }
}

impl Authority {
    /// Keeps [`Authority::live`] up to date, and the authority in order, until `shutdown`.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut head = self.store.head();
        let mut seen = *head.borrow_and_update();
        loop {
            let wait = match self.refresh().await {
                Ok(()) => EVERY,
                Err(error) => {
                    tracing::error!(%error, "cannot read who may come in; going by what was known");
                    PAUSE
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
                () = self.news(&mut head, &mut seen) => {}
            }
        }
    }

    /// Resolves once an event concerns the authority or an identity.
    async fn news(&self, head: &mut tokio::sync::watch::Receiver<u64>, seen: &mut u64) {
        loop {
            if head.changed().await.is_err() {
                return std::future::pending().await;
            }
            let mut relevant = false;
            loop {
                let events = match self.store.view().await.and_then(|view| view.events(*seen, 256, None)) {
                    Ok(events) => events,
                    Err(freehold_reconcile::StoreError::Pruned { first }) => {
                        *seen = first - 1;
                        return;
                    }
                    // Not knowing what happened is reason enough to look.
                    Err(_) => return,
                };
                let Some(last) = events.last() else { break };
                *seen = last.seq;
                relevant |= events.iter().any(|event| match event.subject.kind {
                    Kind::Identity | Kind::Authority => true,
                    Kind::Node | Kind::Gateway | Kind::Device => !event.what.ends_with(".observed"),
                    _ => false,
                });
            }
            if relevant {
                return;
            }
        }
    }

    /// Reads the authority and everybody who may come in.
    ///
    /// # Errors
    /// When they cannot be read; then what was known stays.
    pub async fn refresh(&self) -> Result<(), AuthorityError> {
        let _turn = self.reading.lock().await;
        self.read_live().await
    }

    /// As [`Authority::refresh`], by who holds `reading`.
    async fn read_live(&self) -> Result<(), AuthorityError> {
        self.ensure().await?;
        let view = self.store.view().await?;
        let read = move || Ok::<_, AuthorityError>((find(&*view)?, machines(&*view)?));
        let read = tokio::task::spawn_blocking(read).await;
        let (authority, machines) = read.map_err(|error| AuthorityError::Tls(error.to_string()))??;
        let spec = authority.ok_or(AuthorityError::Missing)?.spec;
        if let Err(error) = self.tidy(&spec).await {
            tracing::warn!(%error, "cannot tidy the certificate authority");
        }
        let (own, tls) = self.own(&spec)?;
        let issuing = spec.intermediates.first().map_or(0, |newest| newest.number);
        self.live.send_replace(Some(Arc::new(Live { house: spec.house, tls, own, issuing, machines })));
        Ok(())
    }

    /// This control plane's certificate: the one it has, while that is good.
    fn own(
        &self,
        spec: &AuthoritySpec,
    ) -> Result<(Arc<tls::Own>, Arc<rustls::ServerConfig>), AuthorityError> {
        let issuing = self.issuing(spec)?;
        let now = self.clock.now();
        let known = self.live.borrow().clone();
        let good = |known: &Arc<Live>| {
            known.issuing == issuing.number && known.own.roots == issuing.roots && known.own.is_good(now)
        };
        if let Some(known) = known.filter(good) {
            return Ok((known.own.clone(), known.tls.clone()));
        }
        let own = Arc::new(issuing.control(spec, now)?);
        let tls = tls::server(&own).map_err(|error| AuthorityError::Tls(error.to_string()))?;
        Ok((own, Arc::new(tls)))
    }

    /// How this control plane speaks to the doors of others of its house.
    ///
    /// # Errors
    /// When its certificate cannot be made.
    pub async fn client(&self) -> Result<rustls::ClientConfig, AuthorityError> {
        let now = self.clock.now();
        // Without a door nobody else keeps it good.
        if !self.live.borrow().as_ref().is_some_and(|live| live.own.is_good(now)) {
            self.refresh().await?;
        }
        let own = self.live.borrow().as_ref().map(|live| live.own.clone()).ok_or(AuthorityError::Missing)?;
        let speaks =
            tls::Credentials::of_control(&own).map_err(|error| AuthorityError::Tls(error.to_string()))?;
        Ok(tls::member(tls::Current::new(move || speaks.clone())))
    }

    /// Whether this machine is let in, as the store has it now: for one that is not known here, because it has
    /// joined a moment ago. Who is let in is known here from then on.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn admits_now(&self, peer: &Peer) -> Result<bool, AuthorityError> {
        let identity = holder(&*self.store.view().await?, peer.key)?;
        let parent = Some(peer.machine);
        let valid = identity.is_some_and(|it| it.parent == parent && it.spec.revoked.is_none());
        if !valid {
            return Ok(false);
        }
        let admits = || self.live.borrow().as_ref().is_some_and(|live| live.admits(peer));
        let _turn = self.reading.lock().await;
        // Many join at once: who waited may find it read.
        if !admits() {
            self.read_live().await?;
        }
        Ok(admits())
    }

    /// Notes that a machine uses a certificate, so that what it does not need any more can go. Called once
    /// for each connection, after its handshake.
    ///
    /// # Errors
    /// When it cannot be noted.
    pub async fn seen(&self, presented: &Presented) -> Result<(), AuthorityError> {
        let live = self.live.borrow().clone();
        let Some(machine) = live.as_ref().and_then(|live| live.machine(&presented.peer)) else {
            return Ok(());
        };
        let is_new = |issued: &IssuedCertificate| issued.serial == presented.serial;
        let known = machine.used.as_ref().is_some_and(is_new);
        if known || !machine.issued.as_ref().is_some_and(is_new) {
            return Ok(());
        }
        let id = machine.identity;
        self.commit(|view| {
            let Some(mut identity) = view.find::<IdentitySpec>(id)? else { return Ok((None, ())) };
            if !identity.status.issued.as_ref().is_some_and(is_new) {
                return Ok((None, ()));
            }
            identity.status.used = identity.status.issued.clone();
            let actor = freehold_model::Actor::Node(presented.peer.machine.to_string());
            let mut txn = freehold_model::Txn::new(actor, "uses its certificate", "node door");
            txn.put_status(&identity);
            Ok((Some(txn), ()))
        })
        .await
    }
}

/// Everybody who is let in: identities that are not revoked, of machines that exist.
fn machines(view: &dyn View) -> Result<HashMap<KeyFingerprint, Machine>, AuthorityError> {
    let nodes = view.all::<NodeSpec>(None)?.into_iter().map(|node| node.any_id());
    let gateways = view.all::<GatewaySpec>(None)?.into_iter().map(|gateway| gateway.any_id());
    let devices = view.all::<DeviceSpec>(None)?.into_iter().map(|device| device.any_id());
    let known: HashSet<AnyId> = nodes.chain(gateways).chain(devices).collect();
    let identities = view.all::<IdentitySpec>(None)?;
    Ok(identities.into_iter().filter_map(|identity| admitted(identity, &known)).collect())
}

fn admitted(identity: Identity, known: &HashSet<AnyId>) -> Option<(KeyFingerprint, Machine)> {
    let Identity { id: identity, parent, spec, status, .. } = identity;
    let id = parent.filter(|parent| known.contains(parent))?;
    if spec.revoked.is_some() || MachineKind::of(id) != Some(spec.machine) {
        return None;
    }
    Some((spec.key, Machine { id, identity, issued: status.issued, used: status.used }))
}

impl tls::Own {
    fn is_good(&self, now: Timestamp) -> bool {
        now < self.renew_at
    }
}
