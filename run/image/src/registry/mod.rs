//! The built-in registry: the OCI distribution specification 1.1 under `/v2/`.
//!
//! Authentication is the caller's, put around this router. Every name in a path is checked against the
//! grammar before anything touches the disk; only manifests are ever held in memory.

mod blobs;
mod errors;
mod listing;
mod manifests;
mod uploads;

use crate::{
    ImageStore,
    files::blocking,
    reference::{is_repository, is_tag},
};
use axum::{
    Router,
    extract::{Request, State},
    http::{Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::any,
};
use errors::Fault;
use freehold_model::Digest;
pub use uploads::Pusher;
pub(crate) use uploads::Uploads;

/// The routes, for `store`.
pub(crate) fn router(store: ImageStore) -> Router {
    Router::new()
        .route("/v2", any(serve))
        .route("/v2/", any(serve))
        .route("/v2/{*path}", any(serve))
        .with_state(store)
}

/// What a path is about. Repositories contain slashes, so the path is read from its end.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    Base,
    Catalog,
    Tags { name: &'a str },
    Manifest { name: &'a str, reference: &'a str },
    Blob { name: &'a str, digest: &'a str },
    Uploads { name: &'a str },
    Upload { name: &'a str, id: &'a str },
    Referrers { name: &'a str, digest: &'a str },
}

/// A manifest by tag or by digest.
#[derive(Clone)]
enum Which {
    Tag(String),
    Digest(Digest),
}

fn place(path: &str) -> Option<Place<'_>> {
    let path = path.strip_prefix("/v2").unwrap_or(path).trim_start_matches('/');
    if path.is_empty() {
        return Some(Place::Base);
    }
    if path == "_catalog" {
        return Some(Place::Catalog);
    }
    if let Some(name) = path.strip_suffix("/tags/list") {
        return Some(Place::Tags { name });
    }
    if let Some(name) = path.strip_suffix("/blobs/uploads").or_else(|| path.strip_suffix("/blobs/uploads/")) {
        return Some(Place::Uploads { name });
    }
    let (rest, last) = path.rsplit_once('/')?;
    if let Some(name) = rest.strip_suffix("/blobs/uploads") {
        return Some(Place::Upload { name, id: last });
    }
    let (name, collection) = rest.rsplit_once('/')?;
    match collection {
        "manifests" => Some(Place::Manifest { name, reference: last }),
        "blobs" => Some(Place::Blob { name, digest: last }),
        "referrers" => Some(Place::Referrers { name, digest: last }),
        _ => None,
    }
}

/// What a request's path is about, for those who decide whether its sender may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressed<'a> {
    /// The registry itself, or nothing that it has.
    Nothing,
    /// Every repository.
    All,
    /// One repository.
    Repository(&'a str),
}

/// What `path` is about; the very reading that the handlers go by.
pub fn addressed(path: &str) -> Addressed<'_> {
    match place(path) {
        None | Some(Place::Base) => Addressed::Nothing,
        Some(Place::Catalog) => Addressed::All,
        Some(
            Place::Tags { name }
            | Place::Manifest { name, .. }
            | Place::Blob { name, .. }
            | Place::Uploads { name }
            | Place::Upload { name, .. }
            | Place::Referrers { name, .. },
        ) => Addressed::Repository(name),
    }
}

/// Reads a path and a header as requests have them, for [`crate::fuzz`].
pub(crate) fn parse(path: &str, header: &str) {
    match place(path) {
        Some(Place::Manifest { name, reference }) => drop((repository(name), which(reference))),
        Some(Place::Blob { name, digest: id } | Place::Referrers { name, digest: id }) => {
            drop((repository(name), digest(id)));
        }
        Some(Place::Tags { name } | Place::Uploads { name } | Place::Upload { name, .. }) => {
            if repository(name).is_ok() {
                let safe = !name.contains("..") && !name.starts_with(['/', '_']) && !name.contains("/_");
                assert!(safe, "`{name}` would leave its folder");
            }
        }
        Some(Place::Base | Place::Catalog) | None => {}
    }
    blobs::parse(header);
    uploads::parse(header);
}

async fn serve(State(store): State<ImageStore>, request: Request) -> Response {
    let mut response = match handle(&store, request).await {
        Ok(response) => response,
        Err(fault) => fault.into_response(),
    };
    let version = header::HeaderName::from_static("docker-distribution-api-version");
    response.headers_mut().insert(version, header::HeaderValue::from_static("registry/2.0"));
    response
}

