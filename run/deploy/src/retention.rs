//! Which images must stay because a release or an instance may need them: pure.
//!
//! Called before each garbage collection of images. Releases themselves are never forgotten; but only the
//! newest [`KEPT`] of an env, and whatever runs or is rolled out, are sure to find their images here.

use freehold_model::{Digest, EnvSpec, InstanceSpec, Release, ReleaseSpec, RolloutSpec};
use freehold_reconcile::{StoreError, View, ViewExt};
use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashSet},
};

/// How many of an env's releases can be rolled back to for sure.
pub const KEPT: usize = 20;

/// The digests of every image that must not be collected.
///
/// # Errors
/// When the view fails: then nothing is known to be free.
pub fn images_in_use(view: &dyn View) -> Result<BTreeSet<Digest>, StoreError> {
    let mut wanted = HashSet::new();
    for env in view.all::<EnvSpec>(None)? {
        wanted.extend(env.spec.release);
    }
    for rollout in view.all::<RolloutSpec>(None)? {
        if !rollout.status.phase.is_final() {
            wanted.insert(rollout.spec.release);
            wanted.extend(rollout.spec.previous);
        }
    }
    let mut releases = view.all::<ReleaseSpec>(None)?;
    releases.sort_by_key(|release| (release.parent, Reverse(release.spec.number)));
    let newest = |env: &[Release]| env.iter().take(KEPT).cloned().collect::<Vec<_>>();
    let mut kept: Vec<Release> =
        releases.chunk_by(|one, next| one.parent == next.parent).flat_map(newest).collect();
    kept.extend(releases.into_iter().filter(|release| wanted.contains(&release.id)));
    let mut images: BTreeSet<Digest> = kept.iter().flat_map(of_release).collect();
    let instances = view.all::<InstanceSpec>(None)?;
    images.extend(instances.into_iter().map(|instance| instance.spec.template.image.digest));
    Ok(images)
}

fn of_release(release: &Release) -> impl Iterator<Item = Digest> + '_ {
    release.spec.templates.values().map(|template| template.image.digest.clone())
}
