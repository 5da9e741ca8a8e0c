//! The image store: what the control plane, the agent and the registry's handlers hold.
//!
//! `blobs/` and `layers/` are shared by every image; `tags/` says what is called what and which repository
//! shows which blob. Bytes are removed by garbage collection alone (`collect/`).

use crate::{
    ImageError, Limits, Reference,
    blobs::Blobs,
    files::create_dirs,
    flight::Flights,
    house::House,
    links::Links,
    manifest::{Manifest, choose, digest_of, platform},
    recent::{Recent, Thing},
    registry::{self, Uploads},
    remote::Remotes,
    seen::Seen,
    tags::{Record, Tags},
    unpack,
    upstream::Upstream,
};
use freehold_model::{Bytes, Digest, ImageRef, api::ImageSummary};
use jiff::Timestamp;
use oci_spec::image::{Descriptor, ImageManifest};
use serde_json::Value;
use std::{
    collections::HashSet,
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

/// Images of one machine. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct ImageStore(Arc<Inner>);

struct Inner {
    blobs: Blobs,
    tags: Tags,
    links: Links,
    seen: Seen,
    recent: Recent,
    /// Held (for reading) from the look at what a manifest needs until its name is written.
    committing: RwLock<()>,
    layers: PathBuf,
    limits: Limits,
    remotes: Remotes,
    flights: Flights,
    uploads: Uploads,
    upstream: Option<Arc<dyn Upstream>>,
    house: OnceLock<Arc<dyn House>>,
}

/// Everything there is to see of an image.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Inspected {
    /// As it was asked for, with its tag.
    pub reference: String,
    /// The digest of the manifest for this platform.
    pub digest: Digest,
    /// The manifest.
    pub manifest: Value,
    /// The image config.
    pub config: Value,
}

impl ImageStore {
    /// Opens or creates the store in `dir`. One process at a time: unfinished uploads are thrown away.
    pub fn open(dir: &Path) -> Result<ImageStore, ImageError> {
        ImageStore::open_with(dir, Limits::default())
    }

    /// Opens the store of a node, which fetches whatever is missing from `upstream` alone.
    pub fn open_behind(dir: &Path, upstream: Arc<dyn Upstream>) -> Result<ImageStore, ImageError> {
        ImageStore::make(dir, Limits::default(), Some(upstream))
    }

    /// Opens the store with other limits on what a layer may unpack to.
    pub fn open_with(dir: &Path, limits: Limits) -> Result<ImageStore, ImageError> {
        ImageStore::make(dir, limits, None)
    }

    fn make(
        dir: &Path,
        limits: Limits,
        upstream: Option<Arc<dyn Upstream>>,
    ) -> Result<ImageStore, ImageError> {
        let blobs = Blobs::open(dir)?;
        let tags = Tags::open(dir, blobs.scratch())?;
        let layers = create_dirs(&dir.join("layers"))?;
        let seen = Seen::open(dir)?;
        // Layers hold set-user-id programs as root: nobody else may reach them by path.
        std::fs::set_permissions(&layers, Permissions::from_mode(0o700))
            .map_err(ImageError::io("protect", &layers))?;
        unpack::discard_unfinished(&layers)?;
        let links = Links::new(tags.dir());
        let store = ImageStore(Arc::new(Inner {
            blobs,
            tags,
            links,
            seen,
            recent: Recent::default(),
            committing: RwLock::default(),
            layers,
            limits,
            remotes: Remotes::default(),
            flights: Flights::default(),
            uploads: Uploads::default(),
            upstream,
            house: OnceLock::new(),
        }));
        store.link_what_manifests_name()?;
        Ok(store)
    }

    /// Repositories of an earlier version have no links: there every blob was shown in every repository.
    fn link_what_manifests_name(&self) -> Result<(), ImageError> {
        for repository in self.0.tags.repositories()? {
            if self.0.links.any(&repository) {
                continue;
            }
            for digest in self.0.tags.manifests(&repository)? {
                if let Ok(manifest) = self.manifest(&repository, &digest) {
                    self.link(&repository, &manifest)?;
                }
            }
        }
        Ok(())
    }

    /// Makes a repository show the blobs of one of its images, as far as they are here. Layers that may live
    /// elsewhere are not among them: a caller who names one has not shown that they have it.
    fn link(&self, repository: &str, manifest: &Manifest) -> Result<(), ImageError> {
        let is_blob = |part: &&Descriptor| match manifest {
            Manifest::Image(_) => true,
            Manifest::Index(_) => !Manifest::is_kind(part),
        };
        for digest in manifest.needs().into_iter().filter(is_blob).filter_map(|part| digest_of(part).ok()) {
            if !self.0.links.has(repository, &digest)? && self.0.blobs.has(&digest)? {
                self.0.links.put(repository, &digest)?;
            }
        }
        Ok(())
    }

