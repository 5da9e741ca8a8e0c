//! Which blobs a repository shows: an empty file `tags/<repository>/_blobs/<hex>` for each.
//!
//! Bytes are shared by all repositories; what a repository serves, mounts and lets go is decided here.
//! A link is made when a blob is uploaded or mounted, removed by DELETE or by garbage collection, and its
//! time says when it was last wanted.

use crate::{
    ImageError,
    files::{names, remove_file, within},
};
use freehold_model::Digest;
use std::{
    fs::{self, File, FileTimes},
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

const FOLDER: &str = "_blobs";

/// The folder of tags, seen as links.
#[derive(Debug, Clone)]
pub(crate) struct Links {
    dir: PathBuf,
}

impl Links {
    /// Links below `tags`, which exists.
    pub(crate) fn new(tags: &Path) -> Links {
        Links { dir: tags.to_owned() }
    }

    /// Whether `repository` shows a blob.
    pub(crate) fn has(&self, repository: &str, digest: &Digest) -> Result<bool, ImageError> {
        let path = self.path(repository, digest);
        path.try_exists().map_err(ImageError::io("read", path))
    }

    /// Makes `repository` show a blob, durably; if it does, notes that it is wanted still.
    pub(crate) fn put(&self, repository: &str, digest: &Digest) -> Result<(), ImageError> {
        let path = self.path(repository, digest);
        let make = || match File::options().write(true).create_new(true).open(&path) {
            Ok(_) => File::open(path.parent().unwrap_or(&path))?.sync_all(),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let now = FileTimes::new().set_modified(SystemTime::now());
                File::options().write(true).open(&path)?.set_times(now)
            }
            Err(e) => Err(e),
        };
        within(&self.folder(repository), || make().map_err(ImageError::io("write", &path)))
    }

    /// Makes `repository` show a blob no more; whether it did.
    pub(crate) fn remove(&self, repository: &str, digest: &Digest) -> Result<bool, ImageError> {
        let removed = remove_file(&self.path(repository, digest))?;
        let _ = fs::remove_dir(self.folder(repository));
        Ok(removed)
    }

    /// The blobs that `repository` shows, each with the time when it was last wanted.
    pub(crate) fn of(&self, repository: &str) -> Result<Vec<(Digest, SystemTime)>, ImageError> {
        let mut found = Vec::new();
        for hex in names(&self.folder(repository))? {
            let Ok(digest) = format!("sha256:{hex}").parse::<Digest>() else { continue };
            let path = self.path(repository, &digest);
            match fs::metadata(&path).and_then(|meta| meta.modified()) {
                Ok(wanted) => found.push((digest, wanted)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(ImageError::io("read", path)(e)),
            }
        }
        Ok(found)
    }

    /// Whether `repository` has ever shown a blob, as all do that were made by this version.
    pub(crate) fn any(&self, repository: &str) -> bool {
        self.folder(repository).is_dir()
    }

    /// Every repository that shows a blob, sorted.
    pub(crate) fn repositories(&self) -> Result<Vec<String>, ImageError> {
        let mut found = Vec::new();
        crate::tags::walk(&self.dir, "", FOLDER, &mut found)?;
        found.sort_unstable();
        Ok(found)
    }

    fn folder(&self, repository: &str) -> PathBuf {
        self.dir.join(repository).join(FOLDER)
    }

    fn path(&self, repository: &str, digest: &Digest) -> PathBuf {
        self.folder(repository).join(digest.hex())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_repository_shows_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let links = Links::new(dir.path());
        let blob = Digest::of(b"b");
        links.put("a", &blob).unwrap();
        links.put("a/b", &blob).unwrap();
        links.put("a/b", &blob).unwrap();
        assert_eq!(links.repositories().unwrap(), ["a", "a/b"]);
        assert!(links.remove("a", &blob).unwrap());
        assert!(!links.remove("a", &blob).unwrap());
        assert!(!links.has("a", &blob).unwrap() && links.has("a/b", &blob).unwrap());
        assert_eq!(links.of("a/b").unwrap()[0].0, blob);
    }
}
