//! Blobs: immutable bytes under `blobs/sha256/<hex>`, each once.
//!
//! Invariant: a file in `blobs/` has the digest that is its name, because it is hashed on its way into
//! `uploads/`, made durable, and only then renamed.

use crate::{
    ImageError,
    files::{blocking, create_dirs, names, random_name, read_if_there, rename_durably},
    manifest::MANIFEST_LIMIT,
};
use freehold_model::Digest;
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use tokio::{fs::File, io::AsyncWriteExt};

/// The folder of blobs, and the folder of unfinished ones.
#[derive(Debug, Clone)]
pub(crate) struct Blobs {
    dir: PathBuf,
    uploads: PathBuf,
}

impl Blobs {
    /// Opens or creates both folders under `root`; what was unfinished is thrown away.
    pub(crate) fn open(root: &Path) -> Result<Blobs, ImageError> {
        let uploads = root.join("uploads");
        if uploads.exists() {
            freehold_tree::remove(&uploads).map_err(ImageError::io("clear", &uploads))?;
        }
        Ok(Blobs { dir: create_dirs(&root.join("blobs/sha256"))?, uploads: create_dirs(&uploads)? })
    }

    /// Where a blob is, or would be.
    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(digest.hex())
    }

    /// The folder for unfinished files, on the same file system.
    pub(crate) fn scratch(&self) -> &Path {
        &self.uploads
    }

    /// The size of a blob; `None` when it is not here.
    pub(crate) fn size(&self, digest: &Digest) -> Result<Option<u64>, ImageError> {
        let path = self.path(digest);
        match std::fs::metadata(&path) {
            Ok(meta) => Ok(Some(meta.len())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(ImageError::io("read", path)(e)),
        }
    }

    /// Whether a blob is here.
    pub(crate) fn has(&self, digest: &Digest) -> Result<bool, ImageError> {
        Ok(self.size(digest)?.is_some())
    }

    /// Every blob.
    pub(crate) fn all(&self) -> Result<Vec<Digest>, ImageError> {
        let named = names(&self.dir)?;
        Ok(named.iter().filter_map(|hex| format!("sha256:{hex}").parse().ok()).collect())
    }

    /// The whole of a small blob: a manifest or a config.
    pub(crate) fn read(&self, digest: &Digest) -> Result<Option<Vec<u8>>, ImageError> {
        read_if_there(&self.path(digest))
    }

    /// Like [`Blobs::read`], but what is too large for a manifest or a config counts as not there.
    pub(crate) fn read_small(&self, digest: &Digest) -> Result<Option<Vec<u8>>, ImageError> {
        match self.size(digest)? {
            Some(size) if size <= MANIFEST_LIMIT as u64 * 4 => self.read(digest),
            _ => Ok(None),
        }
    }

    /// Like [`Blobs::read_small`], but what the disk spoiled counts as not there.
    pub(crate) fn read_sound(&self, digest: &Digest) -> Result<Option<Vec<u8>>, ImageError> {
        Ok(self.read_small(digest)?.filter(|bytes| Digest::of(bytes) == *digest))
    }

    /// What the bytes of a blob are, when they are not what its name says.
    pub(crate) fn damage(&self, digest: &Digest) -> Result<Option<Digest>, ImageError> {
        let path = self.path(digest);
        let hash = || -> std::io::Result<Digest> {
            let (mut file, mut hasher) = (std::fs::File::open(&path)?, Sha256::new());
            let mut piece = vec![0; 1 << 17];
            loop {
                match std::io::Read::read(&mut file, &mut piece)? {
                    0 => return Ok(Digest::from_sha256(hasher.finalize().into())),
                    read => hasher.update(&piece[..read]),
                }
            }
        };
        let found = hash().map_err(ImageError::io("read", &path))?;
        Ok((found != *digest).then_some(found))
    }

    /// Stores a small blob.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<Digest, ImageError> {
        let digest = Digest::of(bytes);
        // What the disk spoiled is written again.
        if self.size(&digest)? != Some(bytes.len() as u64) || self.read(&digest)?.as_deref() != Some(bytes) {
            crate::files::write_atomically(&self.path(&digest), &self.uploads, bytes)?;
        }
        Ok(digest)
    }

    /// Removes a blob whose bytes are not what its name says, so that it can be pushed or fetched again.
    pub(crate) fn discard(&self, digest: &Digest) -> Result<(), ImageError> {
        tracing::error!(%digest, "a blob was damaged on the disk and is removed: it must be pushed or fetched again");
        crate::files::remove_file(&self.path(digest)).map(drop)
    }

    /// Begins a blob of unknown digest.
    pub(crate) async fn begin(&self) -> Result<Unfinished, ImageError> {
        let path = self.uploads.join(random_name());
        let file = File::create_new(&path).await.map_err(ImageError::io("create", &path))?;
        Ok(Unfinished { file, path, hasher: Sha256::new(), length: 0, torn: false })
    }

    /// Gives an unfinished blob its name, if its bytes are what `expected` says.
    pub(crate) async fn finish(
        &self,
        mut blob: Unfinished,
        expected: &Digest,
        what: &str,
    ) -> Result<(), ImageError> {
        if blob.torn {
            return Err(ImageError::io("write", &blob.path)(torn()));
        }
        let found = blob.digest();
        if found != *expected {
            return Err(ImageError::Digest { what: what.to_owned(), expected: expected.clone(), found });
        }
        let synced = async {
            blob.file.flush().await?;
            blob.file.sync_all().await
        };
        synced.await.map_err(ImageError::io("write", &blob.path))?;
        let (from, to) = (blob.path.clone(), self.path(expected));
        blocking(move || rename_durably(&from, &to)).await
    }
}

