//! What instances are made of, from a manifest and its resolved images.

use crate::error::PlanError;
use crate::secrets::{NO_VERSION, Pins};
use freehold_model::{
    ImageRef, Instance, Manifest, Mount, Name, PinnedSecret, Release, ReleaseSpec, Rules, Template,
    manifest::{Process, SecretUse},
};
use std::collections::BTreeMap;

/// By process.
pub(crate) type Templates = BTreeMap<Name, Template>;

/// The templates of every process of `manifest`.
pub(crate) fn templates(
    manifest: &Manifest,
    images: &BTreeMap<Name, ImageRef>,
    revisions: &BTreeMap<Name, u32>,
    secrets: &Pins,
) -> Result<Templates, PlanError> {
    let of_one = |(name, process): (&Name, &Process)| {
        let image = images.get(name).ok_or_else(|| PlanError::Unresolved(name.clone()))?;
        let revision = revisions.get(name).copied().unwrap_or(0);
        let mounts = mounts(manifest, name);
        Ok((name.clone(), template(process, image.clone(), mounts, revision, secrets)))
    };
    manifest.process.iter().map(of_one).collect()
}

fn mounts(manifest: &Manifest, process: &Name) -> Vec<Mount> {
    let of_it = manifest.volume.iter().filter(|volume| volume.process == *process);
    of_it.map(|volume| Mount { volume: volume.name.clone(), path: volume.path.clone() }).collect()
}

fn template(
    process: &Process,
    image: ImageRef,
    mounts: Vec<Mount>,
    revision: u32,
    secrets: &Pins,
) -> Template {
    let pinned = |it: &SecretUse| PinnedSecret {
        name: it.name.clone(),
        version: secrets.get(&it.name).copied().unwrap_or(NO_VERSION),
        env: it.env.clone(),
        file: it.file.clone(),
    };
    Template {
        image,
        driver: process.driver,
        command: process.command.clone(),
        args: process.args.clone(),
        env: process.env.clone(),
        secrets: process.secrets.iter().map(pinned).collect(),
        cpu: process.cpu,
        memory: process.memory,
        pids: process.pids,
        disk: process.disk,
        egress: process.egress.clone(),
        check: process.check.clone(),
        stop_timeout: process.stop_timeout,
        mounts,
        rules: Rules {
            affinity: process.affinity.clone(),
            spread: process.spread.clone(),
            tolerate: process.tolerate.clone(),
        },
        revision,
    }
}

/// How often each process of `manifest` was restarted by force: what `current` says, and one more if
/// `restart` is asked for. Carried over, so that a plain deploy restarts nothing. Zeros are left out.
pub(crate) fn revisions(
    manifest: &Manifest,
    current: Option<&Release>,
    restart: bool,
) -> BTreeMap<Name, u32> {
    let before = |name: &Name| current.and_then(|release| release.spec.templates.get(name));
    let revision = |name: &Name| before(name).map_or(0, |template| template.revision + u32::from(restart));
    manifest.process.keys().map(|name| (name.clone(), revision(name))).filter(|(_, n)| *n > 0).collect()
}

/// What `process` starts after, and stops before.
pub(crate) fn after<'a>(release: &'a ReleaseSpec, process: &Name) -> &'a [Name] {
    release.manifest.process.get(process).map_or(&[], |process| &process.after)
}

/// The priority of the instances of `process`.
pub(crate) fn priority(release: &ReleaseSpec, process: &Name) -> i32 {
    release.manifest.process.get(process).map_or(0, |process| process.priority)
}

/// Whether `instance`, which is of the release's env, is made of something else than the release wants.
pub(crate) fn is_other(release: &ReleaseSpec, instance: &Instance) -> bool {
    let wanted = release.templates.get(&instance.spec.process);
    wanted.is_none_or(|template| template.hash() != instance.spec.template_hash)
}

/// How many instances of `process` a release wants.
pub(crate) fn count(release: &ReleaseSpec, process: &Name) -> u32 {
    release.manifest.process.get(process).map_or(0, |process| process.count)
}
