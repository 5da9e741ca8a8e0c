//! Several stores of one house that show the same names: a tag that was set at one means the same at each, and
//! what is not here is fetched from one that has it.
//!
//! The control plane gives its store a [`House`]; nodes' stores have none. Names without a registry's host are
//! the house's, all others are copies of what that registry says. Invariants: where there is a house, it says
//! what a name means, and a tag on this disk only remembers it; what comes from another store is what its
//! digest says; a repository shows only what it shows there.

use crate::{
    ImageError, ImageStore, Reference, Upstream, UpstreamError,
    manifest::{Manifest, digest_of},
    upstream,
};
use async_trait::async_trait;
use freehold_model::{Digest, ImageRef, api::ImageSummary};
use std::{
    collections::HashSet,
    sync::{Arc, PoisonError},
};
use tokio::sync::OwnedMutexGuard;

/// Written once the tags that were here before there was a house are the house's.
const NAMED: &str = "named";
/// An index may hold indexes, but one that goes deeper than this is a mistake or a loop.
const DEPTH: u8 = 4;

/// What all stores of the house know, and the way to the others.
#[async_trait]
pub trait House: Send + Sync + 'static {
    /// What a name (`repository:tag`) means.
    ///
    /// # Errors
    /// When nobody can say; likewise below.
    async fn meaning(&self, name: &str) -> Result<Option<Digest>, UpstreamError>;

    /// Every name.
    async fn names(&self) -> Result<Vec<ImageSummary>, UpstreamError>;

    /// Gives `image.reference` the meaning of its digest.
    async fn name(&self, image: &ImageSummary) -> Result<(), UpstreamError>;

    /// Takes a name away, if there is one.
    async fn forget(&self, name: &str) -> Result<(), UpstreamError>;

    /// The others, as far as they show things in `repository`.
    fn others(&self, repository: &str) -> Arc<dyn Upstream>;
}

impl ImageStore {
    /// Makes this one of the stores of a house. What is tagged here and has no name there gets it, once.
    ///
    /// # Errors
    /// When the house cannot be asked.
    pub async fn join_house(&self, house: Arc<dyn House>) -> Result<(), ImageError> {
        let marker = self.tags().dir().parent().unwrap_or(self.tags().dir()).join(NAMED);
        if !marker.exists() {
            let known: Vec<String> = names(&*house).await?.into_iter().map(|image| image.reference).collect();
            for image in self.list()?.iter().filter(|image| is_ours(&image.reference)) {
                if !known.contains(&image.reference) {
                    house.name(image).await.map_err(|error| error.of_house(&image.reference))?;
                }
            }
            std::fs::write(&marker, b"").map_err(ImageError::io("write", &marker))?;
        }
        self.set_house(house);
        Ok(())
    }

    /// Waits until nobody else changes what a name means, here and in the house.
    pub(crate) async fn alone_with(&self, repository: &str, tag: &str) -> OwnedMutexGuard<()> {
        self.flights().board(&format!("tag {repository}:{tag}")).await
    }

    /// What a name means from now on is told to everybody, by whoever is alone with it. It is not read from
    /// the disk, for others may follow the house there.
    pub(crate) async fn tell(
        &self,
        repository: &str,
        tag: &str,
        meaning: Option<&Digest>,
    ) -> Result<(), ImageError> {
        let Some(house) = self.house() else { return Ok(()) };
        let name = format!("{repository}:{tag}");
        let told = match meaning {
            Some(digest) => house.name(&self.summary(name.clone(), repository, digest.clone())?).await,
            None => house.forget(&name).await,
        };
        told.map_err(|error| error.of_house(&name))
    }

    /// Whatever of the house was called by `digest` within a repository is called so no more.
    pub(crate) async fn untell(&self, repository: &str, digest: &Digest) -> Result<(), ImageError> {
        let Some(house) = self.house() else { return Ok(()) };
        let of_it = |image: &ImageSummary| {
            image.digest == *digest
                && image.reference.rsplit_once(':').is_some_and(|(name, _)| name == repository)
        };
        for image in names(&*house).await?.iter().filter(|image| of_it(image)) {
            house.forget(&image.reference).await.map_err(|error| error.of_house(&image.reference))?;
        }
        Ok(())
    }

