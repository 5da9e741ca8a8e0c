//! Other registries, as a client: asked for manifests and blobs, anonymously.
//!
//! oci-client signs in and streams blobs; manifests are read here, because their size must be bounded
//! before they are in memory. A blob whose connection breaks is resumed where it stopped.
//! TLS is rustls with ring. Plain HTTP is spoken with this machine alone (`localhost`, 127.0.0.0/8,
//! `[::1]`), as docker and podman do.

use crate::{
    ImageError, Reference,
    blobs::{Blobs, Unfinished},
    manifest::{MANIFEST_LIMIT, MEDIA_TYPES},
};
use freehold_model::Digest;
use futures::StreamExt;
use oci_client::{
    Client, Reference as Remote, RegistryOperation,
    client::{BlobResponse, ClientConfig, ClientProtocol},
    errors::{OciDistributionError, OciErrorCode},
    manifest::OciDescriptor,
    secrets::RegistryAuth,
};
use reqwest::header;
use std::{
    collections::HashMap,
    sync::{Mutex, Once},
    time::Duration,
};

/// How often a blob is asked for again when nothing more of it came.
const RETRIES: u32 = 5;

/// The first wait between two attempts; it grows with the square.
const PAUSE: Duration = Duration::from_millis(250);

/// Makes ring the TLS provider of this process, unless somebody chose one.
pub(crate) fn ensure_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that a provider is installed already: then that one is used.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// Other registries by host; each client keeps its tokens.
#[derive(Default)]
pub(crate) struct Remotes(Mutex<HashMap<String, Far>>);

impl Remotes {
    /// The bytes and digest of what `reference` means over there.
    pub(crate) async fn manifest(&self, reference: &Reference) -> Result<(Vec<u8>, Digest), ImageError> {
        let (far, remote) = self.reach(reference)?;
        let token = far.client.auth(&remote, &RegistryAuth::Anonymous, RegistryOperation::Pull).await;
        let token = token.map_err(|e| failed(reference, e))?;
        let (bytes, digest) = far.manifest(reference, &remote, token).await?;
        let found = Digest::of(&bytes);
        let expected = digest.and_then(|digest| digest.parse().ok()).unwrap_or_else(|| found.clone());
        for expected in std::iter::once(&expected).chain(reference.digest()) {
            if found != *expected {
                let what = format!("the manifest of {reference}");
                return Err(ImageError::Digest { what, expected: expected.clone(), found });
            }
        }
        Ok((bytes, found))
    }

    /// Fetches a blob into `blobs`, beginning again where a broken connection left it.
    pub(crate) async fn blob(
        &self,
        reference: &Reference,
        digest: &Digest,
        size: u64,
        blobs: &Blobs,
    ) -> Result<(), ImageError> {
        let (far, remote) = self.reach(reference)?;
        // Without this a client that was made after a restart would not sign in by itself.
        far.client.store_auth_if_needed(remote.resolve_registry(), &RegistryAuth::Anonymous).await;
        let mut blob: Unfinished = blobs.begin().await?;
        let mut failures = 0;
        while blob.length() < size || size == 0 {
            let before = blob.length();
            match far.rest_of_blob(reference, &remote, digest, size, &mut blob).await {
                Ok(()) => break,
                Err(error @ ImageError::Remote { .. }) => {
                    // What still moves is worth going on with.
                    failures = if blob.length() > before { 1 } else { failures + 1 };
                    if failures > RETRIES {
                        return Err(error);
                    }
                    tracing::debug!(%error, %digest, at = blob.length(), "resuming a download");
                    tokio::time::sleep(PAUSE * (failures - 1) * (failures - 1)).await;
                }
                Err(error) => return Err(error),
            }
        }
        blobs.finish(blob, digest, &format!("a part of {reference}")).await
    }

    fn reach(&self, reference: &Reference) -> Result<(Far, Remote), ImageError> {
        let host = reference.host().unwrap_or_default().to_owned();
        let name = reference.repository().to_owned();
        let remote = match reference.digest() {
            Some(digest) => Remote::with_digest(host.clone(), name, digest.to_string()),
            None => Remote::with_tag(host.clone(), name, reference.tag().to_owned()),
        };
        let mut known = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(far) = known.get(&host) {
            return Ok((far.clone(), remote));
        }
        let far = connect(&host).map_err(|reason| broken(reference, &reason))?;
        known.insert(host, far.clone());
        Ok((far, remote))
    }
}

/// Another registry.
#[derive(Clone)]
struct Far {
    client: Client,
    /// For manifests.
    http: reqwest::Client,
    scheme: &'static str,
}

impl Far {
    /// A manifest of at most [`MANIFEST_LIMIT`] bytes, and the digest that came beside it.
    async fn manifest(
        &self,
        reference: &Reference,
        remote: &Remote,
        token: Option<String>,
    ) -> Result<(Vec<u8>, Option<String>), ImageError> {
        let which = reference.digest().map_or(reference.tag(), Digest::as_str);
        let (host, name) = (remote.resolve_registry(), reference.repository());
        let request = self.http.get(format!("{}://{host}/v2/{name}/manifests/{which}", self.scheme));
        let request = request.header(header::ACCEPT, MEDIA_TYPES.join(", "));
        let request = if let Some(token) = token { request.bearer_auth(token) } else { request };
        let response = request.send().await.map_err(|e| broken(reference, &with_causes(&e.without_url())))?;
        let status = response.status();
        match status.as_u16() {
            200 => {}
            401 | 403 | 404 => return Err(unknown(reference, format!("it answered {status}"))),
            _ => return Err(broken(reference, &format!("it answered {status}"))),
        }
        let digest = response.headers().get("docker-content-digest");
        let digest = digest.and_then(|digest| digest.to_str().ok()).map(str::to_owned);
        let (mut bytes, mut pieces) = (Vec::new(), response.bytes_stream());
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|e| broken(reference, &with_causes(&e.without_url())))?;
            if bytes.len() + piece.len() > MANIFEST_LIMIT {
                let reason = "its manifest is larger than 4 MiB, which none may be";
                return Err(unknown(reference, reason.into()));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok((bytes, digest))
    }

