//! Uploads of blobs: at once, in one piece after POST, or in chunks (distribution spec 1.1, "Pushing
//! blobs"). Bytes go to disk and through the hash as they come.
//!
//! An upload lives in this process: after a restart a client is told that it is unknown, and begins anew.

use super::{CONTENT_DIGEST, digest, errors::Fault};
use crate::{
    ImageStore, Reference,
    blobs::Unfinished,
    files::{blocking, random_name},
    recent::Thing,
};
use axum::{
    body::Body,
    extract::{Query, Request},
    http::{HeaderName, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use freehold_model::Digest;
use futures::StreamExt;
use serde::Deserialize;
use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::sync::Mutex as AsyncMutex;

/// An upload that nobody has touched for this long is given up.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);

/// Each holds a file open.
const MOST: usize = 256;
/// Those of one caller.
const EACH: usize = 64;

/// Who pushes: put into a request's extensions by whoever guards the registry, so that uploads are shared out
/// fairly.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Pusher(pub String);

const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// The uploads under way.
#[derive(Default)]
pub(crate) struct Uploads(Mutex<HashMap<String, Upload>>);

#[derive(Clone)]
struct Upload {
    repository: String,
    owner: Pusher,
    touched: Instant,
    /// Taken out when the upload ends.
    blob: Arc<AsyncMutex<Option<Unfinished>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Options {
    digest: Option<String>,
    mount: Option<String>,
    from: Option<String>,
}

impl Uploads {
    fn enter(&self, repository: &str, owner: Pusher, blob: Unfinished) -> Result<String, Fault> {
        let id = random_name();
        let upload = Upload {
            repository: repository.to_owned(),
            owner,
            touched: Instant::now(),
            blob: Arc::new(AsyncMutex::new(Some(blob))),
        };
        self.forget_abandoned();
        let mut uploads = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if uploads.values().filter(|other| other.owner == upload.owner).count() >= EACH {
            return Err(Fault::too_many_uploads(EACH));
        }
        if uploads.len() >= MOST && !make_room(&mut uploads) {
            return Err(Fault::too_many_uploads(MOST));
        }
        uploads.insert(id.clone(), upload);
        Ok(id)
    }

    fn find(&self, repository: &str, id: &str) -> Result<Upload, Fault> {
        let mut uploads = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let upload = uploads.get_mut(id).filter(|upload| upload.repository == repository);
        let upload = upload.ok_or_else(|| Fault::upload_unknown(id))?;
        upload.touched = Instant::now();
        Ok(upload.clone())
    }

    /// Gives up an upload whose file could not be written: its room is free again at once.
    fn keep_if_whole(&self, id: &str, slot: &mut Option<Unfinished>) {
        if slot.as_ref().is_some_and(Unfinished::is_torn) {
            *slot = None;
            self.forget(id);
        }
    }

    /// The repositories to which somebody uploads.
    pub(crate) fn repositories(&self) -> HashSet<String> {
        let uploads = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        uploads.values().map(|upload| upload.repository.clone()).collect()
    }

    /// Gives up what nobody has touched for long.
    pub(crate) fn forget_abandoned(&self) {
        let mut uploads = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // One that receives bytes at this moment is not abandoned, however long ago they began.
        uploads.retain(|_, upload| upload.touched.elapsed() < FORGOTTEN || upload.blob.try_lock().is_err());
    }

    fn forget(&self, id: &str) {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).remove(id);
    }
}

/// Gives up the upload that was untouched for longest of the caller with most, so that others always get in;
/// whether there was one that receives nothing at this moment.
fn make_room(uploads: &mut HashMap<String, Upload>) -> bool {
    let mut counts: HashMap<&Pusher, usize> = HashMap::new();
    for upload in uploads.values() {
        *counts.entry(&upload.owner).or_default() += 1;
    }
    let idle = uploads.iter().filter(|(_, upload)| upload.blob.try_lock().is_ok());
    let worst = idle.max_by_key(|(_, upload)| (counts[&upload.owner], Reverse(upload.touched)));
    let Some(id) = worst.map(|(id, _)| id.clone()) else { return false };
    uploads.remove(&id).is_some()
}

/// POST: mounts a blob that is here, takes one whole (`?digest=`), or opens an upload.
pub(super) async fn begin(store: &ImageStore, name: &str, request: Request) -> Result<Response, Fault> {
    let options = options(request.uri())?;
    let owner = request.extensions().get::<Pusher>().cloned().unwrap_or_default();
    // Without `from` a client would learn what repositories hold that it does not name: it uploads.
    if let (Some(mount), Some(from)) = (options.mount.as_deref(), options.from.as_deref()) {
        let mount = digest(mount)?;
        if is_source(from) && store.shows(from, &mount)? {
            link(store, name, &mount).await?;
            return Ok(created(name, &mount));
        }
    }
    let mut blob = store.blobs().begin().await?;
    if let Some(expected) = options.digest.as_deref().map(digest).transpose()? {
        receive(request.into_body(), &mut blob).await?;
        keep(store, name, blob, &expected).await?;
        return Ok(created(name, &expected));
    }
    let id = store.uploads().enter(name, owner, blob)?;
    Ok(accepted(StatusCode::ACCEPTED, name, &id, 0))
}

/// Whether a blob may be mounted from a name: a repository, also one that keeps another registry's image.
fn is_source(name: &str) -> bool {
    name.parse::<Reference>().is_ok_and(|reference| reference.digest().is_none() && reference.name() == name)
}

/// PATCH: appends a chunk. With a Content-Range it must begin where the last one ended.
pub(super) async fn append(
    store: &ImageStore,
    name: &str,
    id: &str,
    request: Request,
) -> Result<Response, Fault> {
    let upload = store.uploads().find(name, id)?;
    let mut slot = upload.blob.lock().await;
    let blob = slot.as_mut().ok_or_else(|| Fault::upload_unknown(id))?;
    if let Some(refusal) = out_of_order(&request, name, id, blob.length()) {
        return Ok(refusal);
    }
    let received = receive(request.into_body(), blob).await;
    let length = blob.length();
    store.uploads().keep_if_whole(id, &mut slot);
    received.map(|()| accepted(StatusCode::ACCEPTED, name, id, length))
}

/// PUT: takes the last bytes, if any, and gives the blob its name.
pub(super) async fn finish(
    store: &ImageStore,
    name: &str,
    id: &str,
    request: Request,
) -> Result<Response, Fault> {
    let asked = options(request.uri())?.digest.ok_or_else(|| Fault::digest("`?digest=` is missing"))?;
    let expected = digest(&asked)?;
    let upload = store.uploads().find(name, id)?;
    let mut slot = upload.blob.lock().await;
    let blob = slot.as_mut().ok_or_else(|| Fault::upload_unknown(id))?;
    if let Some(refusal) = out_of_order(&request, name, id, blob.length()) {
        return Ok(refusal);
    }
    let received = receive(request.into_body(), blob).await;
    store.uploads().keep_if_whole(id, &mut slot);
    received?;
    let blob = slot.take().ok_or_else(|| Fault::upload_unknown(id))?;
    store.uploads().forget(id);
    keep(store, name, blob, &expected).await?;
    Ok(created(name, &expected))
}

/// Gives a received blob its name and makes it part of the repository.
async fn keep(store: &ImageStore, name: &str, blob: Unfinished, digest: &Digest) -> Result<(), Fault> {
    store.recent().touch(Thing::Blob(digest.clone()));
    store.blobs().finish(blob, digest, "the blob").await?;
    link(store, name, digest).await
}

async fn link(store: &ImageStore, name: &str, digest: &Digest) -> Result<(), Fault> {
    let (store, name, digest) = (store.clone(), name.to_owned(), digest.clone());
    Ok(blocking(move || store.links().put(&name, &digest)).await?)
}

/// GET: how far an upload is.
pub(super) async fn status(store: &ImageStore, name: &str, id: &str) -> Result<Response, Fault> {
    let upload = store.uploads().find(name, id)?;
    let slot = upload.blob.lock().await;
    let length = slot.as_ref().ok_or_else(|| Fault::upload_unknown(id))?.length();
    Ok(accepted(StatusCode::NO_CONTENT, name, id, length))
}

/// DELETE: gives an upload up.
pub(super) fn cancel(store: &ImageStore, name: &str, id: &str) -> Result<Response, Fault> {
    store.uploads().find(name, id)?;
    store.uploads().forget(id);
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn options(uri: &Uri) -> Result<Options, Fault> {
    Ok(Query::try_from_uri(uri).map_err(|e| Fault::upload_invalid(e.to_string()))?.0)
}

async fn receive(body: Body, blob: &mut Unfinished) -> Result<(), Fault> {
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|e| Fault::upload_invalid(format!("the upload broke off: {e}")))?;
        blob.write(&chunk).await?;
    }
    Ok(())
}

/// The refusal of a chunk that does not begin where the upload ends.
fn out_of_order(request: &Request, name: &str, id: &str, length: u64) -> Option<Response> {
    let range = request.headers().get(header::CONTENT_RANGE)?;
    let bounds = range.to_str().ok().and_then(chunk_range);
    let declared = request.headers().get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let fits = bounds.is_some_and(|(first, last)| {
        first == length
            && last >= first
            && declared.is_none_or(|declared| declared.checked_sub(1) == Some(last - first))
    });
    if fits {
        return None;
    }
    let message = format!("the chunk must begin at byte {length} and be as long as its Content-Range says");
    let mut response = accepted(StatusCode::ACCEPTED, name, id, length);
    let refusal = Fault::range(message).into_response();
    response.headers_mut().remove(header::CONTENT_LENGTH);
    let (parts, body) = refusal.into_parts();
    *response.status_mut() = parts.status;
    response.headers_mut().extend(parts.headers);
    *response.body_mut() = body;
    Some(response)
}

/// `<first>-<last>`, as the distribution spec has it; `bytes first-last/total` as HTTP has it.
fn chunk_range(text: &str) -> Option<(u64, u64)> {
    let text = text.trim().strip_prefix("bytes").unwrap_or(text).trim_start_matches([' ', '=']);
    let (first, last) = text.split('/').next()?.split_once('-')?;
    Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
}

/// Reads a `Content-Range`, for [`crate::fuzz`].
pub(super) fn parse(header: &str) {
    chunk_range(header);
}

fn accepted(status: StatusCode, name: &str, id: &str, length: u64) -> Response {
    let headers = [
        (header::LOCATION, format!("/v2/{name}/blobs/uploads/{id}")),
        // Inclusive at both ends; the spec has no way to say "none yet" but this.
        (header::RANGE, format!("0-{}", length.saturating_sub(1))),
        (UPLOAD_ID, id.to_owned()),
    ];
    let mut response = (status, headers).into_response();
    if status != StatusCode::NO_CONTENT {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    response
}

fn created(name: &str, digest: &Digest) -> Response {
    let headers =
        [(header::LOCATION, format!("/v2/{name}/blobs/{digest}")), (CONTENT_DIGEST, digest.to_string())];
    (StatusCode::CREATED, headers).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_are_mounted_from_whatever_the_store_may_keep() {
        for good in ["app", "team/app", "docker.io/library/nginx", "127.0.0.1:5000/app"] {
            assert!(is_source(good), "{good}");
        }
        for bad in ["", "..", "../x", "/etc", "app:1", "_blobs", "a/../b", "a.b:5000/../c"] {
            assert!(!is_source(bad), "{bad}");
        }
    }

    #[test]
    fn chunk_ranges_are_read_in_both_spellings() {
        assert_eq!(chunk_range("0-9"), Some((0, 9)));
        assert_eq!(chunk_range("bytes 10-19/20"), Some((10, 19)));
        assert_eq!(chunk_range("bytes=10-19"), Some((10, 19)));
        assert_eq!(chunk_range("ten-20"), None);
    }
}
