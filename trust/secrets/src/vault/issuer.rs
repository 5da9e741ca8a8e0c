//! What the house keeps for signing people in to apps, sealed like secrets under the root key: the keys that sign
//! ID tokens, and the secrets by which apps prove themselves.
//!
//! Called by `freehold-identity` and the API. Whoever stores what is sealed here takes a [`Vault::turn`] first and
//! keeps it until the commit.

use super::{Vault, VaultError, summary::Uses, value};
use crate::{
    Context, Plaintext,
    envelope::{OpenError, open, seal},
    pledge::{from_base64, to_base64},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use freehold_model::{
    Actor, Env, IssuerSpec, Name, ReleaseSpec, SealedValue, SecretName, SecretSpec, Txn,
    manifest::CLIENT_SECRET,
    secrets::{Hidden, SetSecret},
};
use freehold_reconcile::{View, ViewExt as _};
use rand::Rng as _;
use sha2::{Digest as _, Sha256};

impl Vault {
    /// Seals what is the house's own, for the one purpose that `what` says.
    pub fn seal_house(&self, what: &str, plain: &Plaintext) -> SealedValue {
        let recipient = self.keys().recipient();
        let context = Context::House { what: what.to_owned() };
        SealedValue { sealed: to_base64(&seal(&recipient, &context, plain)), key: recipient.to_string() }
    }

    /// Opens what [`Vault::seal_house`] sealed.
    ///
    /// # Errors
    /// When the root key here is another, or it was sealed for another purpose.
    pub fn open_house(&self, what: &str, value: &SealedValue) -> Result<Plaintext, OpenError> {
        let context = Context::House { what: what.to_owned() };
        open(self.keys().keys(), &context, &from_base64(&value.sealed)?)
    }

    /// Makes the secret of the client that an env is, if it has none: 256 random bits.
    ///
    /// # Errors
    /// As [`Vault::set`].
    pub async fn make_client_secret(
        &self,
        actor: &Actor,
        request: &str,
        place: (&Name, &Name, &Name),
    ) -> Result<(), VaultError> {
        let (project, app, env) = place;
        let secret: [u8; 32] = rand::rng().random();
        let name: SecretName = CLIENT_SECRET.parse().map_err(|_| VaultError::NoValue)?;
        let wanted = SetSecret {
            project: Some(project.clone()),
            app: app.clone(),
            env: Some(env.clone()),
            name,
            value: Some(Hidden::new(STANDARD.encode(hex::encode(secret)))),
            sealed: None,
            must_exist: false,
        };
        self.set(actor, request, &wanted).await.map(|_| ())
    }

    /// Whether `shown` is the client secret of `env`: a version that its `release` has, or that runs. Takes the
    /// same time wherever it differs.
    ///
    /// # Errors
    /// When the view fails or a version cannot be opened.
    pub fn is_client_secret(
        &self,
        view: &dyn View,
        env: &Env,
        release: &ReleaseSpec,
        shown: &str,
    ) -> Result<bool, VaultError> {
        let Some(secret) = view.named::<SecretSpec>(Some(env.any_id()), CLIENT_SECRET)? else {
            return Ok(false);
        };
        let Ok(name) = CLIENT_SECRET.parse::<SecretName>() else { return Ok(false) };
        let uses = Uses::of(view, env.any_id())?;
        let released = |number| {
            let mut pinned = release.templates.values().flat_map(|template| &template.secrets);
            pinned.any(|it| it.name == name && it.version == number)
        };
        let (keys, shown) = (self.keys().keys().to_vec(), Sha256::digest(shown.as_bytes()));
        let mut found = false;
        for version in &secret.spec.versions {
            let number = version.number;
            if !released(number) && !uses.runs(name.as_str(), number) {
                continue;
            }
            let kept = value(&keys, env.id, &name, version).map_err(|source| VaultError::Stored {
                name: name.clone(),
                number,
                source,
            })?;
            let kept = Sha256::digest(kept.expose());
            let difference = kept.iter().zip(&shown).fold(0, |sum, (a, b)| sum | (a ^ b));
            found |= std::hint::black_box(difference) == 0;
        }
        Ok(found)
    }

    /// Seals every signing key under the current root key; part of a rotation.
    pub(super) async fn reseal_issuer(&self, actor: &Actor, request: &str) -> Result<u32, VaultError> {
        self.commit(|view| self.decide_reseal_issuer(view, actor, request)).await
    }

    fn decide_reseal_issuer(
        &self,
        view: &dyn View,
        actor: &Actor,
        request: &str,
    ) -> Result<(Option<Txn>, u32), VaultError> {
        let current = self.key().recipient;
        let mut txn = Txn::new(actor.clone(), "seal under the new root key", request);
        let mut resealed = 0;
        for mut issuer in view.all::<IssuerSpec>(None)? {
            let before = resealed;
            for key in &mut issuer.spec.keys {
                let what = signing(&key.kid);
                resealed += u32::from(self.reseal_house(&what, &mut key.sealed, &current)?);
            }
            if resealed > before {
                txn.put_spec(&issuer);
            }
        }
        Ok((Some(txn).filter(|txn| !txn.is_empty()), resealed))
    }

    pub(super) fn reseal_house(
        &self,
        what: &str,
        value: &mut Option<SealedValue>,
        current: &str,
    ) -> Result<bool, VaultError> {
        let Some(old) = value.as_ref().filter(|value| value.key != current) else { return Ok(false) };
        let what = what.to_owned();
        let plain = self
            .open_house(&what, old)
            .map_err(|source| VaultError::StoredHouse { what: what.clone(), source })?;
        *value = Some(self.seal_house(&what, &plain));
        Ok(true)
    }
}

/// The purpose for which the signing key `kid` is sealed.
pub fn signing(kid: &str) -> String {
    format!("signing key {kid}")
}
