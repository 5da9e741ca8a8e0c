//! The connection to one server: its address, its token, and how requests are sent and answers read.
//!
//! The token never leaves this file but in the `Authorization` header, which is marked sensitive.

use crate::ClientError;
use freehold_model::{Code, Problem};
use reqwest::{Method, Request, RequestBuilder, Response, StatusCode, Url, header};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fmt,
    time::{Duration, Instant},
};

/// How long a server that says "later" is obeyed before the caller is told.
const PATIENCE: Duration = Duration::from_secs(20);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an ordinary answer may take; planning asks other registries for digests.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// A server and the right to use it. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the server at `url`, with its token if there is one.
    ///
    /// # Errors
    /// When the address is not `http(s)://host[:port]`, or the token cannot stand in a header.
    pub fn new(url: &str, token: Option<&str>) -> Result<Client, ClientError> {
        let base = parse_base(url)?;
        install_crypto();
        let mut headers = header::HeaderMap::new();
        if let Some(token) = token {
            headers.insert(header::AUTHORIZATION, bearer(token)?);
        }
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            // A command that does not read its input is no broken connection: the kernel would take it for one
            // after this time (tcp(7)). Whether the server is still there is what probes ask.
            .tcp_user_timeout(None)
            .default_headers(headers)
            .user_agent(concat!("freehold/", env!("CARGO_PKG_VERSION")));
        if base.scheme() == "http" {
            // Without TLS the machine's certificates are of no use: a machine without any is no reason to fail.
            builder = builder.tls_certs_only([]);
        }
        if is_this_machine(&base) {
            // A proxy that the environment names is for the way out, and must not see the token.
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| ClientError::Address {
            url: base.to_string(),
            reason: format!("no client can be made for it: {error}"),
        })?;
        Ok(Client { http, base })
    }

    /// A client of the door for machines at `url`, which speaks TLS as `tls` says and through no proxy.
    ///
    /// # Errors
    /// When the address is not `https://host[:port]`.
    pub(crate) fn of_machine(url: &str, tls: rustls::ClientConfig) -> Result<Client, ClientError> {
        let base = parse_base(url)?;
        let wrong = |reason: String| ClientError::Address { url: base.to_string(), reason };
        if base.scheme() != "https" {
            return Err(wrong("the door for nodes speaks TLS alone: it must start with https://".into()));
        }
        install_crypto();
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("freehold/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .tls_backend_preconfigured(tls)
            .build()
            .map_err(|error| wrong(format!("no client can be made for it: {error}")))?;
        Ok(Client { http, base })
    }

    /// The server's address, without a slash at its end.
    pub fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url()))
    }

    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &impl Serialize,
    ) -> Result<T, ClientError> {
        let request = self.request(Method::GET, path).query(query).timeout(ANSWER_TIMEOUT);
        self.read(self.send(request).await?).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let request = self.request(Method::POST, path).json(body).timeout(ANSWER_TIMEOUT);
        self.read(self.send(request).await?).await
    }

    /// Sends a request; an answer that is not a success becomes an error. Where the server says that these are
    /// too many, and doing it twice does no harm, the same is sent again when it says, for a while.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let request = request.build().map_err(|source| self.unreachable(source))?;
        let mut again = if repeatable(&request) { request.try_clone() } else { None };
        let begun = Instant::now();
        let mut response = self.http.execute(request).await.map_err(|source| self.unreachable(source))?;
        while response.status() == StatusCode::TOO_MANY_REQUESTS
            && let Some(request) = again.take()
            && let Some(pause) = retry_after(&response).filter(|pause| begun.elapsed() + *pause <= PATIENCE)
        {
            tokio::time::sleep(pause).await;
            again = request.try_clone();
            response = self.http.execute(request).await.map_err(|source| self.unreachable(source))?;
        }
        let status = response.status();
        if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response);
        }
        Err(self.problem(response).await)
    }

    /// The body of an answer, as the type that the route promises.
    pub(crate) async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, ClientError> {
        let url = response.url().to_string();
        let body = response.bytes().await.map_err(|source| self.unreachable(source))?;
        serde_json::from_slice(&body)
            .map_err(|error| ClientError::Protocol { url, what: format!("{error}: {}", clip(&body)) })
    }

    pub(crate) fn unreachable(&self, source: reqwest::Error) -> ClientError {
        ClientError::Unreachable { url: self.url().to_owned(), source: source.without_url() }
    }

    async fn problem(&self, response: Response) -> ClientError {
        let (status, url) = (response.status(), response.url().to_string());
        let body = response.bytes().await.unwrap_or_default();
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => ClientError::Problem(problem),
            Err(_) => foreign(status, url, &body),
        }
    }
}

