//! The secrets of people's second factors, sealed at rest under the root key.

use super::{Vault, VaultError};
use crate::{
    Context, Plaintext,
    envelope::{OpenError, open, seal},
    pledge::{from_base64, to_base64},
};
use freehold_model::{Actor, Txn, User, UserId, UserSpec};
use freehold_reconcile::{View, ViewExt as _};

impl Vault {
    /// Seals what an authenticator of `user` shares with the house; answers with it and with the key's name. Whoever
    /// stores it holds [`Vault::turn`] until it is stored.
    pub fn seal_second_factor(&self, user: UserId, secret: &Plaintext) -> (String, String) {
        let recipient = self.keys().recipient();
        (to_base64(&seal(&recipient, &Context::SecondFactor { user }, secret)), recipient.to_string())
    }

    /// Opens what [`Vault::seal_second_factor`] sealed.
    ///
    /// # Errors
    /// When the root key here is another, or it was sealed for somebody else.
    pub fn open_second_factor(&self, user: UserId, sealed: &str) -> Result<Plaintext, OpenError> {
        open(self.keys().keys(), &Context::SecondFactor { user }, &from_base64(sealed)?)
    }

    /// Seals every one under the current root key; part of a rotation.
    pub(super) async fn reseal_second_factors(
        &self,
        actor: &Actor,
        request: &str,
    ) -> Result<u32, VaultError> {
        let ids: Vec<UserId> = {
            let view = self.store.view().await?;
            view.all::<UserSpec>(None)?.iter().filter(|user| self.is_old(user)).map(|user| user.id).collect()
        };
        let mut resealed = 0;
        for id in ids {
            let decide =
                |view: &dyn View| self.reseal_second_factor(view.find::<UserSpec>(id)?, actor, request);
            resealed += self.commit(decide).await?;
        }
        Ok(resealed)
    }

    fn is_old(&self, user: &User) -> bool {
        let current = self.key().recipient;
        user.spec.second_factor.as_ref().is_some_and(|factor| factor.key != current)
    }

    fn reseal_second_factor(
        &self,
        user: Option<User>,
        actor: &Actor,
        request: &str,
    ) -> Result<(Option<Txn>, u32), VaultError> {
        let Some(mut user) = user.filter(|user| self.is_old(user)) else { return Ok((None, 0)) };
        let Some(factor) = &mut user.spec.second_factor else { return Ok((None, 0)) };
        let secret = self.open_second_factor(user.id, &factor.sealed);
        let secret =
            secret.map_err(|source| VaultError::StoredSecondFactor { user: user.name.clone(), source })?;
        (factor.sealed, factor.key) = self.seal_second_factor(user.id, &secret);
        let mut txn = Txn::new(actor.clone(), "seal under the new root key", request);
        txn.put_spec(&user);
        Ok((Some(txn), 1))
    }
}
