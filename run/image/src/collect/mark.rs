//! What a garbage collection keeps: everything that can be reached from a tag, from a root, or from
//! something fresh.
//!
//! A tag keeps its manifest; an index keeps its manifests; a manifest keeps what is attached to it, its
//! config and its compressed layers. Unpacked layers are kept for roots alone: any other image is unpacked
//! again when it is deployed.

use super::Round;
use crate::{
    ImageError,
    manifest::{Config, Manifest, digest_of},
    recent::Thing,
};
use freehold_model::Digest;
use std::collections::{HashMap, HashSet};

/// What stays.
#[derive(Debug, Default)]
pub(super) struct Marked {
    /// Manifests by repository.
    manifests: HashMap<String, HashSet<Digest>>,
    /// The manifests of roots, in whichever repository.
    roots: HashSet<Digest>,
    pub(super) blobs: HashSet<Digest>,
    /// Unpacked layers, by diff id.
    pub(super) layers: HashSet<Digest>,
    /// Blobs that repositories show and nobody needs there.
    pub(super) loose_links: Vec<(String, Digest)>,
}

impl Marked {
    pub(super) fn keeps_manifest(&self, repository: &str, digest: &Digest) -> bool {
        self.roots.contains(digest)
            || self.manifests.get(repository).is_some_and(|kept| kept.contains(digest))
    }
}

/// Works out what stays.
///
/// # Errors
/// A kept manifest is here but cannot be read: what it names is not known, so nothing may go.
pub(super) fn mark(round: &Round<'_>) -> Result<Marked, ImageError> {
    let mut marked = Marked::default();
    for digest in &round.how.roots {
        marked.roots.extend(closure(round, vec![digest.clone()], &HashMap::new())?);
        marked.layers.extend(diff_ids(round, digest)?);
    }
    for digest in marked.roots.clone() {
        keep_parts(round, &digest, &mut marked.blobs)?;
    }
    for repository in round.store.tags().repositories()? {
        let kept = in_repository(round, &repository)?;
        for digest in &kept {
            keep_parts(round, digest, &mut marked.blobs)?;
        }
        marked.manifests.insert(repository, kept);
    }
    links(round, &mut marked)?;
    Ok(marked)
}

/// The manifests that one repository keeps by its tags and because they are fresh.
fn in_repository(round: &Round<'_>, repository: &str) -> Result<HashSet<Digest>, ImageError> {
    let tags = round.store.tags();
    let mut first = Vec::new();
    for tag in tags.of(repository)? {
        first.extend(tags.get(repository, &tag)?);
    }
    let mut attached: HashMap<Digest, Vec<Digest>> = HashMap::new();
    for digest in tags.manifests(repository)? {
        let Some(record) = tags.record(repository, &digest)? else { continue };
        if round.is_fresh(&Thing::Blob(digest.clone()), record.pushed.into())
            || round.how.roots.contains(&digest)
        {
            first.push(digest.clone());
        }
        if let Some(subject) = record.subject {
            attached.entry(subject).or_default().push(digest);
        }
    }
    closure(round, first, &attached)
}

/// All manifests that are reached from `first`: through indexes, and to what is attached.
fn closure(
    round: &Round<'_>,
    first: Vec<Digest>,
    attached: &HashMap<Digest, Vec<Digest>>,
) -> Result<HashSet<Digest>, ImageError> {
    let (mut reached, mut no_manifest) = (HashSet::new(), HashSet::new());
    // Whether each is a manifest for sure: an index may name any blob.
    let mut queue: Vec<(Digest, bool)> = first.into_iter().map(|digest| (digest, true)).collect();
    while let Some((digest, is_sure)) = queue.pop() {
        if reached.contains(&digest) || !is_sure && no_manifest.contains(&digest) {
            continue;
        }
        let read = match manifest(round, &digest) {
            Err(_) if !is_sure => {
                no_manifest.insert(digest);
                continue;
            }
            read => read?,
        };
        queue.extend(attached.get(&digest).into_iter().flatten().map(|digest| (digest.clone(), true)));
        if let Some(Manifest::Index(index)) = read {
            // What a blob that merely reads as an index says of its entries was checked by nobody.
            let part = |entry| Some((digest_of(entry).ok()?, is_sure && Manifest::is_kind(entry)));
            queue.extend(index.manifests().iter().filter_map(part));
        }
        reached.insert(digest);
    }
    Ok(reached)
}

/// A manifest and everything that it names.
fn keep_parts(round: &Round<'_>, digest: &Digest, blobs: &mut HashSet<Digest>) -> Result<(), ImageError> {
    if let Some(manifest) = manifest(round, digest)? {
        blobs.extend(manifest.names().into_iter().filter_map(|part| digest_of(part).ok()));
    }
    blobs.insert(digest.clone());
    Ok(())
}

/// The layers of an image as they are unpacked; none if it is not all here.
fn diff_ids(round: &Round<'_>, digest: &Digest) -> Result<Vec<Digest>, ImageError> {
    let Some(Manifest::Image(image)) = manifest(round, digest)? else { return Ok(Vec::new()) };
    let Ok(config) = digest_of(image.config()) else { return Ok(Vec::new()) };
    let Some(bytes) = round.store.blobs().read_small(&config)? else { return Ok(Vec::new()) };
    // A config that cannot be read was never unpacked.
    Ok(Config::parse(&config, &bytes).map(|config| config.diff_ids().to_vec()).unwrap_or_default())
}

fn manifest(round: &Round<'_>, digest: &Digest) -> Result<Option<Manifest>, ImageError> {
    let bytes = round.store.blobs().read_small(digest)?;
    bytes.map(|bytes| Manifest::stored(digest, &bytes)).transpose()
}

/// A repository goes on showing what its manifests name, what is fresh, and everything while an upload
/// to it is open: the manifest comes last.
fn links(round: &Round<'_>, marked: &mut Marked) -> Result<(), ImageError> {
    let open = round.store.uploads().repositories();
    for repository in round.store.links().repositories()? {
        let mut needed = HashSet::new();
        for digest in marked.manifests.get(&repository).into_iter().flatten().chain(&marked.roots) {
            keep_parts(round, digest, &mut needed)?;
        }
        for (digest, wanted) in round.store.links().of(&repository)? {
            let fresh = round.is_fresh(&Thing::Blob(digest.clone()), wanted);
            if needed.contains(&digest) || fresh || open.contains(&repository) {
                marked.blobs.insert(digest);
            } else {
                marked.loose_links.push((repository.clone(), digest));
            }
        }
    }
    Ok(())
}