/// Whether a request may reach the server twice and do no more than once.
fn repeatable(request: &Request) -> bool {
    let safe = [Method::GET, Method::HEAD, Method::PUT, Method::DELETE].contains(request.method());
    safe || request.headers().contains_key("idempotency-key")
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// An error answer that does not speak of problems: a proxy's, or another program's.
fn foreign(status: StatusCode, url: String, body: &[u8]) -> ClientError {
    let code = match status {
        StatusCode::UNAUTHORIZED => Code::NotSignedIn,
        StatusCode::FORBIDDEN => Code::NotAllowed,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Code::Unavailable
        }
        _ => return ClientError::Protocol { url, what: format!("{status}: {}", clip(body)) },
    };
    ClientError::Problem(Problem::new(code, format!("{url} answered {status}")).detail(clip(body)))
}

fn clip(body: &[u8]) -> String {
    String::from_utf8_lossy(body).trim().chars().take(200).collect()
}

fn parse_base(url: &str) -> Result<Url, ClientError> {
    let wrong = |shown: &str, reason: &str| ClientError::Address { url: shown.into(), reason: reason.into() };
    let parsed = Url::parse(url).map_err(|_| {
        // What cannot be parsed may still hold a password.
        let shown = if url.contains('@') { "…" } else { url };
        wrong(shown, "it must start with http:// or https://, and name a host")
    })?;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(wrong("…", "it holds a password; give the token by --token or FREEHOLD_TOKEN"));
    }
    if !matches!(parsed.scheme(), "http" | "https") || !parsed.has_host() {
        return Err(wrong(url, "it must start with http:// or https://"));
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(wrong(url, "it must not hold ? or #"));
    }
    Ok(parsed)
}

fn is_this_machine(base: &Url) -> bool {
    let host = base.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn bearer(token: &str) -> Result<header::HeaderValue, ClientError> {
    let mut value = header::HeaderValue::from_str(&format!("Bearer {}", token.trim())).map_err(|_| {
        ClientError::Problem(Problem::new(
            Code::NotSignedIn,
            "the token holds characters that no token of Freehold has",
        ))
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Chooses ring for TLS, once per process. Somebody else's earlier choice stands.
fn install_crypto() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_never_printed() {
        let client = Client::new("http://127.0.0.1:1", Some("fht_secret")).unwrap();
        let request = client.request(Method::GET, "/v1/summaries");
        assert!(!format!("{client:?} {request:?}").contains("fht_secret"));
        let error = Client::new("http://me:fht_secret@host", None).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("fht_secret"));
    }

    #[test]
    fn only_addresses_of_servers_are_taken() {
        for good in ["http://127.0.0.1:7117", "http://[::1]:80/", "https://cloud.example/base"] {
            assert!(Client::new(good, None).is_ok(), "{good}");
        }
        for bad in ["", "127.0.0.1:7117", "unix:/run/x", "http://h/?a=b", "http://h/#x"] {
            assert!(Client::new(bad, None).is_err(), "{bad}");
        }
    }

    #[test]
    fn this_machine_is_told_from_others() {
        let check = |url: &str| is_this_machine(&parse_base(url).unwrap());
        for here in ["http://127.0.0.1:7117", "http://localhost:1", "http://[::1]:7117", "http://127.8.0.1"] {
            assert!(check(here), "{here}");
        }
        for other in ["http://10.0.0.1:7117", "http://localhost.example", "http://[2001:db8::1]:1"] {
            assert!(!check(other), "{other}");
        }
    }

    #[test]
    fn the_address_has_no_slash_at_its_end() {
        assert_eq!(Client::new("http://h:1/", None).unwrap().url(), "http://h:1");
        assert_eq!(Client::new("http://h:1/base/", None).unwrap().url(), "http://h:1/base");
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named_with_the_cause() {
        let error = Client::new("http://127.0.0.1:9", None).unwrap().health().await.unwrap_err();
        assert!(error.is_transient());
        let text = error.to_string();
        assert!(text.contains("http://127.0.0.1:9") && text.contains("refused"), "{text}");
    }
}