    pub(crate) fn blobs(&self) -> &Blobs {
        &self.0.blobs
    }

    pub(crate) fn tags(&self) -> &Tags {
        &self.0.tags
    }

    pub(crate) fn links(&self) -> &Links {
        &self.0.links
    }

    pub(crate) fn seen(&self) -> &Seen {
        &self.0.seen
    }

    pub(crate) fn recent(&self) -> &Recent {
        &self.0.recent
    }

    pub(crate) fn committing(&self) -> &RwLock<()> {
        &self.0.committing
    }

    /// Whether a blob is here. It stays for a while after this was asked.
    pub(crate) fn holds(&self, digest: &Digest) -> Result<bool, ImageError> {
        self.0.recent.touch(Thing::Blob(digest.clone()));
        self.0.blobs.has(digest)
    }

    /// Whether a repository shows a blob that is here. It stays for a while after this was asked.
    pub(crate) fn shows(&self, repository: &str, digest: &Digest) -> Result<bool, ImageError> {
        self.0.recent.touch(Thing::Blob(digest.clone()));
        Ok(self.0.links.has(repository, digest)? && self.0.blobs.has(digest)?)
    }

    pub(crate) fn upstream(&self) -> Option<&dyn Upstream> {
        self.0.upstream.as_deref()
    }

    pub(crate) fn house(&self) -> Option<Arc<dyn House>> {
        self.0.house.get().cloned()
    }

    /// The first stays.
    pub(crate) fn set_house(&self, house: Arc<dyn House>) {
        let _ = self.0.house.set(house);
    }

    pub(crate) fn uploads(&self) -> &Uploads {
        &self.0.uploads
    }

    pub(crate) fn remotes(&self) -> &Remotes {
        &self.0.remotes
    }

    pub(crate) fn flights(&self) -> &Flights {
        &self.0.flights
    }

    pub(crate) fn layers(&self) -> &Path {
        &self.0.layers
    }

    pub(crate) fn limits(&self) -> Limits {
        self.0.limits
    }

    /// What a reference means now: the digest of the manifest for this platform.
    ///
    /// Without a host it is looked up in the built-in registry. With one that registry is asked; when it
    /// cannot be asked, the copy that is here under that name answers.
    ///
    /// # Errors
    /// Not a reference, no such image, no variant for this platform, or no answer and no copy.
    pub async fn resolve(&self, reference: &str) -> Result<ImageRef, ImageError> {
        let parsed: Reference = reference.parse()?;
        let digest = match parsed.host() {
            None => {
                self.settle(&parsed).await?;
                self.local_digest(&parsed)?
            }
            Some(_) => match self.remote_digest(&parsed).await {
                Err(ImageError::Remote { registry, reason, reference }) => {
                    let held = self.local_digest(&parsed);
                    held.map_err(|_| ImageError::Remote { registry, reason, reference })?
                }
                answer => answer?,
            },
        };
        self.must_run_here(&parsed, &digest).await?;
        Ok(ImageRef { reference: reference.to_owned(), digest })
    }

    fn local_digest(&self, reference: &Reference) -> Result<Digest, ImageError> {
        let unknown = || ImageError::Unknown(reference.to_string());
        let digest = match reference.digest() {
            Some(digest) if self.0.tags.record(&reference.name(), digest)?.is_some() => digest.clone(),
            Some(_) => return Err(unknown()),
            None => self.0.tags.get(&reference.name(), reference.tag())?.ok_or_else(unknown)?,
        };
        self.holds(&digest)?;
        let digest = self.platform_digest(&reference.to_string(), digest)?;
        self.touch_tree(&digest, &mut Default::default())?;
        Ok(digest)
    }

    /// Follows indexes that are here down to the manifest of an image.
    fn platform_digest(&self, reference: &str, mut digest: Digest) -> Result<Digest, ImageError> {
        // An index may hold indexes, but one that goes deeper than this is a mistake or a loop.
        for _ in 0..4 {
            match self.manifest(reference, &digest)? {
                Manifest::Image(_) => return Ok(digest),
                Manifest::Index(index) => digest = chosen(reference, &digest, &index)?,
            }
        }
        Err(ImageError::Manifest { digest, reason: "indexes are nested too deeply".into() })
    }

