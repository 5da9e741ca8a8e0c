//! Which manifests a repository has and what its tags mean: small JSON files under `tags/<repository>/`.
//!
//! `_manifests/<hex>` is written when a manifest is accepted, `_tags/<tag>` when a tag is set; names of
//! repositories cannot begin with `_`, so nothing collides. Each file is replaced whole.

use crate::{
    ImageError,
    files::{create_dirs, names, read_if_there, remove_file, within, write_atomically},
    reference::is_repository,
};
use freehold_model::Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::path::{Path, PathBuf};

/// A manifest as one repository has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The content type under which it was pushed.
    pub(crate) media_type: String,
    /// When.
    pub(crate) pushed: Timestamp,
    /// The manifest it is attached to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<Digest>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Tag {
    digest: Digest,
}

/// The folder of tags.
#[derive(Debug, Clone)]
pub(crate) struct Tags {
    dir: PathBuf,
    scratch: PathBuf,
}

impl Tags {
    /// Opens or creates the folder; `scratch` takes unfinished files.
    pub(crate) fn open(root: &Path, scratch: &Path) -> Result<Tags, ImageError> {
        Ok(Tags { dir: create_dirs(&root.join("tags"))?, scratch: scratch.to_owned() })
    }

    /// What `repository` knows of a manifest.
    pub(crate) fn record(&self, repository: &str, digest: &Digest) -> Result<Option<Record>, ImageError> {
        read_json(&self.records(repository).join(digest.hex()))
    }

    /// Makes a manifest part of `repository`.
    pub(crate) fn put_record(
        &self,
        repository: &str,
        digest: &Digest,
        record: &Record,
    ) -> Result<(), ImageError> {
        self.write_json(&self.records(repository), digest.hex(), record)
    }

    /// The digest a tag means.
    pub(crate) fn get(&self, repository: &str, tag: &str) -> Result<Option<Digest>, ImageError> {
        Ok(read_json::<Tag>(&self.tags_dir(repository).join(tag))?.map(|tag| tag.digest))
    }

    /// Makes a tag mean a digest.
    pub(crate) fn put(&self, repository: &str, tag: &str, digest: &Digest) -> Result<(), ImageError> {
        self.write_json(&self.tags_dir(repository), tag, &Tag { digest: digest.clone() })
    }

    /// Removes a tag; whether there was one.
    pub(crate) fn remove(&self, repository: &str, tag: &str) -> Result<bool, ImageError> {
        let removed = remove_file(&self.tags_dir(repository).join(tag))?;
        self.prune(repository);
        Ok(removed)
    }

    /// Removes a manifest from `repository`, with the tags that mean it; whether it was there.
    pub(crate) fn remove_record(&self, repository: &str, digest: &Digest) -> Result<bool, ImageError> {
        for tag in self.of(repository)? {
            if self.get(repository, &tag)?.as_ref() == Some(digest) {
                remove_file(&self.tags_dir(repository).join(&tag))?;
            }
        }
        let removed = remove_file(&self.records(repository).join(digest.hex()))?;
        self.prune(repository);
        Ok(removed)
    }

    /// The tags of a repository, sorted.
    pub(crate) fn of(&self, repository: &str) -> Result<Vec<String>, ImageError> {
        names(&self.tags_dir(repository))
    }

    /// The manifests of a repository.
    pub(crate) fn manifests(&self, repository: &str) -> Result<Vec<Digest>, ImageError> {
        let digests = names(&self.records(repository))?;
        Ok(digests.iter().filter_map(|hex| format!("sha256:{hex}").parse().ok()).collect())
    }

    /// Whether there is such a repository.
    pub(crate) fn exists(&self, repository: &str) -> bool {
        self.records(repository).is_dir()
    }

    /// Every repository, sorted.
    pub(crate) fn repositories(&self) -> Result<Vec<String>, ImageError> {
        let mut found = Vec::new();
        walk(&self.dir, "", "_manifests", &mut found)?;
        found.sort_unstable();
        Ok(found)
    }

    /// The folder of all repositories.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Removes the folders of a repository that has become empty. A folder that is not empty stays, so
    /// a push that happens at the same time loses nothing (its write makes the folder again).
    pub(crate) fn prune(&self, repository: &str) {
        let _ = std::fs::remove_dir(self.tags_dir(repository));
        let _ = std::fs::remove_dir(self.records(repository));
        let mut dir = self.dir.join(repository);
        while dir != self.dir && std::fs::remove_dir(&dir).is_ok() {
            dir.pop();
        }
    }

    fn write_json<T: Serialize>(&self, dir: &Path, name: &str, value: &T) -> Result<(), ImageError> {
        let bytes = serde_json::to_vec(value).expect("records serialise");
        within(dir, || write_atomically(&dir.join(name), &self.scratch, &bytes))
    }

    fn records(&self, repository: &str) -> PathBuf {
        self.folder(repository).join("_manifests")
    }

    fn tags_dir(&self, repository: &str) -> PathBuf {
        self.folder(repository).join("_tags")
    }

    fn folder(&self, repository: &str) -> PathBuf {
        // The name may begin with another registry's host; what follows must satisfy the grammar.
        let path = repository.split_once('/').map_or(repository, |(_, path)| path);
        debug_assert!(is_repository(path) || is_repository(repository), "{repository}");
        self.dir.join(repository)
    }
}

/// Finds the repositories below `prefix` that have a folder `mark`.
pub(crate) fn walk(dir: &Path, prefix: &str, mark: &str, found: &mut Vec<String>) -> Result<(), ImageError> {
    for name in names(&dir.join(prefix))? {
        if name == mark {
            found.push(prefix.to_owned());
        } else if !name.starts_with('_') {
            let deeper = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            walk(dir, &deeper, mark, found)?;
        }
    }
    Ok(())
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ImageError> {
    let Some(bytes) = read_if_there(path)? else { return Ok(None) };
    let value = serde_json::from_slice(&bytes);
    value.map(Some).map_err(|e| ImageError::io("read", path)(e.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_there_as_long_as_it_has_a_manifest() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = tempfile::tempdir_in(dir.path()).unwrap();
        let tags = Tags::open(dir.path(), scratch.path()).unwrap();
        let digest = Digest::of(b"m");
        let record = Record { media_type: "x".into(), pushed: Timestamp::UNIX_EPOCH, subject: None };
        for repository in ["a", "a/b", "docker.io/library/c"] {
            tags.put_record(repository, &digest, &record).unwrap();
            tags.put(repository, "1", &digest).unwrap();
        }
        assert_eq!(tags.repositories().unwrap(), ["a", "a/b", "docker.io/library/c"]);
        assert_eq!(tags.get("a/b", "1").unwrap(), Some(digest.clone()));

        assert!(tags.remove("a", "1").unwrap());
        assert!(!tags.remove("a", "1").unwrap());
        assert!(tags.exists("a"), "the manifest is still there");
        assert!(tags.remove_record("a", &digest).unwrap());
        assert!(tags.remove_record("a/b", &digest).unwrap(), "the one below is untouched");
        assert_eq!(tags.get("a/b", "1").unwrap(), None, "a tag goes with its manifest");
        assert_eq!(tags.repositories().unwrap(), ["docker.io/library/c"]);
    }
}
