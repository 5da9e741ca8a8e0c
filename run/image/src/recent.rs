//! What somebody relied on lately, so that garbage collection keeps its hands off it.
//!
//! Invariant: whoever is told that a blob or a layer is here has touched it *before* looking, and
//! collection removes one only under the same lock, if nobody touched it. So either the caller sees it
//! gone and brings it anew, or it stays.

use crate::{
    ImageError, ImageStore,
    manifest::{Manifest, digest_of},
};
use freehold_model::Digest;
use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Something that can be collected.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Thing {
    /// A blob: a manifest, a config, a compressed layer.
    Blob(Digest),
    /// An unpacked layer, by its diff id.
    Layer(Digest),
}

/// When each thing was last relied on, in this process.
#[derive(Default)]
pub(crate) struct Recent(Mutex<HashMap<Thing, Instant>>);

impl Recent {
    /// Notes that somebody is about to rely on a thing, whether it is here or not.
    pub(crate) fn touch(&self, thing: Thing) {
        self.lock().insert(thing, Instant::now());
    }

    /// Does `remove` unless the thing was touched within `grace`, or since `began`.
    pub(crate) fn unless_touched<T>(
        &self,
        thing: &Thing,
        began: Instant,
        grace: Duration,
        remove: impl FnOnce() -> T,
    ) -> Option<T> {
        let touched = self.lock();
        let spared = touched.get(thing).is_some_and(|at| *at >= began || began.duration_since(*at) < grace);
        // `touched` is held until the removal is done: that is the point.
        if spared { None } else { Some(remove()) }
    }

    /// Whether a thing was touched within `grace`, or since `began`.
    pub(crate) fn touched(&self, thing: &Thing, began: Instant, grace: Duration) -> bool {
        self.unless_touched(thing, began, grace, || ()).is_none()
    }

    /// Forgets what was touched longer than `grace` ago.
    pub(crate) fn forget(&self, grace: Duration) {
        self.lock().retain(|_, at| at.elapsed() <= grace);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Thing, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ImageStore {
    /// Notes that a manifest is about to be used, and all that it names, through indexes: nothing of it is
    /// collected for a while. What is `seen` was touched before, and is passed over.
    pub(crate) fn touch_tree(&self, digest: &Digest, seen: &mut HashSet<Digest>) -> Result<(), ImageError> {
        let mut left = vec![digest.clone()];
        while let Some(digest) = left.pop() {
            if !seen.insert(digest.clone()) || !self.holds(&digest)? {
                continue;
            }
            let Ok(manifest) = self.manifest("", &digest) else { continue };
            for part in manifest.names() {
                let Ok(part_digest) = digest_of(part) else { continue };
                match manifest {
                    Manifest::Index(_) => left.push(part_digest),
                    Manifest::Image(_) => self.recent().touch(Thing::Blob(part_digest)),
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_touched_is_spared_for_the_grace_and_during_a_collection() {
        let recent = Recent::default();
        let thing = Thing::Blob(Digest::of(b"b"));
        recent.touch(thing.clone());
        let began = Instant::now();
        assert!(recent.touched(&thing, began, Duration::from_secs(60)));
        assert!(!recent.touched(&thing, began, Duration::ZERO), "before it began, and there is no grace");
        recent.touch(thing.clone());
        assert!(recent.touched(&thing, began, Duration::ZERO), "since it began");
        assert!(!recent.touched(&Thing::Layer(Digest::of(b"b")), began, Duration::ZERO));
    }

    #[test]
    fn an_index_that_is_used_touches_the_layers_of_its_manifests() {
        let dir = tempfile::tempdir().unwrap();
        let store = ImageStore::open(dir.path()).unwrap();
        let put = |text: String| store.blobs().write(text.as_bytes()).unwrap();
        let (config, layer) = (put("{}".into()), put("layer".into()));
        let part = |kind: &str, digest: &Digest| {
            format!(r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"{digest}","size":2}}"#)
        };
        let manifest = put(format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#,
            part("config.v1+json", &config),
            part("layer.v1.tar", &layer)
        ));
        let inner =
            put(format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, part("manifest.v1+json", &manifest)));
        let outer = put(format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, part("index.v1+json", &inner)));
        let began = Instant::now();
        store.touch_tree(&outer, &mut HashSet::new()).unwrap();
        for digest in [outer, inner, manifest, config, layer] {
            assert!(store.recent().touched(&Thing::Blob(digest.clone()), began, Duration::ZERO), "{digest}");
        }
    }
}
