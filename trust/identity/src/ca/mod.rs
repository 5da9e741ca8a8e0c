//! The house's certificate authority: a root, kept sealed, and an intermediate that issues.
//!
//! Every control plane has an [`Authority`] over the shared store; the private keys are in it, sealed under
//! the house's root key, so several of them issue under one root. Invariants: a private key in clear is never
//! part of a transaction, an event or an error; whatever was issued and not revoked is accepted by every
//! control plane until it expires, through every rotation.

pub(crate) mod error;
pub(crate) mod issue;
pub(crate) mod live;
pub(crate) mod request;
mod rotate;

#[cfg(test)]
mod tests;

use crate::tls;
use error::AuthorityError;
use freehold_model::{
    Actor, AuthorityId, AuthoritySpec, CaCertificate, IssuedCertificate, KeyFingerprint, Txn,
    join::MachineCertificate,
};
use freehold_reconcile::{Clock, Ids as _, Store, SystemIds, View, ViewExt as _};
use freehold_secrets::{Plaintext, Vault};
use issue::{Made, Signer, Validity, fingerprint};
use live::Live;
use rcgen::PublicKeyData;
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// The authority's name; there is one.
const NAME: &str = "house";
/// How often a change is decided again when others commit in between.
const ATTEMPTS: usize = 64;

/// The house's certificate authority.
pub struct Authority {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) vault: Arc<Vault>,
    /// What issued last, so that its key need not be opened each time.
    issuing: Mutex<Option<Arc<Issuing>>>,
    pub(crate) live: watch::Sender<Option<Arc<Live>>>,
    /// Held by who reads what is live: what was read later is never replaced by what was read before.
    pub(crate) reading: tokio::sync::Mutex<()>,
}

/// An intermediate that signs.
pub(crate) struct Issuing {
    pub(crate) house: String,
    pub(crate) number: u32,
    pub(crate) root: u32,
    signer: Signer,
    /// Its certificate, as PEM.
    certificate: String,
    /// Every trusted root, as PEM.
    pub(crate) roots: String,
}

impl Authority {
    /// The authority that is kept in `store`, its keys sealed by `vault`. Reads nothing yet.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, vault: Arc<Vault>) -> Authority {
        let live = watch::Sender::new(None);
        Authority {
            store,
            clock,
            vault,
            issuing: Mutex::default(),
            live,
            reading: tokio::sync::Mutex::default(),
        }
    }

    /// Makes root and intermediate, if there are none yet. Of several callers at once one makes them.
    ///
    /// # Errors
    /// When the store or the keys cannot be used.
    pub async fn ensure(&self) -> Result<(), AuthorityError> {
        if find(&*self.store.view().await?)?.is_some() {
            return Ok(());
        }
        let _turn = self.vault.turn().await;
        let made = self.make()?;
        self.commit(|view| {
            if find(view)?.is_some() {
                return Ok((None, ()));
            }
            let mut txn = Txn::new(Actor::System, "make the certificate authority", "start");
            txn.put(&made);
            let root = made.spec.roots[0].fingerprint;
            txn.event(made.id, "authority.made", json!({ "house": made.spec.house, "root": root }));
            Ok((Some(txn), ()))
        })
        .await
    }

    fn make(&self) -> Result<freehold_model::Authority, AuthorityError> {
        let (now, id) = (self.clock.now(), SystemIds.ulid());
        let house = format!("{}.freehold.internal", id.to_string().to_ascii_lowercase());
        let root = issue::root(&house, 1, now)?;
        let kept = self.kept(&house, (1, 1), &root, None, now);
        let root = root.signer()?;
        let intermediate = issue::intermediate(&house, 2, now, &root)?;
        let issuing = self.kept(&house, (2, 1), &intermediate, None, now);
        let spec = AuthoritySpec { house, roots: vec![kept], intermediates: vec![issuing], last: 2 };
        Ok(freehold_model::Authority::new(AuthorityId(id), NAME, None, spec, now))
    }

    /// A new certificate of the authority as it is stored: its key sealed.
    pub(crate) fn kept(
        &self,
        house: &str,
        (number, root): (u32, u32),
        made: &Made,
        cross: Option<String>,
        now: jiff::Timestamp,
    ) -> CaCertificate {
        let key = Plaintext::new(made.key.serialize_der());
        let (sealed, key) = self.vault.seal_authority(house, number, &key);
        CaCertificate {
            number,
            root,
            certificate: made.certificate.pem(),
            cross,
            fingerprint: fingerprint(&made.key),
            sealed: Some(sealed),
            key: Some(key),
            created: now,
            not_after: made.validity.not_after,
        }
    }

    /// What signs with one of the authority's certificates.
    pub(crate) fn signer(&self, house: &str, one: &CaCertificate) -> Result<Signer, AuthorityError> {
        let sealed = one.sealed.as_deref().ok_or(AuthorityError::NoKey(one.number))?;
        let opened = self.vault.open_authority(house, one.number, sealed);
        let key = opened.map_err(|source| AuthorityError::Sealed { number: one.number, source })?;
        Ok(issue::signer(&one.certificate, key.expose())?)
    }

    /// The intermediate that issues now, by `spec`.
    pub(crate) fn issuing(&self, spec: &AuthoritySpec) -> Result<Arc<Issuing>, AuthorityError> {
        let newest = spec.intermediates.first().ok_or(AuthorityError::Missing)?;
        let roots: String = spec.roots.iter().map(|root| root.certificate.as_str()).collect();
        let mut known = self.issuing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) =
            known.as_ref().filter(|known| known.number == newest.number && known.roots == roots)
        {
            return Ok(known.clone());
        }
        let issuing = Arc::new(Issuing {
            house: spec.house.clone(),
            number: newest.number,
            root: newest.root,
            signer: self.signer(&spec.house, newest)?,
            certificate: newest.certificate.clone(),
            roots,
        });
        Ok(known.insert(issuing).clone())
    }

    /// Commits what `decide` makes of the present state, again if somebody else was faster. `None` changes
    /// nothing.
    pub(crate) async fn commit<T>(
        &self,
        decide: impl Fn(&dyn View) -> Result<(Option<Txn>, T), AuthorityError>,
    ) -> Result<T, AuthorityError> {
        for _ in 0..ATTEMPTS {
            let (txn, answer) = decide(&*self.store.view().await?)?;
            let Some(txn) = txn else { return Ok(answer) };
            match self.store.commit(txn).await {
                Ok(_) => return Ok(answer),
                Err(conflict) if conflict.is_conflict() => tracing::debug!(%conflict, "deciding again"),
                Err(error) => return Err(AuthorityError::Commit(error)),
            }
        }
        Err(AuthorityError::Busy)
    }

    /// What a door needs to know, renewed by [`Authority::run`]; `None` before it ran.
    pub fn live(&self) -> watch::Receiver<Option<Arc<Live>>> {
        self.live.subscribe()
    }
}

