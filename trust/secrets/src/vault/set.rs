//! Setting a secret: a new version, and, for a first deploy that will need it, the app and the env.

use super::{Vault, VaultError, summary, value, version};
use crate::{Context, Plaintext, envelope::open, pledge::from_armor};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use freehold_model::{
    Actor, App, AppId, AppSpec, Env, EnvId, EnvSpec, Name, Project, ProjectSpec, Resource, Secret, SecretId,
    SecretName, SecretSpec, SecretVersion, Spec, Txn,
    secrets::{MAX_VALUE, SecretSet, SecretSummary, SetSecret},
};
use freehold_reconcile::{Ids as _, StoreError, SystemIds, View, ViewExt as _};
use serde_json::json;

/// Where a secret belongs, by names.
struct Place {
    project: Name,
    app: Name,
    env: Name,
}

/// The number of versions that stay though nothing uses them, beside the current one, to go back to.
const KEPT: usize = 9;
/// The number of removed versions of which it is remembered who removed them; the event log has them all.
const REMEMBERED: usize = 100;

impl Vault {
    /// Gives a secret a new value. A value that it has already makes no new version.
    ///
    /// # Errors
    /// When the value cannot be used, or what is named is not there or on its way out.
    pub async fn set(
        &self,
        actor: &Actor,
        request: &str,
        wanted: &SetSecret,
    ) -> Result<SecretSet, VaultError> {
        let _turn = self.turn.lock().await;
        let named = |name: &Option<Name>, default: &str| {
            name.clone().unwrap_or_else(|| default.parse().expect("a name"))
        };
        let place = Place {
            project: named(&wanted.project, "default"),
            app: wanted.app.clone(),
            env: named(&wanted.env, "prod"),
        };
        let new = self.plaintext(&place, wanted)?;
        self.commit(|view| self.decide_set(view, &place, wanted, &new, (actor, request))).await
    }

    /// Every secret of an env, without values. Those whose versions were all removed are told as well.
    ///
    /// # Errors
    /// When the view fails.
    pub fn summaries(
        view: &dyn View,
        project: &Project,
        app: &App,
        env: &Env,
    ) -> Result<Vec<SecretSummary>, StoreError> {
        summary::all(view, project, app, env)
    }

    fn plaintext(&self, place: &Place, wanted: &SetSecret) -> Result<Plaintext, VaultError> {
        let plaintext = match (&wanted.value, &wanted.sealed) {
            (Some(value), None) => {
                Plaintext::new(STANDARD.decode(value.expose()).map_err(|_| VaultError::NotBase64)?)
            }
            (None, Some(sealed)) => {
                let context = Context::Git {
                    project: place.project.clone(),
                    app: place.app.clone(),
                    env: place.env.clone(),
                    name: wanted.name.clone(),
                };
                let keys = self.keys().keys().to_vec();
                let sealed = from_armor(sealed).map_err(VaultError::Sealed)?;
                open(&keys, &context, &sealed).map_err(VaultError::Sealed)?
            }
            _ => return Err(VaultError::NoValue),
        };
        match plaintext.expose().len() {
            0 => Err(VaultError::Empty),
            large if large > MAX_VALUE => Err(VaultError::TooLarge(large)),
            _ => Ok(plaintext),
        }
    }

