//! Other registries, as a client: asked for manifests and blobs, anonymously (distribution spec 1.1; token
//! authentication of the distribution project).
//!
//! Answers are bounded before they are in memory, and a blob whose connection breaks is resumed where it
//! stopped. TLS is rustls with ring. Plain HTTP is spoken with this machine alone (`localhost`,
//! 127.0.0.0/8, `[::1]`), as docker and podman do. Invariants: where a registry sends us, by a redirect or
//! to fetch a token, is a public address or the registry itself (`guard.rs`); its token goes to it alone.

mod challenge;
mod guard;

use crate::{
    ImageError, Reference,
    blobs::{Blobs, Unfinished},
    manifest::{MANIFEST_LIMIT, MEDIA_TYPES},
};
use challenge::Challenge;
use freehold_model::Digest;
use futures::StreamExt;
use reqwest::{
    Response, StatusCode, Url,
    header::{ACCEPT, LOCATION, RANGE},
    redirect::Policy,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, Once, PoisonError},
    time::Duration,
};

/// How often a blob is asked for again when nothing more of it came.
const RETRIES: u32 = 5;

/// The first wait between two attempts; it grows with the square.
const PAUSE: Duration = Duration::from_millis(250);

/// More redirects than this lead nowhere.
const REDIRECTS: u32 = 5;

/// Answers with tokens are small.
const TOKEN_LIMIT: usize = 1 << 20;

/// Makes ring the TLS provider of this process, unless somebody chose one.
pub(crate) fn ensure_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that a provider is installed already: then that one is used.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

impl Reference {
    /// Whether its registry is named by an address, or by a name, that is not public: of this machine, or of
    /// the networks that it stands in.
    pub fn is_inside(&self) -> bool {
        self.host().is_some_and(guard::is_inside)
    }
}

/// Other registries by host; each keeps its tokens.
#[derive(Default)]
pub(crate) struct Remotes(Mutex<HashMap<String, Arc<Far>>>);