    async fn remote_digest(&self, reference: &Reference) -> Result<Digest, ImageError> {
        let mut at = reference.clone();
        for _ in 0..4 {
            let (bytes, digest) = match at.digest() {
                Some(digest) if self.holds(digest)? => {
                    (self.part(&reference.to_string(), digest)?, digest.clone())
                }
                _ => self.0.remotes.manifest(&at).await?,
            };
            match Manifest::stored(&digest, &bytes)? {
                Manifest::Image(_) => {
                    self.0.blobs.write(&bytes)?;
                    return Ok(digest);
                }
                Manifest::Index(index) => {
                    at = at.at_digest(chosen(&reference.to_string(), &digest, &index)?);
                }
            }
        }
        Err(ImageError::Remote {
            registry: reference.host().unwrap_or_default().into(),
            reference: reference.to_string(),
            reason: "indexes are nested too deeply".into(),
        })
    }

    /// Enters a fetched image under its own name.
    pub(crate) fn remember(&self, reference: &Reference, digest: &Digest) -> Result<(), ImageError> {
        let _committing = self.0.committing.read().unwrap_or_else(PoisonError::into_inner);
        let bytes = self.part(&reference.to_string(), digest)?;
        for part in Manifest::stored(digest, &bytes)?.names() {
            let part = digest_in(digest, part)?;
            if !self.holds(&part)? {
                return Err(ImageError::Incomplete { reference: reference.to_string(), digest: part });
            }
        }
        self.accept(&reference.name(), digest, &bytes, None)?;
        match reference.digest() {
            Some(_) => Ok(()),
            None => self.0.tags.put(&reference.name(), reference.tag(), digest),
        }
    }

    /// Makes a stored manifest part of a repository.
    pub(crate) fn accept(
        &self,
        repository: &str,
        digest: &Digest,
        bytes: &[u8],
        media_type: Option<&str>,
    ) -> Result<(), ImageError> {
        let wrong = |reason| ImageError::Manifest { digest: digest.clone(), reason };
        let (manifest, media_type) = Manifest::parse(bytes, media_type).map_err(wrong)?;
        let subject = manifest.subject().map(digest_of).transpose().map_err(wrong)?;
        self.link(repository, &manifest)?;
        self.0.tags.put_record(repository, digest, &Record { media_type, pushed: Timestamp::now(), subject })
    }

    /// Fetches an image of another registry into the built-in one, under its full reference; and unpacks
    /// it, if asked to.
    pub async fn pull(&self, reference: &str, unpack: bool) -> Result<ImageSummary, ImageError> {
        let parsed: Reference = reference.parse()?;
        if parsed.host().is_none() {
            return Err(ImageError::Reference {
                text: reference.to_owned(),
                reason: "to pull, begin with the host of the registry, such as docker.io/",
            });
        }
        let digest = self.remote_digest(&parsed).await?;
        let image = ImageRef { reference: reference.to_owned(), digest };
        match unpack {
            true => drop(self.prepare(&image).await?),
            false => self.ensure(&image).await?,
        }
        // Once more for the case that all was here already, under another name or an older tag.
        self.remember(&parsed, &image.digest)?;
        self.summary(parsed.to_string(), &parsed.name(), image.digest)
    }

    /// Every tag of the built-in registry; and by digest the manifests that have no tag and belong to
    /// nothing else. Sorted by reference.
    pub fn list(&self) -> Result<Vec<ImageSummary>, ImageError> {
        let mut images = Vec::new();
        for repository in self.0.tags.repositories()? {
            let mut named = HashSet::new();
            for tag in self.0.tags.of(&repository)? {
                let Some(digest) = self.0.tags.get(&repository, &tag)? else { continue };
                named.insert(digest.clone());
                images.push(self.summary(format!("{repository}:{tag}"), &repository, digest)?);
            }
            for digest in self.unnamed(&repository, named)? {
                images.push(self.summary(format!("{repository}@{digest}"), &repository, digest)?);
            }
        }
        Ok(images)
    }

    /// The manifests without a tag that are neither a part of an index nor attached to something.
    fn unnamed(&self, repository: &str, mut named: HashSet<Digest>) -> Result<Vec<Digest>, ImageError> {
        let manifests = self.0.tags.manifests(repository)?;
        for digest in &manifests {
            let attached =
                self.0.tags.record(repository, digest)?.is_none_or(|record| record.subject.is_some());
            if attached {
                named.insert(digest.clone());
            }
            if let Ok(Manifest::Index(index)) = self.manifest(repository, digest) {
                named.extend(index.manifests().iter().filter_map(|entry| digest_of(entry).ok()));
            }
        }
        Ok(manifests.into_iter().filter(|digest| !named.contains(digest)).collect())
    }