    /// Makes a tag mean here what it means in the house, and has all of it here.
    pub(crate) async fn settle_tag(&self, repository: &str, tag: &str) -> Result<(), ImageError> {
        let Some(house) = self.house() else { return Ok(()) };
        let name = format!("{repository}:{tag}");
        let here = self.tags().get(repository, tag)?;
        let meaning = house.meaning(&name).await.map_err(|error| error.of_house(&name))?;
        if here == meaning {
            return Ok(());
        }
        if let Some(digest) = &meaning {
            self.settle_digest(repository, digest).await.map_err(|error| unknown(error, &name))?;
        }
        let _alone = self.alone_with(repository, tag).await;
        if house.meaning(&name).await.map_err(|error| error.of_house(&name))? != meaning {
            // Somebody set it meanwhile, and settled it here.
            return Ok(());
        }
        let Some(digest) = meaning else { return self.tags().remove(repository, tag).map(drop) };
        let _committing = self.committing().read().unwrap_or_else(PoisonError::into_inner);
        self.tags().put(repository, tag, &digest)
    }

    /// Has a manifest of a repository here, and all that it needs, if some store of the house has it.
    pub(crate) async fn settle_digest(&self, repository: &str, digest: &Digest) -> Result<(), ImageError> {
        let Some(house) = self.house() else { return Ok(()) };
        if self.tags().record(repository, digest)?.is_some() && self.holds(digest)? {
            return Ok(());
        }
        let _alone = self.flights().board(&format!("tree {repository} {digest}")).await;
        let image = ImageRef { reference: repository.to_owned(), digest: digest.clone() };
        let others = house.others(repository);
        let fetched = async {
            // Even if its bytes are here: they may be another repository's, and then they say nothing here.
            upstream::manifest(&*others, &image, self.blobs()).await?;
            self.fetch_tree(&*others, repository, &image, DEPTH, &mut HashSet::new()).await
        };
        fetched.await.map_err(|error| unknown(error, &format!("{repository}@{digest}")))
    }

    /// Fetches a manifest and what it needs, the parts first: whoever sees the manifest sees all of it.
    async fn fetch_tree(
        &self,
        others: &dyn Upstream,
        repository: &str,
        image: &ImageRef,
        depth: u8,
        seen: &mut HashSet<Digest>,
    ) -> Result<(), ImageError> {
        if !seen.insert(image.digest.clone()) {
            return Ok(());
        }
        let wrong = |reason| ImageError::Manifest { digest: image.digest.clone(), reason };
        if !self.holds(&image.digest)? {
            upstream::manifest(others, image, self.blobs()).await?;
        }
        let bytes = self.part(&image.reference, &image.digest)?;
        let (manifest, _) = Manifest::parse(&bytes, None).map_err(wrong)?;
        for part in manifest.needs() {
            let digest = digest_of(part).map_err(wrong)?;
            match &manifest {
                Manifest::Index(_) if depth == 0 => {
                    return Err(wrong("indexes are nested too deeply".into()));
                }
                Manifest::Index(_) if Manifest::is_kind(part) => {
                    let entry = ImageRef { reference: image.reference.clone(), digest };
                    Box::pin(self.fetch_tree(others, repository, &entry, depth - 1, seen)).await?;
                }
                Manifest::Index(_) | Manifest::Image(_) => {
                    let _alone = self.flights().board(&format!("blob {digest}")).await;
                    if !self.holds(&digest)? {
                        upstream::blob(others, image, &digest, part.size(), self.blobs()).await?;
                    }
                }
            }
        }
        let _committing = self.committing().read().unwrap_or_else(PoisonError::into_inner);
        self.accept(repository, &image.digest, &bytes, None)
    }

    /// As [`ImageStore::resolve`] and its like need it: what a reference of the house means is here.
    pub(crate) async fn settle(&self, reference: &Reference) -> Result<(), ImageError> {
        if reference.host().is_some() {
            return Ok(());
        }
        match reference.digest() {
            Some(digest) => self.settle_digest(&reference.name(), digest).await,
            None => self.settle_tag(&reference.name(), reference.tag()).await,
        }
    }

