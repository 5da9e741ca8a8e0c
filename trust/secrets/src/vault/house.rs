//! Which root key is the house's: a claim in the store, so that every control plane can tell whether it has
//! the same.
//!
//! Called by the daemon before it serves. Invariant: while several control planes work on one store, all of
//! them seal under one key; a start with another key is refused before anything is sealed under it.

use super::{Vault, VaultError};
use freehold_model::{Actor, OrgSpec, SecretSpec, Txn};
use freehold_reconcile::{StoreError, View, ViewExt as _};

/// The scope of the claim; its key is the recipient, its owner the first org.
const SCOPE: &str = "house-key";

impl Vault {
    /// The recipient of the house's root key, if there ever was one.
    ///
    /// # Errors
    /// When the view fails.
    pub fn house_key(view: &dyn View) -> Result<Option<String>, StoreError> {
        if let Some(claim) = view.claims(SCOPE)?.into_iter().next() {
            return Ok(Some(claim.key));
        }
        // Sealed before keys were claimed.
        let all = view.all::<SecretSpec>(None)?;
        Ok(all.iter().flat_map(|secret| &secret.spec.versions).map(|version| version.key.clone()).next())
    }

    /// Checks that the key file holds the house's key, which this becomes if there is none yet.
    ///
    /// # Errors
    /// [`VaultError::OtherKey`] when the house has another; or when the store fails.
    pub async fn join_house(&self) -> Result<(), VaultError> {
        self.commit(|view| {
            let keys = self.keys().keys().iter().map(|key| key.recipient().to_string()).collect::<Vec<_>>();
            match Vault::house_key(view)? {
                Some(house) if !keys.contains(&house) => Err(VaultError::OtherKey { house }),
                Some(_) => Ok((None, ())),
                None => Ok((self.claim(view)?, ())),
            }
        })
        .await
    }

    /// Makes the key that seals the house's.
    pub(super) async fn become_house_key(&self) -> Result<(), VaultError> {
        self.commit(|view| Ok((self.claim(view)?, ()))).await
    }

    /// `None` where there is no org yet to own the claim, or it is claimed already.
    fn claim(&self, view: &dyn View) -> Result<Option<Txn>, StoreError> {
        let Some(org) = view.all::<OrgSpec>(None)?.into_iter().next() else { return Ok(None) };
        let (key, claims) = (self.key().recipient, view.claims(SCOPE)?);
        if claims.iter().map(|claim| &claim.key).eq([&key]) {
            return Ok(None);
        }
        let mut txn = Txn::new(Actor::System, "the house's root key", "key");
        for old in claims.iter().filter(|claim| claim.key != key) {
            txn.release(SCOPE, &old.key);
        }
        txn.claim(SCOPE, &key, org.id);
        Ok(Some(txn))
    }
}
