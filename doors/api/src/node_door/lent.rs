//! Images that other control planes lack and this one has: by repository and digest, as it shows them itself.

use super::{Door, guard::Fellow};
use crate::{
    error::{Answer, Failure},
    params::{FromParams, Keys, Params},
    routes::images::failure,
};
use axum::{
    body::Body,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use freehold_model::{Code, Digest, Problem};

/// Where it is shown, and from which byte on it is wanted.
pub(super) struct Wanted {
    repository: String,
    from: u64,
}

impl FromParams for Wanted {
    fn from_params(keys: &mut Keys) -> Self {
        let repository = keys.required("repository", "say in which repository").unwrap_or_default();
        Wanted { repository, from: keys.number("from", 0..=u64::MAX).unwrap_or(0) }
    }
}

/// A manifest.
pub(super) async fn manifest(
    State(door): State<Door>,
    _: Fellow,
    Path(digest): Path<String>,
    Params(wanted): Params<Wanted>,
) -> Answer<Response> {
    let (images, digest) = (door.images.clone(), parse(&digest)?);
    let read = tokio::task::spawn_blocking(move || images.lend_manifest(&wanted.repository, &digest));
    let bytes = read.await.map_err(Failure::internal)?;
    Ok(bytes.map_err(|error| failure(&error))?.into_response())
}

/// A blob.
pub(super) async fn blob(
    State(door): State<Door>,
    _: Fellow,
    Path(digest): Path<String>,
    Params(wanted): Params<Wanted>,
) -> Answer<Response> {
    let bytes = door.images.lend_blob(&wanted.repository, &parse(&digest)?, wanted.from).await;
    Ok(Body::from_stream(bytes.map_err(|error| failure(&error))?).into_response())
}

fn parse(digest: &str) -> Answer<Digest> {
    digest.parse().map_err(|_| Problem::new(Code::Invalid, "The path has no proper digest.").into())
}
