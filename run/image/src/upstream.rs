//! Another image store that has what is missing here: on a node, that of its control plane. And the other
//! side: what such a store offers.
//!
//! Invariant: what comes from there is what its digest says, or it is thrown away.

use crate::{
    ImageError, ImageStore,
    blobs::{Blobs, Unfinished},
    files::blocking,
    store::digest_in,
};
use async_trait::async_trait;
use bytes::Bytes;
use freehold_model::{Digest, ImageRef};
use futures::{Stream, StreamExt as _, stream::BoxStream};
use std::{io, io::SeekFrom, time::Duration};
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncSeekExt as _},
    time::sleep,
};
use tokio_util::io::ReaderStream;

/// How often a blob is asked for again when nothing more of it came.
const RETRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(250);

/// Bytes on their way.
pub type Pieces = BoxStream<'static, Result<Bytes, UpstreamError>>;

/// Where images come from that are not here.
#[async_trait]
pub trait Upstream: Send + Sync + 'static {
    /// The manifest of an image. Every part of the image can be had once this is answered.
    ///
    /// # Errors
    /// When there is none for us, or nobody answers; likewise below.
    async fn manifest(&self, image: &Digest) -> Result<Vec<u8>, UpstreamError>;

    /// A blob of an image, from a byte on.
    async fn blob(&self, image: &Digest, blob: &Digest, from: u64) -> Result<Pieces, UpstreamError>;
}

/// Why nothing came.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}")]
pub struct UpstreamError {
    /// It will not come later either.
    pub is_final: bool,
    /// What happened.
    pub reason: String,
}

impl UpstreamError {
    /// Of another store of the house.
    pub(crate) fn of_house(self, reference: &str) -> ImageError {
        let (registry, reference, reason) = ("of the house".into(), reference.to_owned(), self.reason);
        match self.is_final {
            true => ImageError::Unknown(reference),
            false => ImageError::Remote { registry, reference, reason },
        }
    }

    fn of(self, reference: &str) -> ImageError {
        let (registry, reference, reason) = ("of the control plane".into(), reference.into(), self.reason);
        match self.is_final {
            true => ImageError::RemoteUnknown { registry, reference, reason },
            false => ImageError::Remote { registry, reference, reason },
        }
    }
}

/// Fetches the manifest of an image.
pub(crate) async fn manifest(
    upstream: &dyn Upstream,
    image: &ImageRef,
    blobs: &Blobs,
) -> Result<(), ImageError> {
    let bytes = upstream.manifest(&image.digest).await.map_err(|error| error.of(&image.reference))?;
    let found = Digest::of(&bytes);
    if found != image.digest {
        let (what, expected) = (format!("the manifest of {}", image.reference), image.digest.clone());
        return Err(ImageError::Digest { what, expected, found });
    }
    blobs.write(&bytes).map(drop)
}

/// Fetches a blob of an image, beginning again where a broken connection left it.
pub(crate) async fn blob(
    upstream: &dyn Upstream,
    image: &ImageRef,
    digest: &Digest,
    size: u64,
    blobs: &Blobs,
) -> Result<(), ImageError> {
    let mut blob = blobs.begin().await?;
    let mut failures = 0;
    while blob.length() < size {
        let before = blob.length();
        match rest(upstream, image, digest, size, &mut blob).await? {
            Ok(()) => {}
            Err(error) => {
                failures = if blob.length() > before { 1 } else { failures + 1 };
                if error.is_final || failures > RETRIES {
                    return Err(error.of(&image.reference));
                }
                tracing::debug!(%error, %digest, at = blob.length(), "resuming a download");
                sleep(PAUSE * failures * failures).await;
            }
        }
    }
    blobs.finish(blob, digest, &format!("a part of {}", image.reference)).await
}

/// Appends what the blob lacks: the outer error is of this side.
async fn rest(
    upstream: &dyn Upstream,
    image: &ImageRef,
    digest: &Digest,
    size: u64,
    blob: &mut Unfinished,
) -> Result<Result<(), UpstreamError>, ImageError> {
    let mut pieces = match upstream.blob(&image.digest, digest, blob.length()).await {
        Ok(pieces) => pieces,
        Err(error) => return Ok(Err(error)),
    };
    while let Some(piece) = pieces.next().await {
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => return Ok(Err(error)),
        };
        if blob.length() + piece.len() as u64 > size {
            let reason = format!("{digest} is longer than its {size} bytes");
            return Ok(Err(UpstreamError { is_final: true, reason }));
        }
        blob.write(&piece).await?;
    }
    let short = || UpstreamError { is_final: false, reason: format!("{digest} ended early") };
    Ok(if blob.length() < size { Err(short()) } else { Ok(()) })
}

impl ImageStore {
    /// The manifest of an image, for a store whose upstream this is.
    ///
    /// # Errors
    /// When it is not here.
    pub fn offer_manifest(&self, image: &ImageRef) -> Result<Vec<u8>, ImageError> {
        self.part(&image.reference, &image.digest)
    }

    /// A blob of an image, from a byte on.
    ///
    /// # Errors
    /// When it is no part of that image, or not here.
    pub async fn offer_blob(
        &self,
        image: &ImageRef,
        blob: &Digest,
        from: u64,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, ImageError> {
        let (store, wanted, asked) = (self.clone(), image.clone(), blob.clone());
        blocking(move || store.must_be_part(&wanted, &asked)).await?;
        let path = self.blobs().path(blob);
        let mut file = File::open(&path).await.map_err(ImageError::io("read", &path))?;
        file.seek(SeekFrom::Start(from)).await.map_err(ImageError::io("read", &path))?;
        Ok(ReaderStream::with_capacity(file.take(u64::MAX), 1 << 16))
    }

    /// A blob that a repository shows, from a byte on, for another store of the house.
    ///
    /// # Errors
    /// When it does not show it.
    pub async fn lend_blob(
        &self,
        repository: &str,
        blob: &Digest,
        from: u64,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, ImageError> {
        if !self.shows(repository, blob)? {
            return Err(ImageError::Unknown(format!("{repository}@{blob}")));
        }
        let path = self.blobs().path(blob);
        let mut file = File::open(&path).await.map_err(ImageError::io("read", &path))?;
        file.seek(SeekFrom::Start(from)).await.map_err(ImageError::io("read", &path))?;
        Ok(ReaderStream::with_capacity(file.take(u64::MAX), 1 << 16))
    }

    fn must_be_part(&self, image: &ImageRef, blob: &Digest) -> Result<(), ImageError> {
        let manifest = self.image_manifest(&image.reference, &image.digest)?;
        for part in std::iter::once(manifest.config()).chain(manifest.layers()) {
            if digest_in(&image.digest, part)? == *blob && self.holds(blob)? {
                return Ok(());
            }
        }
        Err(ImageError::Incomplete { reference: image.reference.clone(), digest: blob.clone() })
    }
}
