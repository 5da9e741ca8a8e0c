//! The private keys of the house's certificate authority, sealed like secrets under the root key.
//!
//! Called by `freehold-identity`, which stores what is sealed here. Whoever stores takes a [`Vault::turn`]
//! first and keeps it until the commit, so that no rotation forgets the root key in between.

use super::{Vault, VaultError};
use crate::{
    Context, Plaintext,
    envelope::{OpenError, open, seal},
    pledge::{from_base64, to_base64},
};
use freehold_model::{Actor, AuthoritySpec, CaCertificate, Txn};
use freehold_reconcile::{View, ViewExt as _};

impl Vault {
    /// The right to store what is sealed, until it is dropped. One caller at a time has it.
    pub async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Seals the private key of the certificate `number` of `house`: the sealed key, and the public half of
    /// the key under which it is sealed.
    pub fn seal_authority(&self, house: &str, number: u32, key: &Plaintext) -> (String, String) {
        let recipient = self.keys().recipient();
        let context = Context::Authority { house: house.to_owned(), number };
        (to_base64(&seal(&recipient, &context, key)), recipient.to_string())
    }

    /// Opens what [`Vault::seal_authority`] sealed.
    ///
    /// # Errors
    /// When the root key here is another, or it was sealed for another certificate.
    pub fn open_authority(&self, house: &str, number: u32, sealed: &str) -> Result<Plaintext, OpenError> {
        let context = Context::Authority { house: house.to_owned(), number };
        open(self.keys().keys(), &context, &from_base64(sealed)?)
    }

    /// Seals every key of the authority under the current root key; part of a rotation.
    pub(super) async fn reseal_authority(&self, actor: &Actor, request: &str) -> Result<u32, VaultError> {
        self.commit(|view| self.decide_reseal_authority(view, actor, request)).await
    }

    fn decide_reseal_authority(
        &self,
        view: &dyn View,
        actor: &Actor,
        request: &str,
    ) -> Result<(Option<Txn>, u32), VaultError> {
        let current = self.key().recipient;
        let mut txn = Txn::new(actor.clone(), "seal under the new root key", request);
        let mut resealed = 0;
        for mut authority in view.all::<AuthoritySpec>(None)? {
            let AuthoritySpec { house, roots, intermediates, .. } = &mut authority.spec;
            let before = resealed;
            for one in roots.iter_mut().chain(intermediates) {
                resealed += u32::from(self.reseal_one(house, one, &current)?);
            }
            if resealed > before {
                txn.put_spec(&authority);
            }
        }
        Ok((Some(txn).filter(|txn| !txn.is_empty()), resealed))
    }

    fn reseal_one(&self, house: &str, one: &mut CaCertificate, current: &str) -> Result<bool, VaultError> {
        let Some(sealed) = one.sealed.as_ref().filter(|_| one.key.as_deref() != Some(current)) else {
            return Ok(false);
        };
        let opened = self.open_authority(house, one.number, sealed);
        let key = opened.map_err(|source| VaultError::StoredAuthority { number: one.number, source })?;
        let (sealed, key) = self.seal_authority(house, one.number, &key);
        (one.sealed, one.key) = (Some(sealed), Some(key));
        Ok(true)
    }
}
