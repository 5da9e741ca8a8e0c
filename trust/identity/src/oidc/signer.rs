//! The keys that sign ID tokens: made at the first need, sealed under the root key, replaced by time and by command.
//!
//! Every control plane has a [`Signer`] over the shared store. Invariant: what a key signed can be verified by the
//! published set for [`OVERLAP`] after it signed its last, which is longer than anything that it signed counts;
//! unless somebody withdraws it.

use super::{KEY, OVERLAP, claims::TokenClaims, jwt};
use freehold_model::{
    Actor, CommitError, Issuer, IssuerId, IssuerSpec, Resource, SigningKey, Txn, oidc::SigningKeySummary,
};
use freehold_reconcile::{Clock, Ids as _, Store, StoreError, SystemIds, View, ViewExt as _};
use freehold_secrets::{OpenError, Vault, signing};
use jiff::Timestamp;
use ring::signature::EcdsaKeyPair;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};

/// The issuer's name; there is one.
const NAME: &str = "house";
/// How often a change is decided again when others commit in between.
const ATTEMPTS: usize = 16;

/// Signs what the house says of people.
pub struct Signer {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    vault: Arc<Vault>,
    /// What signed last, so that its key need not be opened each time.
    open: Mutex<Option<(String, Arc<EcdsaKeyPair>)>>,
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store took nothing.
    #[error(transparent)]
    Commit(CommitError),
    /// The key cannot be opened.
    #[error("the key that signs ID tokens cannot be opened: {0}")]
    Sealed(OpenError),
    /// A defect, or others keep changing the keys.
    #[error("there is no key to sign with")]
    NoKey,
}

