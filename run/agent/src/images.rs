//! The port to the images, so that tests need none.

use async_trait::async_trait;
use freehold_image::{ImageError, ImageStore, PreparedImage};
use freehold_model::ImageRef;

/// Makes images ready to run.
#[async_trait]
pub trait Images: Send + Sync + 'static {
    /// Fetches what is missing, unpacks what is packed.
    ///
    /// # Errors
    /// When the image does not exist, cannot be fetched or cannot be unpacked.
    async fn prepare(&self, image: &ImageRef) -> Result<PreparedImage, ImageError>;
}

#[async_trait]
impl Images for ImageStore {
    async fn prepare(&self, image: &ImageRef) -> Result<PreparedImage, ImageError> {
        ImageStore::prepare(self, image).await
    }
}
