//! Pushes an image from a file or folder to a registry: the client's side of the distribution spec.
//!
//! Called by the command line. A blob that the registry has already is not sent again.

use crate::{
    ImageError, Reference,
    archive::Archive,
    build::BASE_NAME,
    files::blocking,
    manifest::{Manifest, digest_of},
    reference::{is_repository, is_tag},
    remote::{ensure_tls, is_this_machine, with_causes},
};
use freehold_model::Digest;
use oci_spec::image::Descriptor;
use reqwest::{Body, Method, RequestBuilder, Response, StatusCode, Url, header};
use serde_json::Value;
use std::{path::Path, sync::Arc};
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

/// How far a push or a download is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// A blob begins: its digest and its bytes.
    Begin(Digest, u64),
    /// More bytes of the blob are on their way.
    Bytes(u64),
    /// The blob is over there; `true` when it was there before.
    Done(Digest, bool),
}

/// Hears about progress, from any thread.
pub type OnProgress = Arc<dyn Fn(Progress) + Send + Sync>;

/// Pushes the image at `source` (an OCI layout folder, an OCI archive or a `docker save` archive) to the
/// registry at `registry_url` (`http://127.0.0.1:7117`) as `reference` (`NAME:TAG`).
///
/// # Errors
/// `source` is no image; `reference` is no name and tag; the registry refuses or cannot be reached.
pub async fn push_layout(
    source: &Path,
    registry_url: &str,
    token: Option<&str>,
    reference: &str,
    progress: OnProgress,
) -> Result<Digest, ImageError> {
    let (name, tag) = split(reference)?;
    let path = source.to_owned();
    let archive = blocking(move || Archive::open(&path)).await?;
    let registry = Registry::new(registry_url, token)?;
    let push = Push { registry, archive, name, progress };
    let (bytes, media_type) = push.archive.top.clone();
    push.tree(&bytes, &media_type, &tag, 0).await
}

/// `NAME[:TAG]`, without a host: the registry is given by its URL.
pub(crate) fn split(reference: &str) -> Result<(String, String), ImageError> {
    let (name, tag) = reference.split_once(':').unwrap_or((reference, "latest"));
    if is_repository(name) && is_tag(tag) {
        return Ok((name.to_owned(), tag.to_owned()));
    }
    Err(ImageError::Reference {
        text: reference.to_owned(),
        reason: "here it must be NAME:TAG, in small letters",
    })
}

struct Push {
    registry: Registry,
    archive: Archive,
    name: String,
    progress: OnProgress,
}

impl Push {
    /// Pushes what a manifest needs, then the manifest itself, as `target` (a tag or a digest).
    async fn tree(
        &self,
        bytes: &[u8],
        media_type: &str,
        target: &str,
        depth: u8,
    ) -> Result<Digest, ImageError> {
        let digest = Digest::of(bytes);
        let wrong = |reason| ImageError::Manifest { digest: digest.clone(), reason };
        let (manifest, media_type) = Manifest::parse(bytes, Some(media_type)).map_err(wrong)?;
        for part in manifest.needs() {
            let wanted = digest_of(part).map_err(wrong)?;
            match manifest {
                Manifest::Image(ref image) => {
                    let base = image.annotations().as_ref().and_then(|all| all.get(BASE_NAME));
                    self.blob(part, &wanted, base.map(String::as_str)).await?;
                }
                Manifest::Index(_) if depth > 3 => return Err(wrong("indexes are nested too deeply".into())),
                Manifest::Index(_) => {
                    let child = self.archive.read(&wanted)?.ok_or_else(|| self.missing(&wanted))?;
                    let child_type = part.media_type().to_string();
                    Box::pin(self.tree(&child, &child_type, wanted.as_str(), depth + 1)).await?;
                }
            }
        }
        let url = self.registry.url(&format!("/v2/{}/manifests/{target}", self.name))?;
        let request = self.registry.request(Method::PUT, url.clone());
        let request = request.header(header::CONTENT_TYPE, media_type).body(bytes.to_vec());
        send(request, &url, &[StatusCode::CREATED]).await?;
        Ok(digest)
    }

    /// Pushes a blob; one that is not in the archive must be over there, in the base that it came from.
    async fn blob(
        &self,
        descriptor: &Descriptor,
        digest: &Digest,
        base: Option<&str>,
    ) -> Result<(), ImageError> {
        (self.progress)(Progress::Begin(digest.clone(), descriptor.size()));
        let url = self.registry.url(&format!("/v2/{}/blobs/{digest}", self.name))?;
        let head = self.registry.request(Method::HEAD, url.clone());
        let there =
            send(head, &url, &[StatusCode::OK, StatusCode::NOT_FOUND]).await?.status() == StatusCode::OK;
        if !there && !self.mount(digest, base).await? {
            self.upload(digest).await?;
        }
        (self.progress)(Progress::Done(digest.clone(), there));
        Ok(())
    }

