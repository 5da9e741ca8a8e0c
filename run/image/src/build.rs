//! Makes an image from a folder: one layer that is the folder, alone or upon a base, and a config from
//! `freehold-image.toml`.
//!
//! Called by `freehold image build`. Invariant: the same folder and base give the same digest, on every
//! machine of one architecture: entries sorted, owned by root, times fixed, nothing from the clock.

use crate::{
    ImageError,
    files::{create_dirs, random_name},
    manifest::{OCI_INDEX, OCI_MANIFEST, platform},
};
use flate2::{Compression, write::GzEncoder};
use freehold_model::Digest;
use ignore::gitignore::Gitignore;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

mod base;
mod spec;
pub(crate) use base::BASE_NAME;
pub use base::Base;
use spec::ImageSpec;

/// The file in a folder that says how its image is run. It does not become part of the image.
pub const SPEC_FILE: &str = "freehold-image.toml";

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// Where distributions that merged `/usr` have links. A folder there in a layer hides what they lead to.
const LINKS: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// How to build.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    /// The time of every file, in seconds since 1970. `None`: the start of 1970.
    pub epoch: Option<u64>,
    /// The image to build upon, if [`base_of`] names one.
    pub base: Option<Base>,
}

impl BuildOptions {
    /// Options with the time that `SOURCE_DATE_EPOCH` names, if it is set
    /// (reproducible-builds.org/specs/source-date-epoch).
    pub fn from_env() -> BuildOptions {
        let epoch = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.trim().parse().ok());
        BuildOptions { epoch, base: None }
    }
}

/// An image that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The digest of its manifest.
    pub digest: Digest,
    /// The compressed bytes of config and layers.
    pub size: u64,
}

/// The image that the image of `dir` is built upon, as its `freehold-image.toml` names it.
///
/// # Errors
/// The file is wrong.
pub fn base_of(dir: &Path) -> Result<Option<String>, ImageError> {
    Ok(ImageSpec::read(&dir.join(SPEC_FILE))?.from)
}

/// Builds the image of the folder `dir` into `out`, an OCI image layout that is created.
///
/// Modes and symbolic links are kept; everything belongs to root.
///
/// # Errors
/// `dir` is no folder, or holds something that is neither file, folder nor link; `freehold-image.toml` is
/// wrong; `out` exists or lies inside `dir`.
pub fn build_folder(dir: &Path, out: &Path, options: &BuildOptions) -> Result<Built, ImageError> {
    let spec = ImageSpec::read(&dir.join(SPEC_FILE))?;
    let refused = |reason: String| ImageError::Build { path: dir.join(SPEC_FILE), reason };
    let base = options.base.as_ref();
    if let (Some(from), None) = (&spec.from, base) {
        return Err(refused(format!("it is built upon {from}, which nobody fetched")));
    }
    let folder = spec.folder(dir);
    prepare(&folder, out)?;
    let blobs = create_dirs(&out.join("blobs/sha256"))?;
    let pick = Pick { ignored: spec.ignored().map_err(refused)?, epoch: options.epoch.unwrap_or(0) };
    let layer = write_layer(&folder, &blobs, spec.place(), base.is_some(), &pick)?;
    let config = base::config(&spec, base, &layer.diff_id, options.epoch);
    let config = write_json(&blobs, &config)?;
    let mut layers = base.map(Base::layers).transpose().map_err(refused)?.unwrap_or_default();
    layers.push(json!({"mediaType": LAYER, "digest": layer.blob.digest, "size": layer.blob.size}));
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": CONFIG, "digest": config.digest, "size": config.size},
        "layers": layers,
    });
    if let Some(base) = base {
        manifest["annotations"] = json!({BASE_NAME: base.reference, base::BASE_DIGEST: base.digest});
    }
    let size = config.size + layers.iter().filter_map(|layer| layer["size"].as_u64()).sum::<u64>();
    let manifest = write_json(&blobs, &manifest)?;
    let (os, architecture) = platform();
    let entry = json!({
        "mediaType": OCI_MANIFEST, "digest": manifest.digest, "size": manifest.size,
        "platform": {"os": os, "architecture": architecture},
    });
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]});
    write(&out.join("index.json"), index.to_string().as_bytes())?;
    write(&out.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    Ok(Built { digest: manifest.digest, size })
}

struct Blob {
    digest: Digest,
    size: u64,
}

struct Layer {
    blob: Blob,
    diff_id: Digest,
}

fn prepare(dir: &Path, out: &Path) -> Result<(), ImageError> {
    let refused =
        |path: &Path, reason: &str| ImageError::Build { path: path.to_owned(), reason: reason.into() };
    if !dir.is_dir() {
        return Err(refused(dir, "it is not a folder; give the folder whose content becomes the image"));
    }
    fs::create_dir(out).map_err(ImageError::io("create", out))?;
    let real = |path: &Path| path.canonicalize().map_err(ImageError::io("find", path));
    if real(out)?.starts_with(real(dir)?) {
        let _ = fs::remove_dir(out);
        return Err(refused(out, "the image would become a part of itself; put it outside the folder"));
    }
    Ok(())
}

/// Which files are packed, and how.
struct Pick {
    ignored: Gitignore,
    epoch: u64,
}

