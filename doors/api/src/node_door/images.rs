//! Images for nodes: by digest, those of the node's own instances and no others. What is not here yet is
//! fetched from its own registry first, so that a node needs no way to it.

use super::{Door, guard::Caller};
use crate::{
    error::{Answer, Failure},
    params::{FromParams, Keys, Params},
};
use axum::{
    body::Body,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use freehold_image::ImageError;
use freehold_model::{Code, Digest, ImageRef, NodeId, Problem};

/// From which byte on.
pub(super) struct From(u64);

impl FromParams for From {
    fn from_params(keys: &mut Keys) -> Self {
        From(keys.number("from", 0..=u64::MAX).unwrap_or(0))
    }
}

/// The manifest of an image. Every part of it is here once this is answered.
pub(super) async fn manifest(
    State(door): State<Door>,
    Caller(node): Caller,
    Path(digest): Path<String>,
) -> Answer<Response> {
    let image = own(&door, node, &digest).await?;
    door.images.ensure(&image).await.map_err(|error| failure(&error))?;
    Ok(door.images.offer_manifest(&image).map_err(|error| failure(&error))?.into_response())
}

/// A blob of an image.
pub(super) async fn blob(
    State(door): State<Door>,
    Caller(node): Caller,
    Path((digest, blob)): Path<(String, String)>,
    Params(From(from)): Params<From>,
) -> Answer<Response> {
    let image = own(&door, node, &digest).await?;
    let bytes = door.images.offer_blob(&image, &parse(&blob)?, from).await;
    Ok(Body::from_stream(bytes.map_err(|error| failure(&error))?).into_response())
}

async fn own(door: &Door, node: NodeId, digest: &str) -> Answer<ImageRef> {
    Ok(door.hall.image(node, &parse(digest)?).await?)
}

fn parse(digest: &str) -> Answer<Digest> {
    digest.parse().map_err(|_| {
        let detail = format!("`{}`: is not `sha256:` and 64 hex digits", crate::extract::excerpt(digest));
        Problem::new(Code::Invalid, "The path has no proper digest.").detail(detail).into()
    })
}

fn failure(error: &ImageError) -> Failure {
    Failure(error.problem())
}