    /// Has the registry take a blob from the repository of the image's base (distribution spec 1.1,
    /// "Mounting a blob from another repository"); whether it did.
    async fn mount(&self, digest: &Digest, base: Option<&str>) -> Result<bool, ImageError> {
        let Some(base) = base.and_then(|base| base.parse::<Reference>().ok()) else { return Ok(false) };
        if self.archive.blob(digest)?.is_some() {
            return Ok(false);
        }
        let mut url = self.registry.url(&format!("/v2/{}/blobs/uploads/", self.name))?;
        url.query_pairs_mut().append_pair("mount", digest.as_str()).append_pair("from", &base.name());
        let request = self.registry.request(Method::POST, url.clone()).header(header::CONTENT_LENGTH, 0);
        let answer = send(request, &url, &[StatusCode::CREATED, StatusCode::ACCEPTED]).await?;
        Ok(answer.status() == StatusCode::CREATED)
    }

    async fn upload(&self, digest: &Digest) -> Result<(), ImageError> {
        let (file, length) = self.archive.blob(digest)?.ok_or_else(|| self.missing(digest))?;
        let url = self.registry.url(&format!("/v2/{}/blobs/uploads/", self.name))?;
        let begin = self.registry.request(Method::POST, url.clone()).header(header::CONTENT_LENGTH, 0);
        let begun = send(begin, &url, &[StatusCode::ACCEPTED]).await?;
        let mut place = location(&begun, &url)?;
        place.query_pairs_mut().append_pair("digest", digest.as_str());
        let progress = self.progress.clone();
        let pieces = ReaderStream::with_capacity(tokio::fs::File::from_std(file).take(length), 1 << 16);
        let pieces = futures::StreamExt::inspect(pieces, move |piece| {
            if let Ok(piece) = piece {
                progress(Progress::Bytes(piece.len() as u64));
            }
        });
        let request = self
            .registry
            .request(Method::PUT, place.clone())
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::CONTENT_LENGTH, length)
            .body(Body::wrap_stream(pieces));
        send(request, &place, &[StatusCode::CREATED]).await.map(drop)
    }

    fn missing(&self, digest: &Digest) -> ImageError {
        ImageError::Incomplete { reference: self.name.clone(), digest: digest.clone() }
    }
}

/// A registry at a URL, with a token.
pub(crate) struct Registry {
    base: Url,
    token: Option<String>,
    client: reqwest::Client,
}

impl Registry {
    pub(crate) fn new(url: &str, token: Option<&str>) -> Result<Registry, ImageError> {
        ensure_tls();
        let wrong = |reason: String| ImageError::Transfer { url: url.to_owned(), reason, status: None };
        let base = Url::parse(url).map_err(|e| wrong(format!("it is not a URL: {e}")))?;
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("freehold/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(std::time::Duration::from_secs(10));
        if base.host_str().is_some_and(is_this_machine) {
            // A proxy that the environment names is for the way out, and must not see the token.
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|e| wrong(with_causes(&e)))?;
        Ok(Registry { base, token: token.map(str::to_owned), client })
    }

    pub(crate) fn url(&self, path: &str) -> Result<Url, ImageError> {
        self.base.join(path).map_err(|e| ImageError::Transfer {
            url: format!("{}{path}", self.base),
            reason: e.to_string(),
            status: None,
        })
    }

    /// A request. The token goes to the registry alone, wherever it may point us.
    pub(crate) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let own = url.origin() == self.base.origin();
        let request = self.client.request(method, url);
        match &self.token {
            Some(token) if own => request.bearer_auth(token),
            _ => request,
        }
    }
}

fn location(response: &Response, url: &Url) -> Result<Url, ImageError> {
    let header = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    header.and_then(|location| url.join(location).ok()).ok_or_else(|| ImageError::Transfer {
        url: url.to_string(),
        reason: "the registry did not say where to send the bytes".into(),
        status: None,
    })
}

/// Sends a request; an answer that is not `good` is an error with what the registry said.
pub(crate) async fn send(
    request: RequestBuilder,
    url: &Url,
    good: &[StatusCode],
) -> Result<Response, ImageError> {
    let failed = |reason, status| ImageError::Transfer { url: url.to_string(), reason, status };
    let response = request.send().await.map_err(|e| failed(with_causes(&e.without_url()), None))?;
    let status = response.status();
    if good.contains(&status) {
        return Ok(response);
    }
    let said = response.text().await.unwrap_or_default();
    Err(failed(format!("the registry answered {status}{}", words(&said)), Some(status.as_u16())))
}

/// What a registry says of a failure: its messages (OCI distribution 1.1, "Error Codes"), or else the
/// beginning of whatever it sent.
fn words(said: &str) -> String {
    let parsed: Value = serde_json::from_str(said).unwrap_or_default();
    let messages = parsed["errors"].as_array().into_iter().flatten();
    let messages: Vec<&str> = messages.filter_map(|error| error["message"].as_str()).collect();
    let text = if messages.is_empty() { said.trim().to_owned() } else { messages.join("; ") };
    let text: String = text.chars().take(500).collect();
    if text.is_empty() { text } else { format!(": {text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_quoted_in_its_own_words() {
        let said = r#"{"errors":[{"code":"X","message":"no room"},{"code":"Y","message":"none at all"}]}"#;
        assert_eq!(words(said), ": no room; none at all");
        assert_eq!(words("<html>oh</html>\n"), ": <html>oh</html>");
        assert_eq!(words(""), "");
    }
}
