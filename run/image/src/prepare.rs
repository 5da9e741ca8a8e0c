//! Getting an image ready to be mounted: its parts fetched, each of its layers unpacked once.
//!
//! Called by the agent before an instance starts. Calls for the same image, blob or layer share the work.

use crate::{
    ImageError, ImageStore, Reference, RunConfig,
    files::blocking,
    manifest::Config,
    recent::Thing,
    store::{digest_in, here},
    unpack, upstream,
};
use freehold_model::{Digest, ImageRef};
use futures::{StreamExt, TryStreamExt};
use oci_spec::image::{Descriptor, ImageManifest};
use std::{collections::HashSet, path::PathBuf};
use tokio::sync::OwnedMutexGuard;

/// How many blobs are fetched, and how many layers unpacked, at one time.
const AT_ONCE: usize = 4;

/// An image that is ready to be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedImage {
    /// The digest of its manifest.
    pub digest: Digest,
    /// The folders of its layers, the lowest first, each once. Read-only: others share them.
    pub layers: Vec<PathBuf>,
    /// How the image says it is run.
    pub config: RunConfig,
}

/// What is fetched from where, by nobody else meanwhile.
struct Fetch {
    from: Reference,
    image: ImageRef,
    _alone: OwnedMutexGuard<()>,
}

/// A layer, packed and unpacked.
struct Layer {
    blob: Digest,
    size: u64,
    diff_id: Digest,
}

impl ImageStore {
    /// Makes sure that every part of an image is here, fetching what is not from its registry.
    ///
    /// Calls for the same image share the work. Whoever fetched something also sets the tag, so that the
    /// image is found when its registry cannot be asked.
    pub async fn ensure(&self, image: &ImageRef) -> Result<(), ImageError> {
        let Some(fetch) = self.begin_fetch(image).await? else { return Ok(()) };
        self.fetch_head(&fetch, image).await?;
        futures::stream::iter(self.parts(image)?)
            .map(|(digest, size)| self.fetch_blob(&fetch, digest, size))
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        self.remember(&fetch.from, &image.digest)
    }

    /// Where to fetch what is missing of an image; `None` when all of it is here.
    ///
    /// # Errors
    /// Something is missing and there is no other registry to ask.
    async fn begin_fetch(&self, image: &ImageRef) -> Result<Option<Fetch>, ImageError> {
        self.own_layers(image)?;
        if self.missing(image)?.is_none() {
            return Ok(None);
        }
        let alone = self.flights().board(&format!("image {}", image.digest)).await;
        let Some(missing) = self.missing(image)? else { return Ok(None) };
        let from: Reference = image.reference.parse()?;
        if from.host().is_some() || self.upstream().is_some() {
            return Ok(Some(Fetch { from, image: image.clone(), _alone: alone }));
        }
        if self.house().is_some() {
            // Those of a node that waits may not know their repository by its name alone.
            self.settle_digest(&from.name(), &image.digest).await?;
            if self.missing(image)?.is_none() {
                return Ok(None);
            }
        }
        Err(if missing == image.digest {
            ImageError::Unknown(image.reference.clone())
        } else {
            ImageError::Incomplete { reference: image.reference.clone(), digest: missing }
        })
    }

    /// Layers that carry their own addresses need not be pushed. One that is here is another repository's then,
    /// and no part of this image.
    fn own_layers(&self, image: &ImageRef) -> Result<(), ImageError> {
        let reference: Reference = image.reference.parse()?;
        if reference.host().is_some() || self.upstream().is_some() || !self.holds(&image.digest)? {
            return Ok(());
        }
        let manifest = self.image_manifest(&image.reference, &image.digest)?;
        for layer in manifest.layers().iter().filter(|layer| layer.urls().is_some()) {
            let digest = digest_in(&image.digest, layer)?;
            if !self.shows(&reference.name(), &digest)? {
                return Err(ImageError::Incomplete { reference: image.reference.clone(), digest });
            }
        }
        Ok(())
    }

    /// A part that is not here: the manifest itself, or something it needs.
    fn missing(&self, image: &ImageRef) -> Result<Option<Digest>, ImageError> {
        if !self.holds(&image.digest)? {
            return Ok(Some(image.digest.clone()));
        }
        for (digest, _) in self.parts(image)? {
            if !self.holds(&digest)? {
                return Ok(Some(digest));
            }
        }
        Ok(None)
    }

    /// The config and the layers of an image whose manifest is here, with their sizes.
    fn parts(&self, image: &ImageRef) -> Result<Vec<(Digest, u64)>, ImageError> {
        let manifest = self.image_manifest(&image.reference, &image.digest)?;
        let parts = std::iter::once(manifest.config()).chain(manifest.layers());
        parts.map(|part| Ok((digest_in(&image.digest, part)?, part.size()))).collect()
    }

    /// The manifest and the config, which say what else there is.
    async fn fetch_head(&self, fetch: &Fetch, image: &ImageRef) -> Result<(), ImageError> {
        if let (false, Some(upstream)) = (self.holds(&image.digest)?, self.upstream()) {
            upstream::manifest(upstream, image, self.blobs()).await?;
        } else if !self.holds(&image.digest)? {
            let (bytes, _) = self.remotes().manifest(&fetch.from.at_digest(image.digest.clone())).await?;
            self.blobs().write(&bytes)?;
        }
        let config = self.parts(image)?.into_iter().next();
        let (digest, size) = config.ok_or_else(|| ImageError::Unknown(image.reference.clone()))?;
        self.fetch_blob(fetch, digest, size).await
    }

