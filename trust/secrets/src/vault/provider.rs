//! What proves this house to identity providers, sealed at rest under the root key.
//!
//! Sealed and opened by the API with [`Vault::seal_house`] and [`Vault::open_house`], for the purpose that
//! [`client_secret`] says; sealed anew here when the root key is replaced.

use super::{Vault, VaultError};
use freehold_model::{Actor, IdentityProviderId, IdentityProviderSpec, Txn};
use freehold_reconcile::{View, ViewExt as _};

impl Vault {
    /// Seals every client secret under the current root key; part of a rotation.
    pub(super) async fn reseal_providers(&self, actor: &Actor, request: &str) -> Result<u32, VaultError> {
        self.commit(|view| self.decide_reseal_providers(view, actor, request)).await
    }

    fn decide_reseal_providers(
        &self,
        view: &dyn View,
        actor: &Actor,
        request: &str,
    ) -> Result<(Option<Txn>, u32), VaultError> {
        let current = self.key().recipient;
        let mut txn = Txn::new(actor.clone(), "seal under the new root key", request);
        let mut resealed = 0;
        for mut provider in view.all::<IdentityProviderSpec>(None)? {
            let what = client_secret(provider.id);
            if self.reseal_house(&what, &mut provider.spec.secret, &current)? {
                txn.put_spec(&provider);
                resealed += 1;
            }
        }
        Ok((Some(txn).filter(|txn| !txn.is_empty()), resealed))
    }
}

/// The purpose for which the client secret of an identity provider is sealed.
pub fn client_secret(provider: IdentityProviderId) -> String {
    format!("client secret of {provider}")
}
