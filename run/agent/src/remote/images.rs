//! Images from the control plane: by digest, with the node's certificate.

use super::link::{Link, LinkError, causes};
use async_trait::async_trait;
use freehold_image::{Pieces, Upstream, UpstreamError};
use freehold_model::Digest;
use futures::StreamExt as _;
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// The control plane may have to fetch the whole image first.
const PATIENCE: Duration = Duration::from_secs(600);
/// Bytes that stop coming for so long come no more.
const SILENCE: Duration = Duration::from_secs(30);
/// No manifest is larger.
const MANIFEST: usize = 4 << 20;

/// The control plane's images.
pub struct RemoteImages(pub Arc<Link>);

#[async_trait]
impl Upstream for RemoteImages {
    async fn manifest(&self, image: &Digest) -> Result<Vec<u8>, UpstreamError> {
        let answer = self.0.stream(&format!("v1/node/images/{image}"), PATIENCE).await.map_err(failed)?;
        let mut pieces = answer.bytes_stream();
        let mut bytes = vec![];
        while let Some(piece) = timeout(SILENCE, pieces.next()).await.map_err(|_| broken("it fell silent"))? {
            bytes.extend_from_slice(&piece.map_err(|error| broken(causes(&error)))?);
            if bytes.len() > MANIFEST {
                return Err(UpstreamError { is_final: true, reason: "its manifest is too large".into() });
            }
        }
        Ok(bytes)
    }

    async fn blob(&self, image: &Digest, blob: &Digest, from: u64) -> Result<Pieces, UpstreamError> {
        let path = format!("v1/node/images/{image}/blobs/{blob}?from={from}");
        let answer = self.0.stream(&path, SILENCE).await.map_err(failed)?;
        let pieces = futures::stream::unfold(answer.bytes_stream(), async |mut pieces| {
            let piece = match timeout(SILENCE, pieces.next()).await {
                Ok(piece) => piece?.map_err(|error| broken(causes(&error))),
                Err(_) => Err(broken("it fell silent")),
            };
            Some((piece, pieces))
        });
        Ok(pieces.boxed())
    }
}

fn failed(error: LinkError) -> UpstreamError {
    UpstreamError { is_final: matches!(error, LinkError::Refused(_)), reason: error.to_string() }
}

fn broken(reason: impl Into<String>) -> UpstreamError {
    UpstreamError { is_final: false, reason: reason.into() }
}
