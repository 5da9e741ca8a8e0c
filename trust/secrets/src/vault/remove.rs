//! Removing versions. The secret itself stays, with the numbers that are gone: a number given twice would
//! make an old release mean another value.

use super::{
    Vault, VaultError,
    summary::{self, Uses},
};
use freehold_model::{
    Actor, AppSpec, EnvSpec, ProjectSpec, RemovedVersion, Resource, Secret, SecretId, SecretSpec, Spec, Txn,
    secrets::SecretRemoved,
};
use freehold_reconcile::{StoreError, View, ViewExt as _};
use serde_json::json;

impl Vault {
    /// Removes one version, or all. The newest that is left becomes the current one.
    ///
    /// # Errors
    /// When there is no such version, or, without `force`, when a release or an instance uses it.
    pub async fn remove(
        &self,
        actor: &Actor,
        request: &str,
        id: SecretId,
        number: Option<u32>,
        force: bool,
    ) -> Result<SecretRemoved, VaultError> {
        let _turn = self.turn.lock().await;
        self.commit(|view| self.decide_remove(view, (actor, request), id, number, force)).await
    }

    fn decide_remove(
        &self,
        view: &dyn View,
        (actor, request): (&Actor, &str),
        id: SecretId,
        number: Option<u32>,
        force: bool,
    ) -> Result<(Option<Txn>, SecretRemoved), VaultError> {
        let missing = || VaultError::NoId(id.to_string());
        let mut secret = view.find::<SecretSpec>(id)?.ok_or_else(missing)?;
        let env = parent::<EnvSpec, _>(view, &secret)?.ok_or_else(missing)?;
        let app = parent::<AppSpec, _>(view, &env)?.ok_or_else(missing)?;
        let project = parent::<ProjectSpec, _>(view, &app)?.ok_or_else(missing)?;
        let kept = secret.spec.versions.iter().map(|version| version.number);
        let going: Vec<u32> = kept.filter(|kept| number.is_none_or(|number| number == *kept)).collect();
        if let (Some(number), true) = (number, going.is_empty()) {
            return Err(VaultError::NoVersion { name: secret.name, number });
        }
        let uses = Uses::of(view, env.any_id())?;
        if !force {
            unused(&secret, &going, &uses)?;
        }
        let summary = |secret: &Secret| summary::one((&project, &app, &env), secret, &uses);
        if going.is_empty() {
            return Ok((None, SecretRemoved { secret: summary(&secret), removed: going }));
        }
        take(&mut secret.spec, &going, self.clock.now(), actor);
        let mut txn = Txn::new(actor.clone(), format!("remove secret {}", secret.name), request);
        // A deploy that pins it meanwhile writes to the env: then this is decided again.
        txn.expect(env.id, env.version).put_spec(&secret);
        let data = json!({ "name": secret.name, "versions": going, "env": env.id, "forced": force });
        txn.event(secret.id, "secret.removed", data);
        Ok((Some(txn), SecretRemoved { secret: summary(&secret), removed: going }))
    }
}

fn parent<P: Spec, S: Spec>(view: &dyn View, child: &Resource<S>) -> Result<Option<Resource<P>>, StoreError> {
    let id = child.parent.and_then(|parent| P::Id::try_from(parent).ok());
    id.map_or(Ok(None), |id| view.find::<P>(id))
}

/// Refuses if anything that runs or can be rolled back to has one of `going`.
fn unused(secret: &Secret, going: &[u32], uses: &Uses) -> Result<(), VaultError> {
    let mut found = vec![];
    for number in going {
        let releases = uses.releases(&secret.name, *number);
        if releases.is_empty() && !uses.runs(&secret.name, *number) {
            continue;
        }
        let mut by: Vec<String> = releases.iter().map(|release| format!("v{release}")).collect();
        if uses.runs(&secret.name, *number) {
            by.push("what runs".into());
        }
        found.push(format!("{} (version {number})", by.join(", ")));
    }
    if found.is_empty() {
        return Ok(());
    }
    Err(VaultError::InUse { name: secret.name.clone(), uses: found.join("; ") })
}

fn take(spec: &mut SecretSpec, going: &[u32], now: jiff::Timestamp, actor: &Actor) {
    for number in going {
        let Some(at) = spec.versions.iter().position(|version| version.number == *number) else { continue };
        let version = spec.versions.remove(at);
        spec.removed.push(RemovedVersion {
            number: version.number,
            fingerprint: version.fingerprint,
            created: version.created,
            actor: version.actor,
            removed: now,
            removed_by: actor.clone(),
        });
    }
    spec.removed.sort_by_key(|version| version.number);
    spec.current = spec.versions.last().map(|version| version.number);
}
