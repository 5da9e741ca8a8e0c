//! Secrets as they are told: names, versions, who uses them; nothing sealed and nothing in clear.

use freehold_model::{
    AnyId, App, Desired, Env, InstanceSpec, PinnedSecret, Project, ReleaseSpec, Secret, SecretSpec,
    secrets::{SecretSummary, SecretVersionSummary},
};
use freehold_reconcile::{StoreError, View, ViewExt as _};
use std::collections::{BTreeMap, BTreeSet};

/// Who uses which version of which secret in one env.
#[derive(Debug, Default)]
pub(super) struct Uses {
    releases: BTreeMap<(String, u32), BTreeSet<u32>>,
    running: BTreeSet<(String, u32)>,
}

impl Uses {
    /// Those of `env`: every release of it can be rolled back to.
    pub(super) fn of(view: &dyn View, env: AnyId) -> Result<Uses, StoreError> {
        let key = |pinned: &PinnedSecret| (pinned.name.to_string(), pinned.version);
        let mut uses = Uses::default();
        for release in view.all::<ReleaseSpec>(Some(env))? {
            for pinned in release.spec.templates.values().flat_map(|template| &template.secrets) {
                uses.releases.entry(key(pinned)).or_default().insert(release.spec.number);
            }
        }
        for instance in view.all::<InstanceSpec>(Some(env))? {
            if instance.spec.desired == Desired::Running {
                uses.running.extend(instance.spec.template.secrets.iter().map(key));
            }
        }
        Ok(uses)
    }

    /// The releases that use a version.
    pub(super) fn releases(&self, name: &str, number: u32) -> Vec<u32> {
        let key = (name.to_owned(), number);
        self.releases.get(&key).into_iter().flatten().copied().collect()
    }

    /// Whether an instance that shall run has it.
    pub(super) fn runs(&self, name: &str, number: u32) -> bool {
        self.running.contains(&(name.to_owned(), number))
    }
}

/// The secrets of an env, in order of names.
pub(super) fn all(
    view: &dyn View,
    project: &Project,
    app: &App,
    env: &Env,
) -> Result<Vec<SecretSummary>, StoreError> {
    let mut secrets = view.all::<SecretSpec>(Some(env.any_id()))?;
    let uses = if secrets.is_empty() { Uses::default() } else { Uses::of(view, env.any_id())? };
    secrets.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(secrets.iter().map(|secret| one((project, app, env), secret, &uses)).collect())
}

/// One secret.
pub(super) fn one(
    (project, app, env): (&Project, &App, &Env),
    secret: &Secret,
    uses: &Uses,
) -> SecretSummary {
    let name = &secret.name;
    let kept = secret.spec.versions.iter().map(|version| SecretVersionSummary {
        number: version.number,
        fingerprint: version.fingerprint.clone(),
        created: version.created,
        actor: version.actor.clone(),
        removed: None,
        removed_by: None,
        releases: uses.releases(name, version.number),
        runs: uses.runs(name, version.number),
    });
    let removed = secret.spec.removed.iter().map(|version| SecretVersionSummary {
        number: version.number,
        fingerprint: version.fingerprint.clone(),
        created: version.created,
        actor: version.actor.clone(),
        removed: Some(version.removed),
        removed_by: Some(version.removed_by.clone()),
        releases: uses.releases(name, version.number),
        runs: uses.runs(name, version.number),
    });
    let mut versions: Vec<SecretVersionSummary> = kept.chain(removed).collect();
    versions.sort_by_key(|version| std::cmp::Reverse(version.number));
    SecretSummary {
        id: secret.id,
        project: project.name.clone(),
        app: app.name.clone(),
        env: env.name.clone(),
        name: name.clone(),
        current: secret.spec.current,
        versions,
    }
}
