//! Rotating the root key: a new one is added, every version is sealed again under it, then the old one is
//! forgotten.
//!
//! Each step is durable before the next begins, and each can be repeated: a crash leaves both keys in the
//! file and some versions under either, and the next start goes on from there.

use super::{Vault, VaultError, value, version};
use freehold_model::{
    Actor, EnvId, OrgSpec, Secret, SecretId, SecretName, SecretSpec, Txn, secrets::RotatedKey,
};
use freehold_reconcile::{View, ViewExt as _};
use serde_json::json;

impl Vault {
    /// Replaces the root key. A rotation that was interrupted is ended first.
    ///
    /// # Errors
    /// When a version cannot be opened (then the old key is kept), or the file or the store cannot be
    /// written to. Either way every version can still be opened, and repeating it goes on.
    pub async fn rotate_key(&self, actor: &Actor, request: &str) -> Result<RotatedKey, VaultError> {
        let _turn = self.turn.lock().await;
        let mut resealed = 0;
        if self.key().older > 0 {
            resealed += self.end_rotation(actor, request).await?;
        }
        self.keys().add()?;
        resealed += self.end_rotation(actor, request).await?;
        Ok(RotatedKey { key: self.key(), resealed })
    }

    /// Ends a rotation that was interrupted; says how many versions that took. Called at each start.
    ///
    /// # Errors
    /// As [`Vault::rotate_key`].
    pub async fn resume_rotation(&self) -> Result<u32, VaultError> {
        let _turn = self.turn.lock().await;
        if self.key().older == 0 {
            return Ok(0);
        }
        self.end_rotation(&Actor::System, "start").await
    }

    async fn end_rotation(&self, actor: &Actor, request: &str) -> Result<u32, VaultError> {
        let mut resealed = 0;
        for id in self.under_older_keys().await? {
            let decide = |view: &dyn View| self.reseal(view.find::<SecretSpec>(id)?, actor, request);
            resealed += self.commit(decide).await?;
        }
        resealed += self.reseal_authority(actor, request).await?;
        resealed += self.reseal_issuer(actor, request).await?;
        resealed += self.reseal_providers(actor, request).await?;
        resealed += self.reseal_second_factors(actor, request).await?;
        // Nobody else had a turn, so this is a defect; forgetting the key would make it a loss.
        if !self.under_older_keys().await?.is_empty() {
            return Err(VaultError::Busy);
        }
        self.become_house_key().await?;
        let org = self.store.view().await?.all::<OrgSpec>(None)?.into_iter().next();
        // After this nothing can be opened with the older keys: there is nothing left that would need it.
        self.keys().forget_older()?;
        let recipient = self.key().recipient;
        if let Some(org) = org {
            let mut txn = Txn::new(actor.clone(), "rotate the root key", request);
            txn.event(org.id, "key.rotated", json!({ "key": recipient, "resealed": resealed }));
            self.store.commit(txn).await.map_err(VaultError::Commit)?;
        }
        Ok(resealed)
    }

    /// The secrets of which some version is not under the current key.
    async fn under_older_keys(&self) -> Result<Vec<SecretId>, VaultError> {
        let recipient = self.key().recipient;
        let old = |secret: &&Secret| secret.spec.versions.iter().any(|it| it.key != recipient);
        let all = self.store.view().await?.all::<SecretSpec>(None)?;
        Ok(all.iter().filter(old).map(|secret| secret.id).collect())
    }

    /// The transaction that seals every version of one secret under the current key.
    fn reseal(
        &self,
        secret: Option<Secret>,
        actor: &Actor,
        request: &str,
    ) -> Result<(Option<Txn>, u32), VaultError> {
        let Some(mut secret) = secret else { return Ok((None, 0)) };
        let Some((env, name)) = place(&secret) else { return Ok((None, 0)) };
        let keys = self.keys().keys().to_vec();
        let (current, recipient) = (&keys[0], keys[0].recipient().to_string());
        let mut resealed = 0;
        for one in secret.spec.versions.iter_mut().filter(|it| it.key != recipient) {
            let opened = value(&keys, env, &name, one).map_err(|source| VaultError::Stored {
                name: name.clone(),
                number: one.number,
                source,
            })?;
            *one = version(current, (env, &name, one.number), &opened, one.created, one.actor.clone());
            resealed += 1;
        }
        let mut txn = Txn::new(actor.clone(), "seal under the new root key", request);
        txn.put_spec(&secret);
        Ok((Some(txn).filter(|_| resealed > 0), resealed))
    }
}

fn place(secret: &Secret) -> Option<(EnvId, SecretName)> {
    Some((EnvId::try_from(secret.parent?).ok()?, secret.name.parse().ok()?))
}
