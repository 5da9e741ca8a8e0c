//! Asking identity providers: requests that are bounded in time and size, follow no redirects, and go over TLS alone.
//!
//! Used by [`super::Relying`] through [`Fetch`], so that tests stand in for the outside. Invariant: plain HTTP goes to this
//! machine itself and nowhere else, and what is on this machine is asked only where the issuer is too.

use async_trait::async_trait;
use openidconnect::{
    HttpRequest, HttpResponse,
    http::Response,
    url::{Host, Url},
};
use std::{sync::OnceLock, time::Duration};

/// A key set, a discovery document and an answer with tokens are a few KiB each.
const MOST: usize = 512 << 10;
/// For the whole of one request.
const PATIENCE: Duration = Duration::from_secs(8);

/// Sends one request to a provider.
#[async_trait]
pub trait Fetch: Send + Sync {
    /// What the provider answers.
    ///
    /// # Errors
    /// When it cannot be asked, or answers too much or too late.
    async fn fetch(&self, request: HttpRequest) -> Result<HttpResponse, FetchError>;
}

/// Why a provider was not asked, or not heard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The address may not be asked.
    #[error("{url} {why}")]
    Address {
        /// The address.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The connection failed, or nothing came in time.
    #[error("{url} cannot be reached: {why}")]
    Unreachable {
        /// The address.
        url: String,
        /// The causes.
        why: String,
    },
    /// It answers more than anything of this kind holds.
    #[error("{url} answers more than {} KiB", MOST >> 10)]
    TooMuch {
        /// The address.
        url: String,
    },
}

/// The outside itself.
#[derive(Debug, Default)]
pub struct Web {
    outside: OnceLock<Result<reqwest::Client, String>>,
    here: OnceLock<Result<reqwest::Client, String>>,
}

impl Web {
    fn client(&self, here: bool) -> Result<reqwest::Client, String> {
        let slot = if here { &self.here } else { &self.outside };
        slot.get_or_init(|| build(here)).clone()
    }
}

fn build(here: bool) -> Result<reqwest::Client, String> {
    // Whoever was first has chosen; there is one choice.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(PATIENCE)
        // A connection that was idle may be closed by now, and a code cannot be shown twice.
        .pool_max_idle_per_host(0)
        .connect_timeout(Duration::from_secs(4))
        .user_agent(concat!("freehold/", env!("CARGO_PKG_VERSION")));
    if here {
        builder = builder.no_proxy().tls_certs_only([]);
    }
    builder.build().map_err(|error| causes(&error))
}

#[async_trait]
impl Fetch for Web {
    async fn fetch(&self, request: HttpRequest) -> Result<HttpResponse, FetchError> {
        let (parts, body) = request.into_parts();
        let text = parts.uri.to_string();
        let url = Url::parse(&text).ok().and_then(|url| permitted(&url).map(|here| (url, here)).ok());
        let Some((url, here)) = url else {
            return Err(FetchError::Address { url: text, why: "is neither https nor on this machine" });
        };
        let failed = |why: String| FetchError::Unreachable { url: text.clone(), why };
        let client = self.client(here).map_err(&failed)?;
        let sent = client.request(parts.method, url).headers(parts.headers).body(body).send().await;
        let mut answer = sent.map_err(|error| failed(causes(&error.without_url())))?;
        let mut whole = vec![];
        while let Some(chunk) = answer.chunk().await.map_err(|error| failed(causes(&error.without_url())))? {
            if whole.len() + chunk.len() > MOST {
                return Err(FetchError::TooMuch { url: text });
            }
            whole.extend_from_slice(&chunk);
        }
        let mut response = Response::new(whole);
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        Ok(response)
    }
}

/// Whether an address may be asked, and whether it is on this machine, by plain HTTP.
pub(super) fn permitted(url: &Url) -> Result<bool, &'static str> {
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err("has no host"),
    };
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("has a user, a password or a fragment");
    }
    match url.scheme() {
        "https" => Ok(false),
        "http" if here => Ok(true),
        _ => Err("must begin with https://"),
    }
}

/// Whether an issuer can be one (OpenID Connect Discovery, 3).
pub(super) fn permitted_issuer(text: &str) -> Result<(), &'static str> {
    if text.len() > 300 {
        return Err("is longer than 300 bytes");
    }
    let url = Url::parse(text).map_err(|_| "is no address")?;
    permitted(&url)?;
    match url.query() {
        Some(_) => Err("has a query"),
        None => Ok(()),
    }
}

/// An error with what is behind it.
fn causes(error: &dyn std::error::Error) -> String {
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
    fn only_https_and_this_machine_are_asked() {
        for (good, here) in [
            ("https://accounts.google.com", false),
            ("https://sso.home.example:8443/realms/home", false),
            ("http://127.0.0.1:3000", true),
            ("http://localhost:3000/x", true),
            ("http://[::1]:3000", true),
            ("https://127.0.0.1:3000", false),
        ] {
            assert_eq!(permitted(&Url::parse(good).unwrap()), Ok(here), "{good}");
            assert!(permitted_issuer(good).is_ok(), "{good}");
        }
        for bad in [
            "http://sso.example",
            "http://10.0.0.1",
            "http://localhost.example",
            "ftp://localhost",
            "https://a:b@sso.example",
            "https://sso.example/#x",
            "https://sso.example/?x=1",
            "sso.example",
            "file:///etc/passwd",
        ] {
            assert!(permitted_issuer(bad).is_err(), "{bad}");
        }
    }
}