    /// Every image of the house: those of every store, and what is here beside it.
    ///
    /// # Errors
    /// When the house cannot be asked.
    pub async fn list_all(&self) -> Result<Vec<ImageSummary>, ImageError> {
        let store = self.clone();
        let mut all = crate::files::blocking(move || store.list()).await?;
        let Some(house) = self.house() else { return Ok(all) };
        all.retain(|image| !is_ours(&image.reference));
        all.extend(names(&*house).await?);
        all.sort_by(|one, other| one.reference.cmp(&other.reference));
        Ok(all)
    }

    /// Shows an image of the house: see [`ImageStore::inspect`].
    ///
    /// # Errors
    /// As there; and when it cannot be fetched from where it is.
    pub async fn inspect_any(&self, reference: &str) -> Result<crate::Inspected, ImageError> {
        self.settle(&reference.parse()?).await?;
        let (store, text) = (self.clone(), reference.to_owned());
        crate::files::blocking(move || store.inspect(&text)).await
    }

    /// Removes an image from the house: see [`ImageStore::remove`].
    ///
    /// # Errors
    /// As there.
    pub async fn remove_everywhere(&self, reference: &str) -> Result<(), ImageError> {
        let parsed: Reference = reference.parse()?;
        if self.house().is_none() || parsed.host().is_some() {
            return self.remove(reference);
        }
        self.settle(&parsed).await?;
        if let Some(digest) = parsed.digest() {
            self.remove(reference)?;
            return self.untell(&parsed.name(), digest).await;
        }
        let _alone = self.alone_with(&parsed.name(), parsed.tag()).await;
        self.remove(reference)?;
        self.tell(&parsed.name(), parsed.tag(), None).await
    }

    /// Forgets tags that mean something else in the house by now, so that a collection finds what they kept.
    ///
    /// # Errors
    /// When the house cannot be asked: then everything stays.
    pub async fn follow_house(&self) -> Result<(), ImageError> {
        let Some(house) = self.house() else { return Ok(()) };
        let known = names(&*house).await?;
        for image in self.list()?.into_iter().filter(|image| is_ours(&image.reference)) {
            let same = |it: &ImageSummary| it.reference == image.reference && it.digest == image.digest;
            if let Some((repository, tag)) = image.reference.rsplit_once(':')
                && !image.reference.contains('@')
                && !known.iter().any(same)
            {
                self.follow_tag(&*house, repository, tag).await?;
            }
        }
        Ok(())
    }

    /// Forgets a tag if the house says so still, once nobody sets it any more: what was listed before may
    /// have been set since.
    async fn follow_tag(&self, house: &dyn House, repository: &str, tag: &str) -> Result<(), ImageError> {
        let _alone = self.alone_with(repository, tag).await;
        let name = format!("{repository}:{tag}");
        let meaning = house.meaning(&name).await.map_err(|error| error.of_house(&name))?;
        if self.tags().get(repository, tag)? != meaning {
            self.tags().remove(repository, tag)?;
        }
        Ok(())
    }

    /// The manifest of a repository, for another store of the house.
    ///
    /// # Errors
    /// When this store does not show it there.
    pub fn lend_manifest(&self, repository: &str, digest: &Digest) -> Result<Vec<u8>, ImageError> {
        match self.tags().record(repository, digest)? {
            Some(_) => self.part(repository, digest),
            None => Err(ImageError::Unknown(format!("{repository}@{digest}"))),
        }
    }
}

async fn names(house: &dyn House) -> Result<Vec<ImageSummary>, ImageError> {
    house.names().await.map_err(|error| error.of_house("every image"))
}

/// What no store of the house has is not there.
fn unknown(error: ImageError, name: &str) -> ImageError {
    match error {
        ImageError::RemoteUnknown { .. } | ImageError::Unknown(_) => ImageError::Unknown(name.to_owned()),
        other => other,
    }
}

/// Whether a name is the house's own.
fn is_ours(reference: &str) -> bool {
    !reference.contains('@') && reference.parse::<Reference>().is_ok_and(|it| it.host().is_none())
}