    pub(crate) fn summary(
        &self,
        reference: String,
        repository: &str,
        digest: Digest,
    ) -> Result<ImageSummary, ImageError> {
        let pushed = self.0.tags.record(repository, &digest)?.map_or(Timestamp::UNIX_EPOCH, |r| r.pushed);
        let size = self.size(&reference, &digest, 0);
        Ok(ImageSummary { reference, digest, size: Bytes(size), pushed })
    }

    /// The bytes of config and layers, over all platforms that are here.
    fn size(&self, reference: &str, digest: &Digest, depth: u8) -> u64 {
        match self.manifest(reference, digest) {
            Ok(Manifest::Index(index)) if depth < 4 => {
                let entries = index.manifests().iter().filter_map(|entry| digest_of(entry).ok());
                entries.map(|entry| self.size(reference, &entry, depth + 1)).sum()
            }
            Ok(Manifest::Image(image)) => std::iter::once(image.config())
                .chain(image.layers())
                .fold(0, |sum, part| sum.saturating_add(part.size())),
            _ => 0,
        }
    }

    /// The manifest and the config of an image that is here, for this platform.
    pub fn inspect(&self, reference: &str) -> Result<Inspected, ImageError> {
        let parsed: Reference = reference.parse()?;
        let digest = self.local_digest(&parsed)?;
        let manifest = self.image_manifest(reference, &digest)?;
        let json = |digest: &Digest| -> Result<Value, ImageError> {
            let bytes = self.part(reference, digest)?;
            // What is attached to images may have a config that is no JSON at all.
            Ok(serde_json::from_slice(&bytes).unwrap_or(Value::Null))
        };
        let config = json(&digest_in(&digest, manifest.config())?)?;
        Ok(Inspected { reference: parsed.to_string(), manifest: json(&digest)?, config, digest })
    }

    /// Removes a tag; or, given a digest, a manifest with every tag that means it.
    ///
    /// A manifest that loses its last tag is no longer listed. Blobs and unpacked layers stay on disk
    /// until garbage collection, which spares what releases need, so instances that run it are not disturbed.
    pub fn remove(&self, reference: &str) -> Result<(), ImageError> {
        let parsed: Reference = reference.parse()?;
        let name = parsed.name();
        let unknown = || ImageError::Unknown(parsed.to_string());
        if let Some(digest) = parsed.digest() {
            return if self.0.tags.remove_record(&name, digest)? { Ok(()) } else { Err(unknown()) };
        }
        let digest = self.0.tags.get(&name, parsed.tag())?.ok_or_else(unknown)?;
        self.0.tags.remove(&name, parsed.tag())?;
        for tag in self.0.tags.of(&name)? {
            if self.0.tags.get(&name, &tag)?.as_ref() == Some(&digest) {
                return Ok(());
            }
        }
        self.0.tags.remove_record(&name, &digest).map(drop)
    }

    /// The registry's routes under `/v2/`, without authentication: the caller puts that around it.
    pub fn router(&self) -> axum::Router {
        registry::router(self.clone())
    }

    pub(crate) fn image_manifest(
        &self,
        reference: &str,
        digest: &Digest,
    ) -> Result<ImageManifest, ImageError> {
        self.manifest(reference, digest)?.image(digest)
    }

    pub(crate) fn manifest(&self, reference: &str, digest: &Digest) -> Result<Manifest, ImageError> {
        Manifest::stored(digest, &self.part(reference, digest)?)
    }

    /// A small blob that an image needs.
    pub(crate) fn part(&self, reference: &str, digest: &Digest) -> Result<Vec<u8>, ImageError> {
        let incomplete =
            || ImageError::Incomplete { reference: reference.to_owned(), digest: digest.clone() };
        self.0.blobs.read_sound(digest)?.ok_or_else(incomplete)
    }
}

pub(crate) fn here() -> String {
    let (os, architecture) = platform();
    format!("{os}/{architecture}")
}

fn chosen(
    reference: &str,
    digest: &Digest,
    index: &oci_spec::image::ImageIndex,
) -> Result<Digest, ImageError> {
    let entry = choose(index).ok_or_else(|| ImageError::Platform {
        reference: reference.to_owned(),
        platform: here(),
        made_for: None,
    })?;
    digest_in(digest, entry)
}

pub(crate) fn digest_in(manifest: &Digest, descriptor: &Descriptor) -> Result<Digest, ImageError> {
    digest_of(descriptor).map_err(|reason| ImageError::Manifest { digest: manifest.clone(), reason })
}
