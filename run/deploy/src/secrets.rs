//! The versions of secrets that a release is made with.
//!
//! Used by planning and applying. A deploy pins the current version of each secret; from then on the
//! release means those, whatever is set later. Values are the vault's business alone.

use freehold_model::{
    Code, Env, Manifest, Name, PinnedSecret, Problem, ReleaseSpec, Secret, SecretName, SecretSpec,
    SecretVersion, manifest::CLIENT_SECRET,
};
use freehold_reconcile::{StoreError, View, ViewExt};
use std::collections::{BTreeMap, BTreeSet};

/// The version of each secret.
pub(crate) type Pins = BTreeMap<SecretName, u32>;

/// Stands where a secret has no version; numbers begin with 1. A plan with it is blocked.
pub(crate) const NO_VERSION: u32 = 0;

/// The current version of each secret of `manifest`. The secret of a client that has none yet is the one that
/// will be made.
pub(crate) fn pins(view: &dyn View, env: Option<&Env>, manifest: &Manifest) -> Result<Pins, StoreError> {
    let uses = manifest.process.values().flat_map(|process| &process.secrets);
    let names: BTreeSet<&SecretName> = uses.map(|secret| &secret.name).collect();
    let found = resources(view, env, names.iter().copied())?;
    let current = |name: &SecretName| {
        let secret = found.iter().find(|it| it.name == name.as_str());
        let next = || is_made(manifest, name).then(|| secret.map_or(0, |it| it.spec.last) + 1);
        secret.and_then(|it| it.spec.current).or_else(next)
    };
    Ok(names.into_iter().map(|name| (name.clone(), current(name).unwrap_or(NO_VERSION))).collect())
}

/// Whether `name` is a secret that nobody sets: deploying makes it.
fn is_made(manifest: &Manifest, name: &SecretName) -> bool {
    manifest.sign_in.is_some() && name.as_str() == CLIENT_SECRET
}

/// Whether `manifest` with `pins` needs a client secret that is still to be made.
pub(crate) fn lacks_client_secret(
    view: &dyn View,
    env: Option<&Env>,
    manifest: &Manifest,
    pins: &Pins,
) -> Result<bool, StoreError> {
    let Some((name, number)) = pins.iter().find(|(name, _)| is_made(manifest, name)) else {
        return Ok(false);
    };
    let found = resources(view, env, std::iter::once(name))?;
    Ok(found.first().is_none_or(|secret| secret.spec.last < *number))
}

/// What a release has pinned.
pub(crate) fn pinned(release: &ReleaseSpec) -> Pins {
    all(release).map(|(_, secret)| (secret.name.clone(), secret.version)).collect()
}

/// Those secrets of `env` that are there.
pub(crate) fn resources<'n>(
    view: &dyn View,
    env: Option<&Env>,
    names: impl Iterator<Item = &'n SecretName>,
) -> Result<Vec<Secret>, StoreError> {
    let Some(env) = env else { return Ok(vec![]) };
    let mut found = vec![];
    for name in names {
        found.extend(view.named::<SecretSpec>(Some(env.id.into()), name.as_str())?);
    }
    Ok(found)
}

/// A version as people are shown it.
pub(crate) fn shown(version: u32) -> String {
    if version == NO_VERSION { "missing".into() } else { format!("version {version}") }
}

/// What stops `wanted`: secrets that have no value, or one that cannot be put where it is wanted.
pub(crate) fn blockers(
    view: &dyn View,
    env: Option<&Env>,
    env_name: &Name,
    wanted: &ReleaseSpec,
) -> Result<Vec<Problem>, StoreError> {
    let pins = pinned(wanted);
    let found = resources(view, env, pins.keys())?;
    let version = |secret: &PinnedSecret| -> Option<&SecretVersion> {
        found.iter().find(|it| it.name == secret.name.as_str())?.spec.version(secret.version)
    };
    let place = format!("-a {} -e {env_name}", wanted.manifest.app);
    let mut problems: BTreeMap<(SecretName, bool), Problem> = BTreeMap::new();
    for (process, secret) in all(wanted) {
        let name = &secret.name;
        let problem = match version(secret) {
            Some(version) if secret.env.is_some() && !version.text => {
                let title = format!("{process}: secret {name} cannot be an environment variable");
                Problem::new(Code::Invalid, title)
                    .detail(format!("version {} is not text, or has a zero byte", secret.version))
                    .hint(format!("make it a file: {{ name = \"{name}\", file = \"/run/secrets/{name}\" }}"))
            }
            Some(_) => continue,
            // It is made once nothing else stops the plan.
            None if is_made(&wanted.manifest, name) && is_next(&found, secret) => continue,
            None if secret.version == NO_VERSION => {
                Problem::new(Code::Invalid, format!("{process}: secret {name} has no value"))
                    .hint(format!("`freehold secret set {name} {place}` gives it one"))
            }
            None => {
                let title = format!("{process}: version {} of secret {name} was removed", secret.version);
                Problem::new(Code::Conflict, title).hint(format!(
                    "`freehold secret history {name} {place}` says when and by whom; deploy a release that \
                     has another version"
                ))
            }
        };
        problems.entry((name.clone(), secret.env.is_some())).or_insert(problem);
    }
    Ok(problems.into_values().collect())
}

/// Whether its number is the one after the last that was ever given.
fn is_next(found: &[Secret], secret: &PinnedSecret) -> bool {
    let last = found.iter().find(|it| it.name == secret.name.as_str()).map_or(0, |it| it.spec.last);
    secret.version == last + 1
}

fn all(release: &ReleaseSpec) -> impl Iterator<Item = (&Name, &PinnedSecret)> {
    let templates = release.templates.iter();
    templates.flat_map(|(process, template)| template.secrets.iter().map(move |secret| (process, secret)))
}