/// Packs `dir` as the folder `into` of the image.
fn write_layer(dir: &Path, blobs: &Path, into: &Path, upon: bool, pick: &Pick) -> Result<Layer, ImageError> {
    let unfinished = blobs.join(random_name());
    let file = File::create_new(&unfinished).map_err(ImageError::io("create", &unfinished))?;
    // gzip's own header carries no name and no time: the bytes depend on the content alone.
    let packed = Hashed::new(BufWriter::new(file));
    let archive = tar::Builder::new(Hashed::new(GzEncoder::new(packed, Compression::default())));
    let mut packer = Packer { archive, dir, into, upon, pick };
    packer.ways()?;
    packer.folder(Path::new(""))?;
    let archive = packer.archive;
    let sealed = (|| {
        let (gzip, diff_id, _) = archive.into_inner()?.finish();
        let (mut file, digest, size) = gzip.finish()?.finish();
        file.flush()?;
        Ok(Layer { blob: Blob { digest, size }, diff_id })
    })();
    let layer: Layer = sealed.map_err(ImageError::io("write", &unfinished))?;
    let path = blobs.join(layer.blob.digest.hex());
    fs::rename(&unfinished, &path).map_err(ImageError::io("rename to", path))?;
    Ok(layer)
}

/// Writes the entries of one layer.
struct Packer<'a, W: Write> {
    archive: tar::Builder<W>,
    dir: &'a Path,
    into: &'a Path,
    /// Whether there is a base below.
    upon: bool,
    pick: &'a Pick,
}

impl<W: Write> Packer<'_, W> {
    /// Adds the folders on the way to where everything lies.
    fn ways(&mut self) -> Result<(), ImageError> {
        let mut ways: Vec<&Path> = self.into.ancestors().filter(|way| *way != Path::new("")).collect();
        ways.reverse();
        for way in ways {
            self.mind_links(way)?;
            let mut header = self.header(0o755, 0);
            header.set_entry_type(tar::EntryType::Directory);
            let added = self.archive.append_data(&mut header, way.join(""), io::empty());
            added.map_err(ImageError::io("pack", way))?;
        }
        Ok(())
    }

    /// Adds what is in the folder `at`, a path below the whole.
    fn folder(&mut self, at: &Path) -> Result<(), ImageError> {
        let dir = self.dir.join(at);
        let mut entries = fs::read_dir(&dir)
            .and_then(Iterator::collect::<io::Result<Vec<_>>>)
            .map_err(ImageError::io("list", &dir))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, name) = (entry.path(), at.join(entry.file_name()));
            let meta = path.symlink_metadata().map_err(ImageError::io("read", &path))?;
            if name == Path::new(SPEC_FILE) || self.pick.ignored.matched(&name, meta.is_dir()).is_ignore() {
                continue;
            }
            self.add(&path, &name, &meta)?;
            if meta.is_dir() {
                self.folder(&name)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &Path, below: &Path, meta: &fs::Metadata) -> Result<(), ImageError> {
        let refused = |reason: &str| ImageError::Build { path: path.to_owned(), reason: reason.into() };
        if below.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".wh.")) {
            return Err(refused("names that begin with `.wh.` mean something else in an image; rename it"));
        }
        let (name, kind) = (self.into.join(below), meta.file_type());
        let mut header = self.header(meta.mode() & 0o7777, 0);
        let added = if kind.is_dir() {
            self.mind_links(&name)?;
            header.set_entry_type(tar::EntryType::Directory);
            self.archive.append_data(&mut header, name.join(""), io::empty())
        } else if kind.is_symlink() {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_mode(0o777);
            fs::read_link(path).and_then(|target| self.archive.append_link(&mut header, name, target))
        } else if kind.is_file() {
            header.set_size(meta.len());
            File::open(path)
                .and_then(|file| append_file(&mut self.archive, &mut header, &name, file, meta.len()))
        } else {
            let what = match () {
                () if kind.is_socket() => "a socket",
                () if kind.is_fifo() => "a named pipe",
                () => "a device",
            };
            return Err(refused(&format!("it is {what}: an image takes files, folders and symbolic links")));
        };
        added.map_err(ImageError::io("pack", path))
    }

    /// Refuses a folder that would take the place of a link in most bases, and all behind it away.
    fn mind_links(&self, name: &Path) -> Result<(), ImageError> {
        match name.to_str() {
            Some(link) if self.upon && LINKS.contains(&link) => Err(ImageError::Build {
                path: self.dir.to_owned(),
                reason: format!(
                    "in most bases /{link} is a link to /usr/{link}, and a folder there would hide all \
                     that the base has in it; put the files below /usr/{link} or /usr/local"
                ),
            }),
            _ => Ok(()),
        }
    }

    fn header(&self, mode: u32, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_mtime(self.pick.epoch);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(size);
        header
    }
}

/// Packs exactly `size` bytes: a file that changes meanwhile must not shift what follows it.
fn append_file<W: Write>(
    archive: &mut tar::Builder<W>,
    header: &mut tar::Header,
    name: &Path,
    file: File,
    size: u64,
) -> io::Result<()> {
    let mut counted = io::Read::take(file, size);
    archive.append_data(header, name, &mut counted)?;
    if counted.limit() == 0 { Ok(()) } else { Err(io::Error::other("it became shorter while it was read")) }
}

fn write_json(blobs: &Path, value: &Value) -> Result<Blob, ImageError> {
    let bytes = value.to_string();
    let digest = Digest::of(bytes.as_bytes());
    write(&blobs.join(digest.hex()), bytes.as_bytes())?;
    Ok(Blob { digest, size: bytes.len() as u64 })
}

fn write(path: &PathBuf, bytes: &[u8]) -> Result<(), ImageError> {
    fs::write(path, bytes).map_err(ImageError::io("write", path))
}

/// Hashes and counts whatever is written through it.
struct Hashed<W> {
    inner: W,
    hasher: Sha256,
    length: u64,
}

impl<W> Hashed<W> {
    fn new(inner: W) -> Hashed<W> {
        Hashed { inner, hasher: Sha256::new(), length: 0 }
    }

    fn finish(self) -> (W, Digest, u64) {
        (self.inner, Digest::from_sha256(self.hasher.finalize().into()), self.length)
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
