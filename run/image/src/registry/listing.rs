//! Lists: tags, repositories, and what is attached to a manifest (distribution spec 1.1, "Content
//! Discovery", "Listing Referrers").

use super::errors::Fault;
use crate::{
    ImageStore,
    manifest::{Manifest, OCI_INDEX},
    reference::is_repository,
};
use axum::{
    Json,
    extract::Query,
    http::{HeaderName, HeaderValue, Uri, header},
    response::{IntoResponse, Response},
};
use freehold_model::Digest;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Paging {
    n: Option<usize>,
    last: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Filter {
    artifact_type: Option<String>,
}

pub(super) fn tags(store: &ImageStore, name: &str, uri: &Uri) -> Result<Response, Fault> {
    if !store.tags().exists(name) {
        return Err(Fault::name_unknown(name));
    }
    let (tags, next) = page(store.tags().of(name)?, uri)?;
    Ok(with_link(json!({"name": name, "tags": tags}), uri, next))
}

pub(super) fn catalog(store: &ImageStore, uri: &Uri) -> Result<Response, Fault> {
    let mut names = store.tags().repositories()?;
    // Images of registries on a port are kept under names that no path of this API can have.
    names.retain(|name| is_repository(name));
    let (repositories, next) = page(names, uri)?;
    Ok(with_link(json!({"repositories": repositories}), uri, next))
}

/// Where the next page begins: how many names were asked for, and the last of them.
type Next = Option<(usize, String)>;

/// The part of a sorted list that was asked for, and where the next begins if there is more.
fn page(names: Vec<String>, uri: &Uri) -> Result<(Vec<String>, Next), Fault> {
    let Query(paging) = Query::<Paging>::try_from_uri(uri).map_err(|e| Fault::query(e.to_string()))?;
    let after = |name: &String| paging.last.as_ref().is_none_or(|last| name > last);
    let mut names: Vec<String> = names.into_iter().filter(after).collect();
    let Some(n) = paging.n.filter(|n| *n < names.len()) else { return Ok((names, None)) };
    names.truncate(n);
    let next = names.last().map(|last| (n, last.clone()));
    Ok((names, next))
}

fn with_link(body: Value, uri: &Uri, next: Next) -> Response {
    let mut response = Json(body).into_response();
    // Tags and names need no escaping in a query.
    let link = next.map(|(n, last)| format!("<{}?n={n}&last={last}>; rel=\"next\"", uri.path()));
    if let Some(link) = link.and_then(|link| HeaderValue::from_str(&link).ok()) {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

/// An index of the manifests whose subject is `subject`; an empty one when there are none.
pub(super) fn referrers(
    store: &ImageStore,
    name: &str,
    subject: &Digest,
    uri: &Uri,
) -> Result<Response, Fault> {
    let Query(filter) = Query::<Filter>::try_from_uri(uri).map_err(|e| Fault::query(e.to_string()))?;
    let mut found = Vec::new();
    for digest in store.tags().manifests(name)? {
        let Some(record) = store.tags().record(name, &digest)? else { continue };
        if record.subject.as_ref() == Some(subject)
            && let Some(bytes) = store.blobs().read(&digest)?
        {
            found.push(describe(&digest, record.media_type, &bytes));
        }
    }
    if let Some(wanted) = &filter.artifact_type {
        found.retain(|entry| entry["artifactType"] == **wanted);
    }
    let body = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found});
    let mut response = ([(header::CONTENT_TYPE, OCI_INDEX)], body.to_string()).into_response();
    if filter.artifact_type.is_some() {
        let applied = HeaderName::from_static("oci-filters-applied");
        response.headers_mut().insert(applied, HeaderValue::from_static("artifactType"));
    }
    Ok(response)
}

fn describe(digest: &Digest, media_type: String, bytes: &[u8]) -> Value {
    let mut entry = json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
    if let Ok((manifest, _)) = Manifest::parse(bytes, None) {
        let (kind, annotations) = match &manifest {
            Manifest::Image(image) => {
                let kind = image.artifact_type().as_ref().unwrap_or(image.config().media_type());
                (Some(kind.to_string()), image.annotations())
            }
            Manifest::Index(index) => {
                (index.artifact_type().as_ref().map(ToString::to_string), index.annotations())
            }
        };
        if let Some(kind) = kind {
            entry["artifactType"] = kind.into();
        }
        if let Some(annotations) = annotations {
            entry["annotations"] = json!(annotations);
        }
    }
    entry
}
