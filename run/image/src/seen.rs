//! What each packed layer was seen to unpack to: a file `unpacks/<blob>` that holds the diff id.
//!
//! An image's config names the diff id of each layer, and unpacked layers are shared by it. Invariant: an image
//! gets a layer only if its own blob was seen to unpack to it, so that naming another's diff id gives nothing.
//! A pair never becomes wrong: both are digests.

use crate::{
    ImageError,
    files::{create_dirs, names, read_if_there, remove_file, write_atomically},
};
use freehold_model::Digest;
use std::path::{Path, PathBuf};

/// The folder of pairs.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    dir: PathBuf,
}

impl Seen {
    pub(crate) fn open(root: &Path) -> Result<Seen, ImageError> {
        Ok(Seen { dir: create_dirs(&root.join("unpacks"))? })
    }

    /// What a blob unpacks to, if that was seen.
    pub(crate) fn get(&self, blob: &Digest) -> Result<Option<Digest>, ImageError> {
        let text = read_if_there(&self.dir.join(blob.hex()))?;
        Ok(text.and_then(|text| std::str::from_utf8(&text).ok()?.parse().ok()))
    }

    /// Notes what a blob unpacks to.
    pub(crate) fn put(&self, blob: &Digest, diff_id: &Digest, scratch: &Path) -> Result<(), ImageError> {
        write_atomically(&self.dir.join(blob.hex()), scratch, diff_id.as_str().as_bytes())
    }

    /// Forgets blobs for which `is_here` says no.
    pub(crate) fn retain(
        &self,
        is_here: impl Fn(&Digest) -> Result<bool, ImageError>,
    ) -> Result<(), ImageError> {
        for hex in names(&self.dir)? {
            let blob = format!("sha256:{hex}").parse::<Digest>();
            if !matches!(blob.map(|blob| is_here(&blob)), Ok(Ok(true))) {
                remove_file(&self.dir.join(&hex))?;
            }
        }
        Ok(())
    }
}