    async fn fetch_blob(&self, fetch: &Fetch, digest: Digest, size: u64) -> Result<(), ImageError> {
        let _alone = self.flights().board(&format!("blob {digest}")).await;
        if self.holds(&digest)? {
            return Ok(());
        }
        match self.upstream() {
            Some(upstream) => upstream::blob(upstream, &fetch.image, &digest, size, self.blobs()).await,
            None => self.remotes().blob(&fetch.from, &digest, size, self.blobs()).await,
        }
    }

    /// Makes an image ready to be mounted: fetched, and each layer unpacked once, as soon as it is here.
    ///
    /// # Errors
    /// Everything that [`ensure`](Self::ensure) fails with; a layer that must not be unpacked; an image
    /// made for another platform.
    pub async fn prepare(&self, image: &ImageRef) -> Result<PreparedImage, ImageError> {
        let fetch = self.begin_fetch(image).await?;
        if let Some(fetch) = &fetch {
            self.fetch_head(fetch, image).await?;
        }
        let (layers, config) = self.layers_of(image)?;
        let layers = futures::stream::iter(layers)
            .map(async |layer: Layer| {
                if let Some(fetch) = &fetch {
                    self.fetch_blob(fetch, layer.blob.clone(), layer.size).await?;
                }
                self.unpack(layer.blob, layer.diff_id).await
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        if let Some(fetch) = &fetch {
            self.remember(&fetch.from, &image.digest)?;
        }
        Ok(PreparedImage {
            digest: image.digest.clone(),
            layers: each_once(layers),
            config: config.run_config(),
        })
    }

    /// The layers of an image whose manifest and config are here, the lowest first.
    fn layers_of(&self, image: &ImageRef) -> Result<(Vec<Layer>, Config), ImageError> {
        let manifest = self.image_manifest(&image.reference, &image.digest)?;
        let config = self.config(image, &manifest)?;
        config.runs_here().map_err(|made_for| ImageError::Platform {
            reference: image.reference.clone(),
            platform: here(),
            made_for: Some(made_for),
        })?;
        let (layers, diff_ids) = (manifest.layers(), config.diff_ids());
        if diff_ids.len() != layers.len() {
            let reason = format!("it has {} layers but its config names {}", layers.len(), diff_ids.len());
            return Err(ImageError::Manifest { digest: image.digest.clone(), reason });
        }
        let layer = |(part, diff_id): (&Descriptor, &Digest)| {
            let blob = digest_in(&image.digest, part)?;
            Ok(Layer { blob, size: part.size(), diff_id: diff_id.clone() })
        };
        let layers: Result<Vec<Layer>, ImageError> = layers.iter().zip(diff_ids).map(layer).collect();
        Ok((layers?, config))
    }

    async fn unpack(&self, blob: Digest, diff_id: Digest) -> Result<PathBuf, ImageError> {
        let dir = self.layers().join(diff_id.hex());
        self.recent().touch(Thing::Layer(diff_id.clone()));
        if dir.is_dir() && self.seen().get(&blob)?.as_ref() == Some(&diff_id) {
            return Ok(dir);
        }
        let alone = self.flights().board(&format!("layer {diff_id}")).await;
        let store = self.clone();
        let work = move || {
            // Held until the work is really over, even if nobody waits for it any more.
            let _alone = alone;
            let source = store.blobs().path(&blob);
            // A folder that is here was another blob's: only this blob's own bytes give the right to it.
            let done = match dir.is_dir() {
                true => unpack::check(&source, &blob, &diff_id, &store.limits()),
                false => unpack::unpack(&source, &blob, &diff_id, &dir, &store.limits()),
            };
            if let Err(error) = done {
                return Err(store.blame(&blob, error));
            }
            store.seen().put(&blob, &diff_id, store.blobs().scratch())?;
            // Once more: it took a while.
            store.recent().touch(Thing::Layer(diff_id));
            Ok(dir)
        };
        blocking(work).await
    }

    /// Why a layer could not be unpacked: because of the disk, if its blob is not what it was. Then that must
    /// not stand in the way of the right bytes.
    fn blame(&self, blob: &Digest, error: ImageError) -> ImageError {
        if error.is_disk_full() {
            return error;
        }
        let Ok(Some(found)) = self.blobs().damage(blob) else { return error };
        match self.blobs().discard(blob) {
            Err(error) => error,
            Ok(()) => {
                ImageError::Digest { what: "the blob of a layer".into(), expected: blob.clone(), found }
            }
        }
    }

    fn config(&self, image: &ImageRef, manifest: &ImageManifest) -> Result<Config, ImageError> {
        let digest = digest_in(&image.digest, manifest.config())?;
        if self.holds(&digest)? && self.blobs().damage(&digest)?.is_some() {
            self.blobs().discard(&digest)?;
        }
        Config::parse(&digest, &self.part(&image.reference, &digest)?)
    }
}

/// Drops all but the topmost of equal layers: overlayfs refuses to stack a folder twice, and what is
/// above covers what is below.
fn each_once(layers: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut seen = HashSet::new();
    let mut kept: Vec<_> = layers.into_iter().rev().filter(|layer| seen.insert(layer.clone())).collect();
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_layers_are_stacked_once_the_topmost_stays() {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(each_once(paths(&["a", "b", "a", "c"])), paths(&["b", "a", "c"]));
    }
}