    /// Appends to `blob` what it lacks.
    async fn rest_of_blob(
        &self,
        reference: &Reference,
        remote: &Remote,
        digest: &Digest,
        size: u64,
        blob: &mut Unfinished,
    ) -> Result<(), ImageError> {
        let descriptor = OciDescriptor {
            digest: digest.to_string(),
            size: size.try_into().unwrap_or(i64::MAX),
            ..OciDescriptor::default()
        };
        // A part even of the whole: oci-client hashes only whole blobs, and `blob` hashes already.
        let asked = match size {
            0 => self.client.pull_blob_stream(remote, &descriptor).await.map(BlobResponse::Full),
            _ => self.client.pull_blob_stream_partial(remote, &descriptor, blob.length(), None).await,
        };
        let (mut stream, mut known) = match asked.map_err(|e| failed(reference, e))? {
            BlobResponse::Partial(stream) => (stream, 0),
            BlobResponse::Full(stream) => (stream, blob.length()),
        };
        while let Some(piece) = stream.next().await {
            let mut piece = piece.map_err(|e| broken(reference, &with_causes(&e)))?;
            let skipped = usize::try_from(known).unwrap_or(usize::MAX).min(piece.len());
            known -= skipped as u64;
            let piece = piece.split_off(skipped);
            if blob.length() + piece.len() as u64 > size {
                return Err(unknown(reference, format!("{digest} is longer than its {size} bytes")));
            }
            blob.write(&piece).await?;
        }
        if blob.length() < size {
            return Err(broken(
                reference,
                &format!("{digest} ended after {} of {size} bytes", blob.length()),
            ));
        }
        Ok(())
    }
}

fn connect(host: &str) -> Result<Far, String> {
    ensure_tls();
    let here = is_this_machine(host);
    let (connect_timeout, read_timeout) = (Duration::from_secs(10), Duration::from_secs(60));
    let user_agent = concat!("freehold/", env!("CARGO_PKG_VERSION"));
    let client = Client::try_from(ClientConfig {
        protocol: if here { ClientProtocol::Http } else { ClientProtocol::Https },
        connect_timeout: Some(connect_timeout),
        read_timeout: Some(read_timeout),
        user_agent,
        ..ClientConfig::default()
    });
    let http = reqwest::Client::builder().user_agent(user_agent);
    let http = http.connect_timeout(connect_timeout).read_timeout(read_timeout).build();
    Ok(Far {
        client: client.map_err(|e| with_causes(&e))?,
        http: http.map_err(|e| with_causes(&e))?,
        scheme: if here { "http" } else { "https" },
    })
}

/// Whether a host, with or without a port, is this machine itself.
pub(crate) fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn broken(reference: &Reference, reason: &str) -> ImageError {
    ImageError::Remote {
        registry: reference.host().unwrap_or_default().to_owned(),
        reference: reference.to_string(),
        reason: reason.to_owned(),
    }
}

/// Tells "it has none (or none for us)" from "it could not be asked": the second may pass.
fn failed(reference: &Reference, error: OciDistributionError) -> ImageError {
    let is_unknown = match &error {
        OciDistributionError::RegistryError { envelope, .. } => envelope.errors.iter().any(|error| {
            matches!(
                error.code,
                OciErrorCode::ManifestUnknown
                    | OciErrorCode::NameUnknown
                    | OciErrorCode::NameInvalid
                    | OciErrorCode::NotFound
                    | OciErrorCode::BlobUnknown
                    | OciErrorCode::Unauthorized
                    | OciErrorCode::Denied
            )
        }),
        OciDistributionError::UnauthorizedError { .. }
        | OciDistributionError::AuthenticationFailure(_)
        | OciDistributionError::ImageManifestNotFoundError(_) => true,
        OciDistributionError::ServerError { code, .. } => *code == 404,
        _ => false,
    };
    let reason = with_causes(&error);
    if is_unknown { unknown(reference, reason) } else { broken(reference, &reason) }
}

fn unknown(reference: &Reference, reason: String) -> ImageError {
    ImageError::RemoteUnknown {
        registry: reference.host().unwrap_or_default().to_owned(),
        reference: reference.to_string(),
        reason,
    }
}

/// An error and what lies under it, in one line: reqwest keeps the reason three levels down.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_alone() {
        for here in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.8.8.8", "[::1]:5000"] {
            assert!(is_this_machine(here), "{here}");
        }
        for other in
            ["docker.io", "10.0.0.1:5000", "localhost.example:5000", "127.0.0.1.example", "[2001:db8::1]"]
        {
            assert!(!is_this_machine(other), "{other}");
        }
    }
}
