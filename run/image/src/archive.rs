//! Images in files: an OCI image layout folder, the same as a tar, or the tar of `docker save`.
//!
//! Used by `push` to read. Blobs are never copied out: each is a file, or a stretch of the tar.

use crate::{
    ImageError,
    manifest::{MANIFEST_LIMIT, OCI_MANIFEST},
};
use freehold_model::Digest;
use oci_spec::image::ImageIndex;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// An image in a file, ready to be pushed.
#[derive(Debug)]
pub(crate) struct Archive {
    path: PathBuf,
    kind: Kind,
    /// The manifest to be pushed under the tag, and its media type.
    pub(crate) top: (Vec<u8>, String),
}

#[derive(Debug)]
enum Kind {
    /// `blobs/sha256/<hex>` below a folder.
    Folder,
    /// Stretches of the tar, by digest.
    Tar(HashMap<Digest, Stretch>),
}

/// A part of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch {
    offset: u64,
    /// How many bytes.
    pub(crate) length: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    layers: Vec<String>,
}

impl Archive {
    /// Opens the image at `path`; reads and, where names do not say them, computes digests.
    pub(crate) fn open(path: &Path) -> Result<Archive, ImageError> {
        let archive = if path.is_dir() { Archive::folder(path) } else { Archive::tar(path) };
        archive.map_err(|reason| ImageError::Archive { path: path.to_owned(), reason })
    }

    /// A blob as a file with a position and a length; `None` when it is not in here.
    pub(crate) fn blob(&self, digest: &Digest) -> Result<Option<(File, u64)>, ImageError> {
        let (path, stretch) = match &self.kind {
            Kind::Folder => (self.path.join("blobs/sha256").join(digest.hex()), None),
            Kind::Tar(blobs) => match blobs.get(digest) {
                Some(stretch) => (self.path.clone(), Some(*stretch)),
                None => return Ok(None),
            },
        };
        let open = || -> io::Result<(File, u64)> {
            let mut file = File::open(&path)?;
            let stretch = match stretch {
                Some(stretch) => stretch,
                None => Stretch { offset: 0, length: file.metadata()?.len() },
            };
            file.seek(SeekFrom::Start(stretch.offset))?;
            Ok((file, stretch.length))
        };
        match open() {
            Ok(found) => Ok(Some(found)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(ImageError::io("read", path)(e)),
        }
    }

    /// A small blob, whole.
    pub(crate) fn read(&self, digest: &Digest) -> Result<Option<Vec<u8>>, ImageError> {
        let Some((file, length)) = self.blob(digest)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let most = length.min(MANIFEST_LIMIT as u64);
        file.take(most).read_to_end(&mut bytes).map_err(ImageError::io("read", &self.path))?;
        Ok(Some(bytes))
    }

    fn folder(path: &Path) -> Result<Archive, String> {
        let index = std::fs::read(path.join("index.json"))
            .map_err(|e| format!("it has no index.json, as an OCI image layout has ({e})"))?;
        let mut archive = Archive { path: path.to_owned(), kind: Kind::Folder, top: Default::default() };
        archive.top = archive.top_of(&index)?;
        Ok(archive)
    }

    fn tar(path: &Path) -> Result<Archive, String> {
        let mut file = File::open(path).map_err(|e| e.to_string())?;
        // What the reader says repeats the file's own bytes: they may be anything, a key for one.
        let names = stretches(&file).map_err(|_| "it is neither a folder nor a whole tar")?;
        if let Some(index) = names.get("index.json") {
            let index = read_stretch(&mut file, *index).map_err(|e| e.to_string())?;
            let blob = |(name, stretch): (&String, &Stretch)| {
                let hex = name.strip_prefix("blobs/sha256/")?;
                Some((format!("sha256:{hex}").parse().ok()?, *stretch))
            };
            let blobs = names.iter().filter_map(blob).collect();
            let mut archive =
                Archive { path: path.to_owned(), kind: Kind::Tar(blobs), top: Default::default() };
            archive.top = archive.top_of(&index)?;
            return Ok(archive);
        }
        let manifest = names.get("manifest.json").ok_or("it has neither index.json nor manifest.json")?;
        let manifest = read_stretch(&mut file, *manifest).map_err(|e| e.to_string())?;
        docker(path, &mut file, &names, &manifest)
    }

    /// What an image layout is about: its one manifest; with several, the index itself.
    fn top_of(&self, index: &[u8]) -> Result<(Vec<u8>, String), String> {
        let parsed: ImageIndex = serde_json::from_slice(index).map_err(|e| format!("its index.json: {e}"))?;
        let entry = match parsed.manifests().as_slice() {
            [] => return Err("its index.json names no image".into()),
            [entry] => entry,
            _ => return Ok((index.to_vec(), crate::manifest::OCI_INDEX.into())),
        };
        let digest = crate::manifest::digest_of(entry)?;
        let bytes = self.read(&digest).map_err(|e| e.to_string())?;
        let bytes = bytes.ok_or_else(|| format!("its index.json names {digest}, which it does not hold"))?;
        Ok((bytes, entry.media_type().to_string()))
    }
}

/// Where each file of a tar lies. Links point at what they mean: `docker save` writes equal layers once.
fn stretches(file: &File) -> io::Result<HashMap<String, Stretch>> {
    let mut archive = tar::Archive::new(file);
    let mut found = HashMap::new();
    let mut links = Vec::new();
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let name = tidy(&String::from_utf8_lossy(&entry.path_bytes()));
        match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                found.insert(name, Stretch { offset: entry.raw_file_position(), length: entry.size() });
            }
            tar::EntryType::Symlink | tar::EntryType::Link => {
                let target = entry.link_name_bytes().unwrap_or_default();
                links.push((name, String::from_utf8_lossy(&target).into_owned()));
            }
            _ => {}
        }
    }
    for (name, target) in links {
        let beside = name.rsplit_once('/').map_or(String::new(), |(dir, _)| format!("{dir}/"));
        let candidates = [tidy(&target), tidy(&format!("{beside}{target}"))];
        if let Some(stretch) = candidates.iter().find_map(|name| found.get(name).copied()) {
            found.insert(name, stretch);
        }
    }
    Ok(found)
}