    fn decide_set(
        &self,
        view: &dyn View,
        place: &Place,
        wanted: &SetSecret,
        new: &Plaintext,
        (actor, request): (&Actor, &str),
    ) -> Result<(Option<Txn>, SecretSet), VaultError> {
        let now = self.clock.now();
        let where_ = format!("{}/{}", place.app, place.env);
        let mut txn = Txn::new(actor.clone(), format!("set secret {} of {where_}", wanted.name), request);
        let project = project(view, &place.project)?;
        let app = view.named::<AppSpec>(Some(project.any_id()), place.app.as_str())?;
        let env = match &app {
            Some(app) => view.named::<EnvSpec>(Some(app.any_id()), place.env.as_str())?,
            None => None,
        };
        for deleting in [app.as_ref().map(|it| it.deleting), env.as_ref().map(|it| it.deleting)] {
            if deleting.flatten().is_some() {
                return Err(VaultError::Removing(where_));
            }
        }
        let secret = match &env {
            Some(env) => view.named::<SecretSpec>(Some(env.any_id()), wanted.name.as_str())?,
            None => None,
        };
        if wanted.must_exist && secret.as_ref().is_none_or(|secret| secret.spec.versions.is_empty()) {
            return Err(VaultError::NoSecret { name: wanted.name.clone(), place: where_ });
        }
        let (made_env, id) = (env.is_none(), SystemIds.ulid());
        let app = kept_or_made(&mut txn, app, || {
            App::new(AppId(SystemIds.ulid()), place.app.as_str(), Some(project.any_id()), AppSpec {}, now)
        });
        let env = kept_or_made(&mut txn, env, || {
            let id = EnvId(SystemIds.ulid());
            Env::new(id, place.env.as_str(), Some(app.any_id()), EnvSpec::default(), now)
        });
        let is_new = secret.is_none();
        let mut secret = secret.unwrap_or_else(|| {
            let parent = Some(env.any_id());
            Secret::new(SecretId(id), wanted.name.as_str(), parent, SecretSpec::default(), now)
        });
        let uses = summary::Uses::of(view, env.any_id())?;
        let answer = |secret: &Secret, version, changed| SecretSet {
            secret: summary::one((&project, &app, &env), secret, &uses),
            version,
            changed,
            made_env,
        };
        if let Some(current) = self.holds_already(env.id, &wanted.name, &secret.spec, new) {
            return Ok((None, answer(&secret, current, false)));
        }
        let number = secret.spec.last + 1;
        let key = self.keys().current().clone();
        let made = version(&key, (env.id, &wanted.name, number), new, now, actor.clone());
        (secret.spec.current, secret.spec.last) = (Some(number), number);
        secret.spec.versions.push(made);
        let in_use = |number| {
            let name = wanted.name.as_str();
            !uses.releases(name, number).is_empty() || uses.runs(name, number)
        };
        let forgotten = forget(&mut secret.spec, in_use);
        if is_new {
            txn.put(&secret)
        } else {
            txn.put_spec(&secret)
        };
        let mut data = json!({ "name": wanted.name, "version": number, "env": env.id });
        if !forgotten.is_empty() {
            data["forgotten"] = json!(forgotten);
        }
        txn.event(secret.id, "secret.set", data);
        Ok((Some(txn), answer(&secret, number, true)))
    }

    /// The number of the current version, if it holds that value.
    fn holds_already(
        &self,
        env: EnvId,
        name: &SecretName,
        spec: &SecretSpec,
        new: &Plaintext,
    ) -> Option<u32> {
        let current = spec.version(spec.current?)?;
        // One that cannot be opened is replaced by one that can.
        let old = value(self.keys().keys(), env, name, current).ok()?;
        old.is_same(new).then_some(current.number)
    }
}

/// Lets the oldest versions go that nothing uses, beyond [`KEPT`]; answers with their numbers. Each change writes the
/// whole secret: without a bound, a secret that is set every minute would grow without end.
fn forget(spec: &mut SecretSpec, in_use: impl Fn(u32) -> bool) -> Vec<u32> {
    let current = spec.current;
    let free = |it: &SecretVersion| Some(it.number) != current && !in_use(it.number);
    let spare = spec.versions.iter().filter(|it| free(it)).count().saturating_sub(KEPT);
    let going: Vec<u32> =
        spec.versions.iter().filter(|it| free(it)).take(spare).map(|it| it.number).collect();
    spec.versions.retain(|it| !going.contains(&it.number));
    let old = spec.removed.len().saturating_sub(REMEMBERED);
    spec.removed.drain(..old);
    going
}

fn project(view: &dyn View, name: &Name) -> Result<Project, VaultError> {
    // The org is not named in requests: there is one.
    let all = view.all::<ProjectSpec>(None)?;
    let found = all.into_iter().find(|project| project.name == name.as_str());
    found.ok_or_else(|| VaultError::NoProject(name.clone()))
}

/// What there is, expected to stay as it is; or a new one.
fn kept_or_made<S: Spec>(
    txn: &mut Txn,
    found: Option<Resource<S>>,
    make: impl FnOnce() -> Resource<S>,
) -> Resource<S> {
    match found {
        Some(found) => {
            txn.expect(found.id, found.version);
            found
        }
        None => {
            let made = make();
            txn.put(&made);
            made
        }
    }
}
