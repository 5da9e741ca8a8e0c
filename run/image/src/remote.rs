//! Other registries, as a client (oci-client): asked for manifests and blobs, anonymously.
//!
//! TLS is rustls with ring. Plain HTTP is spoken with this machine alone (`localhost`, 127.0.0.0/8,
//! `[::1]`), as docker and podman do.

use crate::{
    ImageError, Reference,
    blobs::{Blobs, Unfinished},
    manifest::MEDIA_TYPES,
};
use freehold_model::Digest;
use futures::StreamExt;
use oci_client::{
    Client, Reference as Remote,
    client::{ClientConfig, ClientProtocol},
    errors::{OciDistributionError, OciErrorCode},
    manifest::OciDescriptor,
    secrets::RegistryAuth,
};
use std::{
    collections::HashMap,
    sync::{Mutex, Once},
    time::Duration,
};

/// Makes ring the TLS provider of this process, unless somebody chose one.
pub(crate) fn ensure_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that a provider is installed already: then that one is used.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// Clients by host; each keeps its tokens.
#[derive(Default)]
pub(crate) struct Remotes(Mutex<HashMap<String, Client>>);

impl Remotes {
    /// The bytes and digest of what `reference` means over there.
    pub(crate) async fn manifest(&self, reference: &Reference) -> Result<(Vec<u8>, Digest), ImageError> {
        let (client, remote) = self.reach(reference)?;
        let (bytes, digest) = client
            .pull_manifest_raw(&remote, &RegistryAuth::Anonymous, &MEDIA_TYPES)
            .await
            .map_err(|e| failed(reference, e))?;
        let found = Digest::of(&bytes);
        let expected = digest.parse().unwrap_or_else(|_| found.clone());
        for expected in std::iter::once(&expected).chain(reference.digest()) {
            if found != *expected {
                let what = format!("the manifest of {reference}");
                return Err(ImageError::Digest { what, expected: expected.clone(), found });
            }
        }
        Ok((bytes.to_vec(), found))
    }

    /// Fetches a blob into `blobs`.
    pub(crate) async fn blob(
        &self,
        reference: &Reference,
        digest: &Digest,
        size: u64,
        blobs: &Blobs,
    ) -> Result<(), ImageError> {
        let (client, remote) = self.reach(reference)?;
        // Without this a client that was made after a restart would not sign in by itself.
        client.store_auth_if_needed(remote.resolve_registry(), &RegistryAuth::Anonymous).await;
        let descriptor = OciDescriptor {
            digest: digest.to_string(),
            size: size.try_into().unwrap_or(i64::MAX),
            ..OciDescriptor::default()
        };
        let mut stream =
            client.pull_blob_stream(&remote, &descriptor).await.map_err(|e| failed(reference, e))?;
        let mut blob: Unfinished = blobs.begin().await?;
        while let Some(chunk) = stream.next().await {
            blob.write(&chunk.map_err(|e| broken(reference, &e.to_string()))?).await?;
            if blob.length() > size {
                return Err(broken(reference, &format!("{digest} is longer than its {size} bytes")));
            }
        }
        blobs.finish(blob, digest, &format!("a part of {reference}")).await
    }

    fn reach(&self, reference: &Reference) -> Result<(Client, Remote), ImageError> {
        let host = reference.host().unwrap_or_default().to_owned();
        let name = reference.repository().to_owned();
        let remote = match reference.digest() {
            Some(digest) => Remote::with_digest(host.clone(), name, digest.to_string()),
            None => Remote::with_tag(host.clone(), name, reference.tag().to_owned()),
        };
        let mut clients = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(client) = clients.get(&host) {
            return Ok((client.clone(), remote));
        }
        let client = connect(&host).map_err(|e| broken(reference, &e.to_string()))?;
        clients.insert(host, client.clone());
        Ok((client, remote))
    }
}

fn connect(host: &str) -> Result<Client, OciDistributionError> {
    ensure_tls();
    let protocol = if is_this_machine(host) { ClientProtocol::Http } else { ClientProtocol::Https };
    Client::try_from(ClientConfig {
        protocol,
        connect_timeout: Some(Duration::from_secs(10)),
        read_timeout: Some(Duration::from_secs(60)),
        user_agent: concat!("freehold/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
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
    let unknown = match &error {
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
    if !unknown {
        return broken(reference, &reason);
    }
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
