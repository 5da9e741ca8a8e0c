//! Garbage collection: what no tag, no release and nobody at work needs is removed, and its room told.
//!
//! Called by `freehold image gc` and, on a timer, by the daemon. First [`mark`] works out what stays; then
//! the rest goes in an order that a crash cannot hurt: names of manifests, names of blobs, unpacked layers,
//! bytes. Invariant: nothing is removed that a kept manifest names, or that anybody touched since the
//! collection began or within its grace (see [`crate::recent`]).

mod mark;

use crate::{ImageError, ImageStore, files::names, recent::Thing, unpack};
use freehold_model::{
    Bytes, Digest,
    api::{Collected, CollectedItem, CollectedKind},
};
use mark::{Marked, mark};
use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::PoisonError,
    time::{Duration, Instant, SystemTime},
};

/// How to collect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collect {
    /// The manifests that somebody may want to run, whatever they are called: of instances, and of the
    /// releases that are kept to be rolled back to. Their layers stay unpacked.
    pub roots: BTreeSet<Digest>,
    /// What was brought or used within this time stays: a push in flight has not named everything yet.
    pub grace: Duration,
    /// Whether to only say what would go.
    pub dry_run: bool,
}

impl ImageStore {
    /// Begins a collection. Read the roots after this, then [`collect`](Self::collect): whatever becomes a
    /// root later is touched later, and spared.
    pub fn begin_collection(&self) -> Began {
        // Whoever touched before this has written what keeps it when the lock is had.
        let _committed = self.committing().write().unwrap_or_else(PoisonError::into_inner);
        Began(Instant::now())
    }

    /// Removes what nothing needs, and says what that was. Blocks; works beside pushes, pulls and deploys.
    ///
    /// # Errors
    /// A manifest that must be kept cannot be read (nothing is removed then), or the disk fails.
    pub fn collect(&self, began: Began, how: &Collect) -> Result<Collected, ImageError> {
        self.uploads().forget_abandoned();
        let mut round = Round {
            store: self,
            how,
            began: began.0,
            young: SystemTime::now().checked_sub(how.grace).unwrap_or(SystemTime::UNIX_EPOCH),
            removed: Vec::new(),
        };
        let marked = mark(&round)?;
        round.manifests(&marked)?;
        round.links(&marked)?;
        round.layers(&marked)?;
        round.blobs(&marked)?;
        self.recent().forget(how.grace.max(Duration::from_secs(3600)));
        let freed = round.removed.iter().map(|item| item.size.0).sum();
        Ok(Collected { dry_run: how.dry_run, freed: Bytes(freed), removed: round.removed })
    }
}

/// When a collection began.
#[derive(Debug)]
pub struct Began(Instant);

/// One collection.
struct Round<'a> {
    store: &'a ImageStore,
    how: &'a Collect,
    began: Instant,
    /// What is newer than this is spared.
    young: SystemTime,
    removed: Vec<CollectedItem>,
}

impl Round<'_> {
    /// Whether somebody used a thing lately, or brought it at `time`.
    fn is_fresh(&self, thing: &Thing, time: SystemTime) -> bool {
        // A grace of nothing means that age does not matter, and clocks of files are coarse.
        let young = !self.how.grace.is_zero() && time >= self.young;
        young || self.store.recent().touched(thing, self.began, self.how.grace)
    }

    /// Removes a thing unless somebody touched it meanwhile, and writes it down.
    fn remove(
        &mut self,
        thing: &Thing,
        item: CollectedItem,
        remove: impl FnOnce() -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        let act = || if self.how.dry_run { Ok(()) } else { remove() };
        if let Some(done) = self.store.recent().unless_touched(thing, self.began, self.how.grace, act) {
            done?;
            self.removed.push(item);
        }
        Ok(())
    }

    fn manifests(&mut self, marked: &Marked) -> Result<(), ImageError> {
        let tags = self.store.tags();
        for repository in tags.repositories()? {
            for digest in tags.manifests(&repository)? {
                if marked.keeps_manifest(&repository, &digest) {
                    continue;
                }
                let item = item(CollectedKind::Manifest, format!("{repository}@{digest}"), 0);
                let remove = || tags.remove_record(&repository, &digest).map(drop);
                self.remove(&Thing::Blob(digest.clone()), item, remove)?;
            }
        }
        Ok(())
    }

    /// Names alone: what they free is counted with the bytes.
    fn links(&mut self, marked: &Marked) -> Result<(), ImageError> {
        let links = self.store.links();
        for (repository, digest) in &marked.loose_links {
            let remove = || links.remove(repository, digest).map(drop);
            if !self.how.dry_run {
                let thing = Thing::Blob(digest.clone());
                self.store.recent().unless_touched(&thing, self.began, self.how.grace, remove).transpose()?;
            }
            self.store.tags().prune(repository);
        }
        Ok(())
    }

    fn layers(&mut self, marked: &Marked) -> Result<(), ImageError> {
        let folder = self.store.layers().to_owned();
        for hex in names(&folder)? {
            let Ok(diff_id) = format!("sha256:{hex}").parse::<Digest>() else { continue };
            let (thing, path) = (Thing::Layer(diff_id.clone()), folder.join(&hex));
            let Some(meta) = read(&path)? else { continue };
            // An image sets the times of its folders, but not when they were last changed.
            let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(meta.ctime().try_into().unwrap_or(0));
            if marked.layers.contains(&diff_id) || self.is_fresh(&thing, changed) {
                continue;
            }
            let size = freehold_tree::measure(&path).map_err(ImageError::io("measure", &path))?;
            let item = item(CollectedKind::Layer, diff_id.to_string(), size);
            self.remove(&thing, item, || unpack::discard(&path))?;
        }
        if self.how.dry_run { Ok(()) } else { unpack::empty_discarded(&folder) }
    }

    fn blobs(&mut self, marked: &Marked) -> Result<(), ImageError> {
        for digest in self.store.blobs().all()? {
            let (thing, path) = (Thing::Blob(digest.clone()), self.store.blobs().path(&digest));
            let Some(meta) = read(&path)? else { continue };
            let brought = meta.modified().map_err(ImageError::io("read", &path))?;
            if marked.blobs.contains(&digest) || self.is_fresh(&thing, brought) {
                continue;
            }
            let item = item(CollectedKind::Blob, digest.to_string(), meta.len());
            self.remove(&thing, item, || fs::remove_file(&path).map_err(ImageError::io("remove", &path)))?;
        }
        let blobs = self.store.blobs();
        if self.how.dry_run { Ok(()) } else { self.store.seen().retain(|blob| blobs.has(blob)) }
    }
}

fn item(kind: CollectedKind, name: String, size: u64) -> CollectedItem {
    CollectedItem { kind, name, size: Bytes(size) }
}

/// What a path is, without following links; `None` when it is gone.
fn read(path: &Path) -> Result<Option<fs::Metadata>, ImageError> {
    match fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(meta)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(ImageError::io("read", path)(e)),
    }
}