impl Issuing {
    /// A certificate for the machine at `path` (`node/nod_…`), and what is noted of it.
    pub(crate) fn machine(
        &self,
        path: &str,
        key: &impl PublicKeyData,
        now: jiff::Timestamp,
    ) -> Result<(MachineCertificate, IssuedCertificate), AuthorityError> {
        let validity = Validity::from(now, issue::LEAF);
        let (certificate, serial) = issue::machine((&self.house, path), validity, key, &self.signer)?;
        let Validity { not_before, not_after } = validity;
        let noted =
            IssuedCertificate { serial, root: self.root, intermediate: self.number, not_before, not_after };
        let given = MachineCertificate {
            chain: certificate.pem() + &self.certificate,
            roots: self.roots.clone(),
            renew_at: issue::renew_at(now, not_after),
            not_after,
        };
        Ok((given, noted))
    }

    /// A control plane's own certificate.
    pub(crate) fn control(
        &self,
        spec: &AuthoritySpec,
        now: jiff::Timestamp,
    ) -> Result<tls::Own, AuthorityError> {
        let made = issue::control(&self.house, now, &self.signer)?;
        let renew_at = issue::renew_at(now, made.validity.not_after);
        let crosses: String = spec.roots.iter().filter_map(|root| root.cross.as_deref()).collect();
        // The roots come last: who joins knows one by its fingerprint alone.
        let chain =
            [&made.certificate.pem(), &self.certificate, &crosses, &self.roots].map(String::as_str).concat();
        Ok(tls::Own { chain, key: made.key.serialize_der(), roots: self.roots.clone(), renew_at })
    }
}

/// The authority, if it was made.
pub(crate) fn find(view: &dyn View) -> Result<Option<freehold_model::Authority>, AuthorityError> {
    Ok(view.named::<AuthoritySpec>(None, NAME)?)
}

/// The root that new join tokens name.
pub(crate) fn newest_root(spec: &AuthoritySpec) -> Result<KeyFingerprint, AuthorityError> {
    Ok(spec.roots.first().ok_or(AuthorityError::Missing)?.fingerprint)
}