impl Signer {
    /// Signs with keys that are kept in `store`, sealed by `vault`. Reads nothing yet.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, vault: Arc<Vault>) -> Signer {
        Signer { store, clock, vault, open: Mutex::default() }
    }

    /// The signed token.
    ///
    /// # Errors
    /// When the keys or the store cannot be used.
    pub async fn sign(&self, claims: &TokenClaims) -> Result<String, SignError> {
        let newest = self.keys().await?.into_iter().next().ok_or(SignError::NoKey)?;
        let pair = self.pair(&newest)?;
        jwt::sign(&pair, &newest.kid, claims).ok_or(SignError::NoKey)
    }

    /// What this house signed, whether or not it has expired.
    ///
    /// # Errors
    /// As [`Signer::sign`].
    pub async fn verify(&self, token: &str) -> Result<Option<TokenClaims>, SignError> {
        Ok(jwt::verify(&self.keys().await?, token))
    }

    /// The published set (RFC 7517, 5).
    ///
    /// # Errors
    /// As [`Signer::sign`].
    pub async fn jwks(&self) -> Result<Value, SignError> {
        let one = |key: &SigningKey| {
            json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": jwt::ALGORITHM,
                "kid": key.kid, "x": key.x, "y": key.y })
        };
        Ok(json!({ "keys": self.keys().await?.iter().map(one).collect::<Vec<_>>() }))
    }

    /// Those that are published, for people.
    ///
    /// # Errors
    /// As [`Signer::sign`].
    pub async fn summaries(&self) -> Result<Vec<SigningKeySummary>, SignError> {
        let one = |(at, key): (usize, SigningKey)| SigningKeySummary {
            kid: key.kid,
            signs: at == 0,
            created: key.created,
        };
        Ok(self.keys().await?.into_iter().enumerate().map(one).collect())
    }

    /// Makes a new key, which signs from now on; with `withdraw`, older ones are published no longer.
    ///
    /// # Errors
    /// As [`Signer::sign`].
    pub async fn rotate(&self, actor: &Actor, request: &str, withdraw: bool) -> Result<(), SignError> {
        self.renew(actor, request, |_| true, withdraw).await.map(|_| ())
    }

    /// Those that are published, the one that signs first; a new one when it is time.
    async fn keys(&self) -> Result<Vec<SigningKey>, SignError> {
        let now = self.clock.now();
        let found = find(&*self.store.view().await?)?;
        if let Some(issuer) = found.filter(|issuer| !is_due(&issuer.spec, now)) {
            return Ok(published(issuer.spec.keys, now));
        }
        let due = move |spec: &IssuerSpec| is_due(spec, now);
        self.renew(&Actor::System, "oidc", due, false).await.map(|keys| published(keys, now))
    }

    async fn renew(
        &self,
        actor: &Actor,
        request: &str,
        due: impl Fn(&IssuerSpec) -> bool,
        withdraw: bool,
    ) -> Result<Vec<SigningKey>, SignError> {
        // Until the commit, so that the root key under which it is sealed is not forgotten.
        let _turn = self.vault.turn().await;
        for _ in 0..ATTEMPTS {
            let now = self.clock.now();
            let found = find(&*self.store.view().await?)?;
            if let Some(there) = found.as_ref().filter(|issuer| !due(&issuer.spec)) {
                return Ok(there.spec.keys.clone());
            }
            let (private, mut key) = jwt::generate(now).ok_or(SignError::NoKey)?;
            key.sealed = Some(self.vault.seal_house(&signing(&key.kid), &private));
            let is_new = found.is_none();
            let mut issuer: Issuer = found.unwrap_or_else(|| {
                Resource::new(IssuerId(SystemIds.ulid()), NAME, None, IssuerSpec::default(), now)
            });
            let mut keys = published(std::mem::take(&mut issuer.spec.keys), now);
            if withdraw {
                keys.clear();
            }
            // They have signed their last.
            keys.iter_mut().for_each(|old| old.sealed = None);
            keys.insert(0, key);
            issuer.spec.keys = keys.clone();
            let mut txn = Txn::new(actor.clone(), "rotate the key that signs ID tokens", request);
            let data = json!({ "kid": keys[0].kid, "withdrawn": withdraw });
            if is_new {
                txn.put(&issuer)
            } else {
                txn.put_spec(&issuer)
            };
            txn.event(issuer.id, "issuer.rotated", data);
            match self.store.commit(txn).await {
                Ok(_) => return Ok(keys),
                Err(conflict) if conflict.is_conflict() => tracing::debug!(%conflict, "deciding again"),
                Err(error) => return Err(SignError::Commit(error)),
            }
        }
        Err(SignError::NoKey)
    }

    fn pair(&self, key: &SigningKey) -> Result<Arc<EcdsaKeyPair>, SignError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((kid, pair)) = open.as_ref().filter(|(kid, _)| *kid == key.kid) {
            debug_assert_eq!(*kid, key.kid);
            return Ok(pair.clone());
        }
        let sealed = key.sealed.as_ref().ok_or(SignError::NoKey)?;
        let private = self.vault.open_house(&signing(&key.kid), sealed).map_err(SignError::Sealed)?;
        let pair = Arc::new(jwt::open(&private).ok_or(SignError::NoKey)?);
        *open = Some((key.kid.clone(), pair.clone()));
        Ok(pair)
    }
}

fn find(view: &dyn View) -> Result<Option<Issuer>, StoreError> {
    view.named::<IssuerSpec>(None, NAME)
}

fn is_due(spec: &IssuerSpec, now: Timestamp) -> bool {
    spec.keys.first().is_none_or(|newest| now.duration_since(newest.created) >= KEY)
}

/// Those of `keys` that signed not too long ago. Each signed until the next newer one was made.
fn published(keys: Vec<SigningKey>, now: Timestamp) -> Vec<SigningKey> {
    let mut newer: Option<Timestamp> = None;
    let kept = keys.into_iter().filter(|key| {
        let superseded = newer.replace(key.created);
        superseded.is_none_or(|since| now.duration_since(since) < OVERLAP)
    });
    kept.collect()
}