async fn handle(store: &ImageStore, request: Request) -> Result<Response, Fault> {
    let uri = request.uri().clone();
    let path = uri.path().to_owned();
    let place = place(&path).ok_or_else(|| Fault::not_found(&path))?;
    let method = request.method().clone();
    match (place, method.as_str()) {
        (Place::Base, "GET" | "HEAD") => {
            Ok(([(header::CONTENT_TYPE, "application/json")], "{}").into_response())
        }
        (Place::Catalog, "GET") => on_disk(store, uri, listing::catalog).await,
        (Place::Tags { name }, "GET") => {
            let name = repository(name)?.to_owned();
            on_disk(store, uri, move |store, uri| listing::tags(store, &name, uri)).await
        }
        (Place::Referrers { name, digest: id }, "GET") => {
            let (name, id) = (repository(name)?.to_owned(), digest(id)?);
            on_disk(store, uri, move |store, uri| listing::referrers(store, &name, &id, uri)).await
        }
        (Place::Manifest { name, reference }, _) => {
            let (name, which) = (repository(name)?.to_owned(), which(reference)?);
            match method {
                Method::GET | Method::HEAD => {
                    let accept = manifests::Accept::of(&request);
                    manifests::settle(store, &name, &which).await?;
                    on_disk(store, uri, move |store, _| manifests::get(store, &name, &which, &accept)).await
                }
                Method::PUT => manifests::put(store, &name, which, request).await,
                Method::DELETE => {
                    manifests::settle(store, &name, &which).await?;
                    let _alone = match &which {
                        Which::Tag(tag) => Some(store.alone_with(&name, tag).await),
                        Which::Digest(_) => None,
                    };
                    let (of, removed) = (name.clone(), which.clone());
                    let answer =
                        on_disk(store, uri, move |store, _| manifests::delete(store, &of, &removed)).await?;
                    match &which {
                        Which::Tag(tag) => store.tell(&name, tag, None).await?,
                        Which::Digest(digest) => store.untell(&name, digest).await?,
                    }
                    Ok(answer)
                }
                _ => Err(Fault::method(&path)),
            }
        }
        (Place::Blob { name, digest: id }, "GET" | "HEAD") => {
            blobs::get(store, repository(name)?, &digest(id)?, request).await
        }
        (Place::Blob { name, digest: id }, "DELETE") => {
            let (name, id) = (repository(name)?.to_owned(), digest(id)?);
            on_disk(store, uri, move |store, _| blobs::delete(store, &name, &id)).await
        }
        (Place::Uploads { name }, "POST") => uploads::begin(store, repository(name)?, request).await,
        (Place::Upload { name, id }, _) => {
            let name = repository(name)?;
            match method {
                Method::GET => uploads::status(store, name, id).await,
                Method::PATCH => uploads::append(store, name, id, request).await,
                Method::PUT => uploads::finish(store, name, id, request).await,
                Method::DELETE => uploads::cancel(store, name, id),
                _ => Err(Fault::method(&path)),
            }
        }
        _ => Err(Fault::method(&path)),
    }
}

/// Answers from files, on a thread that may wait for the disk.
async fn on_disk(
    store: &ImageStore,
    uri: Uri,
    answer: impl FnOnce(&ImageStore, &Uri) -> Result<Response, Fault> + Send + 'static,
) -> Result<Response, Fault> {
    let store = store.clone();
    blocking(move || answer(&store, &uri)).await
}

fn repository(name: &str) -> Result<&str, Fault> {
    if is_repository(name) { Ok(name) } else { Err(Fault::name(name)) }
}

fn digest(text: &str) -> Result<Digest, Fault> {
    text.parse().map_err(|e: freehold_model::digest::DigestError| Fault::digest(e.to_string()))
}

fn which(reference: &str) -> Result<Which, Fault> {
    match reference.contains(':') {
        true => Ok(Which::Digest(digest(reference)?)),
        false if is_tag(reference) => Ok(Which::Tag(reference.to_owned())),
        false => Err(Fault::manifest_invalid(StatusCode::BAD_REQUEST, format!("`{reference}` is not a tag"))),
    }
}

/// A header that names a digest.
const CONTENT_DIGEST: header::HeaderName = header::HeaderName::from_static("docker-content-digest");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_from_their_end() {
        for (path, expected) in [
            ("/v2/", Some(Place::Base)),
            ("/v2/_catalog", Some(Place::Catalog)),
            ("/v2/a/tags/list", Some(Place::Tags { name: "a" })),
            ("/v2/a/b/manifests/1", Some(Place::Manifest { name: "a/b", reference: "1" })),
            ("/v2/manifests/manifests/1", Some(Place::Manifest { name: "manifests", reference: "1" })),
            ("/v2/a/blobs/sha256:0", Some(Place::Blob { name: "a", digest: "sha256:0" })),
            ("/v2/a/blobs/uploads/", Some(Place::Uploads { name: "a" })),
            ("/v2/a/blobs/uploads", Some(Place::Uploads { name: "a" })),
            ("/v2/a/blobs/uploads/x", Some(Place::Upload { name: "a", id: "x" })),
            ("/v2/a/referrers/sha256:0", Some(Place::Referrers { name: "a", digest: "sha256:0" })),
            ("/v2/a", None),
            ("/v2/a/others/1", None),
        ] {
            assert_eq!(place(path), expected, "{path}");
        }
    }
}
