//! Getting an image ready to be mounted: its parts fetched, each of its layers unpacked once.
//!
//! Called by the agent before an instance starts. Calls for the same image, blob or layer share the work.

use crate::{
    ImageError, ImageStore, Reference, RunConfig,
    files::blocking,
    manifest::Config,
    recent::Thing,
    store::{digest_in, here},
    unpack,
};
use freehold_model::{Digest, ImageRef};
use futures::{StreamExt, TryStreamExt};
use oci_spec::image::ImageManifest;
use std::{collections::HashSet, path::PathBuf};

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

impl ImageStore {
    /// Makes sure that every part of an image is here, fetching what is not from its registry.
    ///
    /// Calls for the same image share the work. Whoever fetched something also sets the tag, so that the
    /// image is found when its registry cannot be asked.
    pub async fn ensure(&self, image: &ImageRef) -> Result<(), ImageError> {
        if self.missing(image)?.is_none() {
            return Ok(());
        }
        let _alone = self.flights().board(&format!("image {}", image.digest)).await;
        if self.missing(image)?.is_none() {
            return Ok(());
        }
        let reference: Reference = image.reference.parse()?;
        if reference.host().is_none() {
            let digest = self.missing(image)?.unwrap_or_else(|| image.digest.clone());
            return Err(if digest == image.digest {
                ImageError::Unknown(image.reference.clone())
            } else {
                ImageError::Incomplete { reference: image.reference.clone(), digest }
            });
        }
        self.fetch(&reference, image).await?;
        self.remember(&reference, &image.digest)
    }

    /// Whether an image is here, or its registry can be asked for what is not.
    ///
    /// # Errors
    /// The disk fails.
    pub fn can_be_had(&self, image: &ImageRef) -> Result<bool, ImageError> {
        let elsewhere =
            image.reference.parse::<Reference>().is_ok_and(|reference| reference.host().is_some());
        Ok(elsewhere || self.missing(image)?.is_none())
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

    async fn fetch(&self, reference: &Reference, image: &ImageRef) -> Result<(), ImageError> {
        if !self.holds(&image.digest)? {
            let (bytes, _) = self.remotes().manifest(&reference.at_digest(image.digest.clone())).await?;
            self.blobs().write(&bytes)?;
        }
        futures::stream::iter(self.parts(image)?)
            .map(|(digest, size)| async move { self.fetch_blob(reference, &digest, size).await })
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await
    }

    async fn fetch_blob(&self, reference: &Reference, digest: &Digest, size: u64) -> Result<(), ImageError> {
        let _alone = self.flights().board(&format!("blob {digest}")).await;
        if self.holds(digest)? {
            return Ok(());
        }
        self.remotes().blob(reference, digest, size, self.blobs()).await
    }

    /// Makes an image ready to be mounted: fetched, and each layer unpacked once.
    ///
    /// # Errors
    /// Everything that [`ensure`](Self::ensure) fails with; a layer that must not be unpacked; an image
    /// made for another platform.
    pub async fn prepare(&self, image: &ImageRef) -> Result<PreparedImage, ImageError> {
        self.ensure(image).await?;
        let manifest = self.image_manifest(&image.reference, &image.digest)?;
        let config = self.config(image, &manifest)?;
        config
            .runs_here()
            .map_err(|_| ImageError::Platform { reference: image.reference.clone(), platform: here() })?;
        if config.diff_ids().len() != manifest.layers().len() {
            let reason = format!(
                "it has {} layers but its config names {}",
                manifest.layers().len(),
                config.diff_ids().len()
            );
            return Err(ImageError::Manifest { digest: image.digest.clone(), reason });
        }
        let mut layers = Vec::new();
        for (descriptor, diff_id) in manifest.layers().iter().zip(config.diff_ids()) {
            layers.push((digest_in(&image.digest, descriptor)?, diff_id.clone()));
        }
        let layers = futures::stream::iter(layers)
            .map(|(blob, diff_id)| self.unpack(blob, diff_id))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(PreparedImage {
            digest: image.digest.clone(),
            layers: each_once(layers),
            config: config.run_config(),
        })
    }

    async fn unpack(&self, blob: Digest, diff_id: Digest) -> Result<PathBuf, ImageError> {
        let dir = self.layers().join(diff_id.hex());
        self.recent().touch(Thing::Layer(diff_id.clone()));
        if dir.is_dir() {
            return Ok(dir);
        }
        let alone = self.flights().board(&format!("layer {diff_id}")).await;
        let store = self.clone();
        let work = move || {
            // Held until the work is really over, even if nobody waits for it any more.
            let _alone = alone;
            if dir.is_dir() {
                return Ok(dir);
            }
            let source = store.blobs().path(&blob);
            unpack::unpack(&source, &blob, &diff_id, &dir, &store.limits())?;
            // Once more: it took a while.
            store.recent().touch(Thing::Layer(diff_id));
            Ok(dir)
        };
        blocking(work).await
    }

    fn config(&self, image: &ImageRef, manifest: &ImageManifest) -> Result<Config, ImageError> {
        let digest = digest_in(&image.digest, manifest.config())?;
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