/// A blob on its way in. Dropping it throws it away.
#[derive(Debug)]
pub(crate) struct Unfinished {
    file: File,
    path: PathBuf,
    hasher: Sha256,
    length: u64,
    /// A write began and did not succeed: how much of it is in the file, nobody knows.
    torn: bool,
}

impl Unfinished {
    /// Appends bytes. After a failure, or when it is cancelled, the blob can only be thrown away.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        if std::mem::replace(&mut self.torn, true) {
            return Err(ImageError::io("write", &self.path)(torn()));
        }
        self.file.write_all(bytes).await.map_err(ImageError::io("write", &self.path))?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        self.torn = false;
        Ok(())
    }

    /// Whether a write failed or was cut, so that it can only be thrown away.
    pub(crate) fn is_torn(&self) -> bool {
        self.torn
    }

    /// How many bytes it has.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    fn digest(&self) -> Digest {
        Digest::from_sha256(self.hasher.clone().finalize().into())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Gone already when it was finished: then there is nothing to remove.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn torn() -> std::io::Error {
    std::io::Error::other("an earlier write to it failed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_blob_that_the_disk_had_no_room_for_is_never_given_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path()).unwrap();
        let mut blob = blobs.begin().await.unwrap();
        let disk =
            std::mem::replace(&mut blob.file, File::options().write(true).open("/dev/full").await.unwrap());
        // The first write is only queued; the second hears how it went.
        blob.write(b"hel").await.unwrap();
        assert!(blob.write(b"lo").await.unwrap_err().is_disk_full());
        // There is room again, and the client goes on where it thinks it was.
        blob.file = disk;
        assert!(blob.write(b"lo").await.is_err());
        assert!(blobs.finish(blob, &Digest::of(b"hello"), "it").await.is_err());
        assert!(!blobs.has(&Digest::of(b"hello")).unwrap());
    }

    #[tokio::test]
    async fn a_blob_appears_whole_and_under_its_true_name_only() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path()).unwrap();
        let mut blob = blobs.begin().await.unwrap();
        blob.write(b"hel").await.unwrap();
        blob.write(b"lo").await.unwrap();
        blobs.finish(blob, &Digest::of(b"hello"), "it").await.unwrap();
        assert_eq!(blobs.read(&Digest::of(b"hello")).unwrap().unwrap(), b"hello");

        let mut blob = blobs.begin().await.unwrap();
        blob.write(b"evil").await.unwrap();
        let error = blobs.finish(blob, &Digest::of(b"good"), "it").await.unwrap_err();
        assert!(matches!(error, ImageError::Digest { .. }), "{error}");
        assert!(!blobs.has(&Digest::of(b"good")).unwrap());
        assert_eq!(std::fs::read_dir(blobs.scratch()).unwrap().count(), 0, "nothing unfinished is left");
    }
}