impl Remotes {
    /// The bytes and digest of what `reference` means over there.
    pub(crate) async fn manifest(&self, reference: &Reference) -> Result<(Vec<u8>, Digest), ImageError> {
        let (bytes, digest) = self.reach(reference)?.manifest(reference).await?;
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
        let far = self.reach(reference)?;
        let mut blob: Unfinished = blobs.begin().await?;
        let mut failures = 0;
        while blob.length() < size || size == 0 {
            let before = blob.length();
            match far.rest_of_blob(reference, digest, size, &mut blob).await {
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

    fn reach(&self, reference: &Reference) -> Result<Arc<Far>, ImageError> {
        let host = reference.host().unwrap_or_default().to_owned();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(far) = known.get(&host) {
            return Ok(far.clone());
        }
        let far = Arc::new(Far::connect(&host).map_err(|reason| broken(reference, &reason))?);
        known.insert(host, far.clone());
        Ok(far)
    }
}

/// Another registry.
struct Far {
    base: Url,
    /// For the registry itself, wherever it is: somebody named it.
    itself: reqwest::Client,
    /// For where it sends us.
    elsewhere: reqwest::Client,
    /// By repository.
    tokens: Mutex<HashMap<String, String>>,
}

impl Far {
    fn connect(host: &str) -> Result<Far, String> {
        ensure_tls();
        let scheme = if is_this_machine(host) { "http" } else { "https" };
        // Docker Hub answers under another name than the one in references.
        let served = if host == "docker.io" { "registry-1.docker.io" } else { host };
        let client = || {
            reqwest::Client::builder()
                .user_agent(concat!("freehold/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(Duration::from_secs(10))
                .read_timeout(Duration::from_secs(60))
                .redirect(Policy::none())
        };
        let elsewhere = client().dns_resolver(Arc::new(guard::PublicNames));
        Ok(Far {
            base: format!("{scheme}://{served}/v2/").parse().map_err(|_| format!("{host} is no host"))?,
            itself: client().build().map_err(|e| with_causes(&e))?,
            elsewhere: elsewhere.build().map_err(|e| with_causes(&e))?,
            tokens: Mutex::default(),
        })
    }

    /// A manifest of at most [`MANIFEST_LIMIT`] bytes, and the digest that came beside it.
    async fn manifest(&self, reference: &Reference) -> Result<(Vec<u8>, Option<String>), ImageError> {
        let which = reference.digest().map_or(reference.tag(), Digest::as_str);
        let ask = Ask { accept: Some(MEDIA_TYPES.join(", ")), from: None };
        let response = self.get(reference, &format!("manifests/{which}"), &ask).await?;
        let digest = response.headers().get("docker-content-digest");
        let digest = digest.and_then(|digest| digest.to_str().ok()).map(str::to_owned);
        let bytes = small(reference, response, MANIFEST_LIMIT).await?;
        let too_large = || unknown(reference, "its manifest is larger than 4 MiB, which none may be".into());
        Ok((bytes.ok_or_else(too_large)?, digest))
    }

    /// Appends to `blob` what it lacks.
    async fn rest_of_blob(
        &self,
        reference: &Reference,
        digest: &Digest,
        size: u64,
        blob: &mut Unfinished,
    ) -> Result<(), ImageError> {
        let ask = Ask { accept: None, from: (blob.length() > 0).then(|| blob.length()) };
        let response = self.get(reference, &format!("blobs/{digest}"), &ask).await?;
        let mut known = match response.status() {
            StatusCode::PARTIAL_CONTENT => 0,
            _ => blob.length(),
        };
        let mut stream = response.bytes_stream();
        while let Some(piece) = stream.next().await {
            let mut piece = piece.map_err(|e| broken(reference, &with_causes(&e.without_url())))?;
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

    /// Asks for a part of the repository, with a token if it wants one.
    async fn get(&self, reference: &Reference, what: &str, ask: &Ask) -> Result<Response, ImageError> {
        let repository = reference.repository();
        let url = self.base.join(&format!("{repository}/{what}"));
        let url = url.map_err(|_| unknown(reference, "its name makes no address".into()))?;
        let known = self.tokens().get(repository).cloned();
        let mut response = self.follow(reference, url.clone(), ask, known.as_deref()).await?;
        if response.status() == StatusCode::UNAUTHORIZED
            && let Some(challenge) = Challenge::of(response.headers())
        {
            let token = self.sign_in(reference, &challenge).await?;
            response = self.follow(reference, url, ask, Some(&token)).await?;
            self.tokens().insert(repository.to_owned(), token);
        }
        let status = response.status();
        match status.as_u16() {
            200 | 206 => Ok(response),
            401 | 403 | 404 => Err(unknown(reference, format!("it answered {status}"))),
            _ => Err(broken(reference, &format!("it answered {status}"))),
        }
    }

    /// Gets a token that everybody gets.
    async fn sign_in(&self, reference: &Reference, challenge: &Challenge) -> Result<String, ImageError> {
        let ask = Ask::default();
        let response = self.follow(reference, challenge.url(reference.repository()), &ask, None).await?;
        let status = response.status();
        if !status.is_success() {
            let reason = format!("it gives no token to everybody: {status}");
            return Err(if status.is_server_error() {
                broken(reference, &reason)
            } else {
                unknown(reference, reason)
            });
        }
        let bytes = small(reference, response, TOKEN_LIMIT).await?.unwrap_or_default();
        let answer: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let token = ["token", "access_token"].into_iter().find_map(|key| answer[key].as_str());
        token
            .map(str::to_owned)
            .ok_or_else(|| unknown(reference, "it gives no token that can be read".into()))
    }

    /// Sends a request, and goes where the registry sends us as long as that is allowed. Only the registry
    /// itself sees the token.
    async fn follow(
        &self,
        reference: &Reference,
        mut url: Url,
        ask: &Ask,
        token: Option<&str>,
    ) -> Result<Response, ImageError> {
        for _ in 0..=REDIRECTS {
            let is_itself = guard::is_same(&url, &self.base);
            if !is_itself && let Some(why) = guard::refusal(&url) {
                return Err(unknown(reference, why));
            }
            let client = if is_itself { &self.itself } else { &self.elsewhere };
            let mut request = client.get(url.clone());
            if let Some(accept) = &ask.accept {
                request = request.header(ACCEPT, accept);
            }
            if let Some(from) = ask.from {
                request = request.header(RANGE, format!("bytes={from}-"));
            }
            if let Some(token) = token.filter(|_| is_itself) {
                request = request.bearer_auth(token);
            }
            let sent = request.send().await;
            let response = sent.map_err(|e| broken(reference, &with_causes(&e.without_url())))?;
            let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
            match to.filter(|_| response.status().is_redirection()) {
                None => return Ok(response),
                Some(to) => {
                    url =
                        url.join(to).map_err(|_| unknown(reference, "it redirects to no address".into()))?;
                }
            }
        }
        Err(unknown(reference, "it redirects without end".into()))
    }

    fn tokens(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a request says besides its address.
#[derive(Default)]
struct Ask {
    accept: Option<String>,
    /// From which byte on.
    from: Option<u64>,
}

/// The whole of an answer; `None` when it is longer than `limit`.
async fn small(
    reference: &Reference,
    response: Response,
    limit: usize,
) -> Result<Option<Vec<u8>>, ImageError> {
    let (mut bytes, mut pieces) = (Vec::new(), response.bytes_stream());
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|e| broken(reference, &with_causes(&e.without_url())))?;
        if bytes.len() + piece.len() > limit {
            return Ok(None);
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(Some(bytes))
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
