//! Manifests by tag and by digest (distribution spec 1.1, "Pulling manifests", "Pushing Manifests").

use super::{CONTENT_DIGEST, Which, errors::Fault};
use crate::{
    ImageError, ImageStore,
    files::blocking,
    manifest::{MANIFEST_LIMIT, Manifest, digest_of},
    recent::Thing,
};
use axum::{
    body::Body,
    extract::Request,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use freehold_model::Digest;
use std::{collections::HashSet, sync::PoisonError};

pub(super) fn get(store: &ImageStore, name: &str, which: &Which, accept: &Accept) -> Result<Response, Fault> {
    let unknown = || Fault::manifest_unknown(name, which.text());
    let digest = match which {
        Which::Digest(digest) => digest.clone(),
        Which::Tag(tag) => store.tags().get(name, tag)?.ok_or_else(unknown)?,
    };
    store.recent().touch(Thing::Blob(digest.clone()));
    let record = store.tags().record(name, &digest)?.ok_or_else(unknown)?;
    if !accept.allows(&record.media_type) {
        return Err(Fault::not_acceptable(which.text(), &record.media_type));
    }
    let bytes = store.blobs().read_sound(&digest)?.ok_or_else(unknown)?;
    let headers = [
        (header::CONTENT_TYPE, record.media_type),
        (header::CONTENT_LENGTH, bytes.len().to_string()),
        (header::ETAG, format!("\"{digest}\"")),
        (CONTENT_DIGEST, digest.to_string()),
    ];
    Ok((headers, Body::from(bytes)).into_response())
}

/// Has here what the house shows there. What none of its stores has is unknown here as well.
pub(super) async fn settle(store: &ImageStore, name: &str, which: &Which) -> Result<(), Fault> {
    let settled = match which {
        Which::Tag(tag) => store.settle_tag(name, tag).await,
        Which::Digest(digest) => store.settle_digest(name, digest).await,
    };
    match settled {
        Err(ImageError::Unknown(_)) => Err(Fault::manifest_unknown(name, which.text())),
        settled => Ok(settled?),
    }
}

pub(super) async fn put(
    store: &ImageStore,
    name: &str,
    which: Which,
    request: Request,
) -> Result<Response, Fault> {
    let media_type = media_type(&request);
    let bytes = body(request).await?;
    let digest = Digest::of(&bytes);
    if let Which::Digest(expected) = &which
        && *expected != digest
    {
        return Err(Fault::digest(format!("the manifest is {digest}, not {expected}")));
    }
    let invalid = |reason| Fault::manifest_invalid(StatusCode::BAD_REQUEST, reason);
    let (manifest, _) = Manifest::parse(&bytes, media_type.as_deref()).map_err(invalid)?;
    let subject = manifest.subject().map(|subject| subject.digest().to_string());
    let location = format!("/v2/{name}/manifests/{}", which.text());
    let (store, name, accepted) = (store.clone(), name.to_owned(), digest.clone());
    let named = match &which {
        // Held until the house knows it: a reader of the name meanwhile sees all of it or nothing.
        Which::Tag(tag) => {
            let alone = store.alone_with(&name, tag).await;
            Some((store.clone(), name.clone(), tag.clone(), alone))
        }
        Which::Digest(_) => None,
    };
    blocking(move || {
        let _committing = store.committing().read().unwrap_or_else(PoisonError::into_inner);
        check_parts(&store, &name, &manifest)?;
        store.recent().touch(Thing::Blob(accepted.clone()));
        store.blobs().write(&bytes)?;
        store.accept(&name, &accepted, &bytes, media_type.as_deref())?;
        match which {
            Which::Tag(tag) => Ok::<(), Fault>(store.tags().put(&name, &tag, &accepted)?),
            Which::Digest(_) => Ok(()),
        }
    })
    .await?;
    if let Some((store, name, tag, _alone)) = named {
        store.tell(&name, &tag, Some(&digest)).await?;
    }
    let headers = [(header::LOCATION, location), (CONTENT_DIGEST, digest.to_string())];
    let mut response = (StatusCode::CREATED, headers).into_response();
    if let Some(subject) = subject.and_then(|subject| subject.parse().ok()) {
        response.headers_mut().insert(header::HeaderName::from_static("oci-subject"), subject);
    }
    Ok(response)
}

/// What a manifest needs must be in its repository before it.
fn check_parts(store: &ImageStore, name: &str, manifest: &Manifest) -> Result<(), Fault> {
    let (mut looked_at, mut touched) = (HashSet::new(), HashSet::new());
    for part in manifest.needs() {
        let invalid = |reason| Fault::manifest_invalid(StatusCode::BAD_REQUEST, reason);
        let is_kind = Manifest::is_kind(part);
        let part = digest_of(part).map_err(invalid)?;
        if !looked_at.insert((part.clone(), is_kind)) {
            continue;
        }
        let there = match manifest {
            Manifest::Image(_) => store.shows(name, &part)?,
            Manifest::Index(_) if store.tags().record(name, &part)?.is_some() => {
                // All of it: what a collection that has begun already holds for unneeded is needed now.
                store.touch_tree(&part, &mut touched)?;
                store.holds(&part)?
            }
            Manifest::Index(_) => !is_kind && store.shows(name, &part)?,
        };
        if !there {
            return Err(Fault::manifest_blob_unknown(part.as_str()));
        }
    }
    Ok(())
}

pub(super) fn delete(store: &ImageStore, name: &str, which: &Which) -> Result<Response, Fault> {
    let removed = match which {
        Which::Tag(tag) => store.tags().remove(name, tag)?,
        Which::Digest(digest) => store.tags().remove_record(name, digest)?,
    };
    if removed {
        Ok(StatusCode::ACCEPTED.into_response())
    } else {
        Err(Fault::manifest_unknown(name, which.text()))
    }
}

/// What kinds of manifest a client says that it understands (RFC 9110, 12.5.1).
pub(super) struct Accept(Vec<String>);

impl Accept {
    pub(super) fn of(request: &Request) -> Accept {
        let values = request.headers().get_all(header::ACCEPT).into_iter();
        let ranges = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        // `q=0` would say "not this one": no client of registries does.
        let kinds =
            ranges.map(|range| range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        Accept(kinds.filter(|kind| !kind.is_empty()).collect())
    }

    /// Whether it takes `media_type`; a client that says nothing takes everything.
    fn allows(&self, media_type: &str) -> bool {
        let fits = |range: &String| match range.strip_suffix('*') {
            Some("*/") => true,
            Some(major) => media_type.starts_with(major),
            None => range == media_type || range == "application/json",
        };
        self.0.is_empty() || self.0.iter().any(fits)
    }
}

fn media_type(request: &Request) -> Option<String> {
    let value = request.headers().get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_owned())
}

async fn body(request: Request) -> Result<bytes::Bytes, Fault> {
    axum::body::to_bytes(request.into_body(), MANIFEST_LIMIT).await.map_err(|e| {
        let reason = format!("no manifest of at most {MANIFEST_LIMIT} bytes came: {e}");
        Fault::manifest_invalid(StatusCode::PAYLOAD_TOO_LARGE, reason)
    })
}

impl Which {
    fn text(&self) -> &str {
        match self {
            Which::Tag(tag) => tag,
            Which::Digest(digest) => digest.as_str(),
        }
    }
}
