//! The house's secrets: the root key and the store, together.
//!
//! The API and the daemon hold one [`Vault`]. Everything that writes takes its turn, because a value that
//! is being sealed under a key must be stored before a rotation forgets that key. Invariants: a value in
//! clear is never part of a transaction, an event or an error; the number of a version means one value.

mod authority;
mod deliver;
mod error;
mod house;
mod issuer;
mod provider;
mod remove;
mod rotate;
mod second_factor;
mod set;
mod summary;
mod vouch;

#[cfg(test)]
mod tests;

pub use error::VaultError;
pub use issuer::signing;
pub use provider::client_secret;
pub use vouch::Voucher;

use crate::{
    Context, Key, KeyFile, KeyFileError, Plaintext,
    envelope::{OpenError, open, seal},
    pledge::{from_base64, to_base64},
};
use freehold_model::{Actor, EnvId, SecretName, SecretVersion, Txn, secrets::HouseKey};
use freehold_reconcile::{Clock, Store, View};
use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How often a change is decided again when others commit in between.
const ATTEMPTS: usize = 8;

/// The house's secrets.
pub struct Vault {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    keys: Mutex<KeyFile>,
    /// Held by whoever writes.
    turn: tokio::sync::Mutex<()>,
}

impl Vault {
    /// The vault whose root key is in the file at `path`, made at first.
    ///
    /// # Errors
    /// When the key file cannot be used.
    pub fn open(path: &Path, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Result<Vault, KeyFileError> {
        let keys = Mutex::new(KeyFile::open(path)?);
        Ok(Vault { store, clock, keys, turn: tokio::sync::Mutex::default() })
    }

    /// The key that seals for this house.
    pub fn key(&self) -> HouseKey {
        let keys = self.keys();
        HouseKey { recipient: keys.recipient().to_string(), older: keys.keys().len() as u32 - 1 }
    }

    fn keys(&self) -> MutexGuard<'_, KeyFile> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits what `decide` makes of the present state, again if somebody else was faster. `None` changes
    /// nothing.
    async fn commit<T>(
        &self,
        decide: impl Fn(&dyn View) -> Result<(Option<Txn>, T), VaultError>,
    ) -> Result<T, VaultError> {
        for _ in 0..ATTEMPTS {
            let (txn, answer) = decide(&*self.store.view().await?)?;
            let Some(txn) = txn else { return Ok(answer) };
            match self.store.commit(txn).await {
                Ok(_) => return Ok(answer),
                Err(conflict) if conflict.is_conflict() => tracing::debug!(%conflict, "deciding again"),
                Err(error) => return Err(VaultError::Commit(error)),
            }
        }
        Err(VaultError::Busy)
    }
}

/// A value as a version of a secret is stored.
fn version(
    key: &Key,
    place: (EnvId, &SecretName, u32),
    value: &Plaintext,
    created: jiff::Timestamp,
    actor: Actor,
) -> SecretVersion {
    let (env, name, number) = place;
    let context = Context::Version { env, name: name.clone(), number };
    SecretVersion {
        number,
        sealed: to_base64(&seal(&key.recipient(), &context, value)),
        key: key.recipient().to_string(),
        text: value.as_variable().is_some(),
        fingerprint: key.fingerprint(env, name, value),
        created,
        actor,
    }
}

/// The value of a stored version.
fn value(
    keys: &[Key],
    env: EnvId,
    name: &SecretName,
    version: &SecretVersion,
) -> Result<Plaintext, OpenError> {
    let context = Context::Version { env, name: name.clone(), number: version.number };
    open(keys, &context, &from_base64(&version.sealed)?)
}
