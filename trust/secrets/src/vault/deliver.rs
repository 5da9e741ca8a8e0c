//! Handing secrets over: opened here, and sealed again for the one node and instance that need them.

use super::{Vault, VaultError, value};
use crate::{Context, Delivered, Recipient, envelope::seal, pledge::to_base64};
use freehold_model::{EnvId, Instance, SecretSpec};
use freehold_reconcile::ViewExt as _;

impl Vault {
    /// Every secret of `instance`'s template, sealed for `node`.
    ///
    /// # Errors
    /// When a version was removed or cannot be opened, or the store fails.
    pub async fn deliver(&self, instance: &Instance, node: &Recipient) -> Result<Vec<Delivered>, VaultError> {
        let pinned = &instance.spec.template.secrets;
        let Some(env) = instance.parent.and_then(|parent| EnvId::try_from(parent).ok()) else {
            return Ok(vec![]);
        };
        let view = self.store.view().await?;
        let keys = self.keys().keys().to_vec();
        let mut delivered: Vec<Delivered> = vec![];
        for secret in pinned {
            // One secret may be a variable and a file.
            if delivered.iter().any(|it| it.name == secret.name && it.version == secret.version) {
                continue;
            }
            let (name, number) = (secret.name.clone(), secret.version);
            let gone = || VaultError::NoVersion { name: name.to_string(), number };
            let stored = view.named::<SecretSpec>(Some(env.into()), name.as_str())?.ok_or_else(gone)?;
            let version = stored.spec.version(number).ok_or_else(gone)?;
            let opened = value(&keys, env, &name, version).map_err(|source| VaultError::Stored {
                name: name.clone(),
                number,
                source,
            })?;
            let context = Context::Instance { instance: instance.id, name: name.clone(), number };
            let sealed = to_base64(&seal(node, &context, &opened));
            delivered.push(Delivered { name, version: number, sealed });
        }
        Ok(delivered)
    }
}
