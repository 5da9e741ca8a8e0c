//! Whether an image can run here, seen when a deploy is planned and not at its first start.

use crate::{
    ImageError, ImageStore, Reference,
    manifest::{Config, MANIFEST_LIMIT},
    store::{digest_in, here},
};
use freehold_model::Digest;

impl ImageStore {
    /// Refuses an image whose config says that it was made for another platform, or that cannot be read. What
    /// cannot be fetched now is seen when the image is prepared.
    pub(crate) async fn must_run_here(
        &self,
        reference: &Reference,
        image: &Digest,
    ) -> Result<(), ImageError> {
        let text = reference.to_string();
        let manifest = self.image_manifest(&text, image)?;
        let (config, size) = (digest_in(image, manifest.config())?, manifest.config().size());
        if reference.host().is_some()
            && !self.holds(&config)?
            && size <= MANIFEST_LIMIT as u64
            && let Err(error) = self.remotes().blob(reference, &config, size, self.blobs()).await
        {
            tracing::debug!(%error, reference = text, "its platform is not known yet");
        }
        let Some(bytes) = self.blobs().read_sound(&config)? else { return Ok(()) };
        let made_for = Config::parse(&config, &bytes)?.runs_here().err();
        match made_for {
            None => Ok(()),
            made_for => Err(ImageError::Platform { reference: text, platform: here(), made_for }),
        }
    }
}