/// A path without `.` and `..`.
fn tidy(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn read_stretch(file: &mut File, stretch: Stretch) -> io::Result<Vec<u8>> {
    if stretch.length > MANIFEST_LIMIT as u64 {
        return Err(io::Error::other("it is too large for a manifest"));
    }
    let mut bytes = vec![0; stretch.length as usize];
    file.seek(SeekFrom::Start(stretch.offset))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Makes an OCI manifest for the tar of `docker save`, whose names do not say digests.
fn docker(
    path: &Path,
    file: &mut File,
    names: &HashMap<String, Stretch>,
    manifest: &[u8],
) -> Result<Archive, String> {
    let images: Vec<DockerImage> =
        serde_json::from_slice(manifest).map_err(|e| format!("its manifest.json: {e}"))?;
    let [image] = images.as_slice() else {
        return Err(format!("it holds {} images; save one at a time", images.len()));
    };
    let mut blobs = HashMap::new();
    let mut enter = |name: &str, media_type: Option<&str>| -> Result<Value, String> {
        let stretch = *names
            .get(&tidy(name))
            .ok_or_else(|| format!("its manifest.json names {name}, which it does not hold"))?;
        let (digest, gzip) = hash(file, stretch).map_err(|e| e.to_string())?;
        let layer = if gzip {
            "application/vnd.oci.image.layer.v1.tar+gzip"
        } else {
            "application/vnd.oci.image.layer.v1.tar"
        };
        blobs.insert(digest.clone(), stretch);
        Ok(json!({"mediaType": media_type.unwrap_or(layer), "digest": digest, "size": stretch.length}))
    };
    let config = enter(&image.config, Some("application/vnd.oci.image.config.v1+json"))?;
    let layers = image.layers.iter().map(|name| enter(name, None)).collect::<Result<Vec<_>, _>>()?;
    let top = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers});
    let top = (top.to_string().into_bytes(), OCI_MANIFEST.to_owned());
    Ok(Archive { path: path.to_owned(), kind: Kind::Tar(blobs), top })
}

/// The digest of a stretch, and whether it is gzip.
fn hash(file: &mut File, stretch: Stretch) -> io::Result<(Digest, bool)> {
    file.seek(SeekFrom::Start(stretch.offset))?;
    let mut hasher = Sha256::new();
    let mut left = file.take(stretch.length);
    let mut buffer = vec![0; 1 << 16];
    let mut gzip = None;
    loop {
        let read = left.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        gzip.get_or_insert(buffer[..read].starts_with(&[0x1f, 0x8b]));
        hasher.update(&buffer[..read]);
    }
    if left.limit() > 0 {
        return Err(io::Error::other("the tar is cut off"));
    }
    Ok((Digest::from_sha256(hasher.finalize().into()), gzip.unwrap_or(false)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_tar_is_refused_without_being_repeated() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        io::Write::write_all(&mut file, "root:hunter2:0:0:\n".repeat(100).as_bytes()).unwrap();
        let error = Archive::open(file.path()).unwrap_err().to_string();
        assert!(error.contains("tar") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn links_between_layers_are_followed_within_the_tar() {
        assert_eq!(tidy("./a//b/../c"), "a/c");
        assert_eq!(tidy("../../a"), "a");
    }
}
