//! The way to the control plane: requests go to one of its URLs, and to the next when that one fails.
//!
//! The URLs are those that control planes announce, and those by which the node joined, for ever. One whose
//! heartbeats are not answered is tried last, and what was asked of it is asked of another.
//!
//! Invariant: while none answers, one attempt is made at a time and fewer and fewer, with jitter, however
//! many ask: a thousand nodes whose control plane starts again do not all come at once.

use super::{
    news::News,
    protocol::{HEADER, MAX_MESSAGE, VERSION},
    urls::Urls,
};
use crate::control::ControlError;
use freehold_model::{Code, InstanceId, Problem, join::CertificateAdvice};
use futures::StreamExt as _;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

/// A request takes at most so long; a connection is made within less.
const PATIENCE: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(4);
/// After every URL failed, nothing is tried for about so long; it doubles up to [`SLOWEST`].
const SOONEST: Duration = Duration::from_millis(250);
const SLOWEST: Duration = Duration::from_secs(5);

/// What a link must be told.
#[derive(Clone)]
pub struct LinkConfig {
    /// Where control planes answer nodes, whatever is announced.
    pub urls: Vec<Url>,
    /// Where others were announced the last time.
    pub announced: Vec<Url>,
    /// The node's certificate, and whom it trusts; `None` speaks in clear, as tests on loopback do.
    pub tls: Option<rustls::ClientConfig>,
}

/// The control planes of one node.
pub struct Link {
    tls: Option<rustls::ClientConfig>,
    client: Client,
    urls: Urls,
    news: Arc<News>,
    gate: Mutex<Gate>,
}

/// Until when nothing is tried.
struct Gate {
    until: Instant,
    wait: Duration,
    why: String,
}

/// Why a control plane did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LinkError {
    /// None answers.
    #[error("{0}")]
    Away(String),
    /// It will not.
    #[error("{0}")]
    Refused(Problem),
}

impl LinkError {
    /// As the agent's port says it; `id` is what the request was about.
    pub(crate) fn about(self, id: InstanceId) -> ControlError {
        match self {
            LinkError::Refused(problem) if problem.code == Code::NotFound => ControlError::Gone(id),
            other => other.into(),
        }
    }
}

impl From<LinkError> for ControlError {
    fn from(error: LinkError) -> ControlError {
        match error {
            LinkError::Away(why) => ControlError::Unavailable(why),
            LinkError::Refused(problem) => ControlError::Refused(problem.to_string()),
        }
    }
}

impl Link {
    /// A link that has not dialled yet.
    ///
    /// # Errors
    /// When there is no URL, or the certificate is of no use.
    pub fn new(config: LinkConfig) -> Result<Arc<Link>, LinkError> {
        if config.urls.is_empty() {
            return Err(LinkError::Away("no control plane is named".into()));
        }
        let builder = Client::builder()
            .user_agent(concat!("freehold/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .connect_timeout(CONNECT)
            .tcp_keepalive(Duration::from_secs(15))
            .pool_idle_timeout(Duration::from_secs(60));
        ensure_provider();
        let builder = match &config.tls {
            Some(tls) => builder.tls_backend_preconfigured(tls.clone()),
            None => builder,
        };
        let client = builder.build().map_err(|error| LinkError::Away(causes(&error)))?;
        let gate = Gate { until: Instant::now(), wait: SOONEST, why: String::new() };
        let (urls, news) = (Urls::new(config.urls, config.announced), News::new());
        Ok(Arc::new(Link { tls: config.tls, client, urls, news, gate: Mutex::new(gate) }))
    }

    /// Every URL, as is known now.
    pub fn urls(&self) -> &Urls {
        &self.urls
    }

    /// What lines for calls tell.
    pub(super) fn news(&self) -> &Arc<News> {
        &self.news
    }

    pub(crate) fn tls(&self) -> Option<&rustls::ClientConfig> {
        self.tls.as_ref()
    }

    /// Whether this machine should have its certificate renewed before its time.
    ///
    /// # Errors
    /// When no control plane answers, or it refuses.
    pub async fn renewal_advised(&self) -> Result<bool, LinkError> {
        let advice: CertificateAdvice = self.get("v1/node/certificate", PATIENCE).await?;
        Ok(advice.renew)
    }

    /// Asks the control plane.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        patience: Duration,
    ) -> Result<T, LinkError> {
        self.ask(Method::GET, path, None, patience).await
    }

    /// Tells the control plane.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, LinkError> {
        self.ask(Method::POST, path, json(body), PATIENCE).await
    }

    /// Has the control plane delete something.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), LinkError> {
        self.ask(Method::DELETE, path, None, PATIENCE).await
    }

    /// Tells the control plane at one URL, whatever became of others.
    pub(crate) async fn post_to<T: DeserializeOwned>(
        &self,
        url: &Url,
        path: &str,
        body: &impl Serialize,
        patience: Duration,
    ) -> Result<T, LinkError> {
        let end = Instant::now() + patience;
        let request = self.request(url, Method::POST, path, json(body))?;
        let answer = timeout_at(end, send(request)).await.map_err(|_| silent(url))??;
        read(answer, end).await
    }

    /// A request whose answer is read as it comes, from one URL.
    pub(crate) async fn stream_from(&self, url: &Url, path: &str) -> Result<Response, LinkError> {
        let request = self.request(url, Method::GET, path, None)?;
        timeout(PATIENCE, send(request)).await.map_err(|_| silent(url))?
    }

    /// A request whose answer is read as it comes; its head may take long.
    ///
    /// # Errors
    /// When no control plane answers, or it refuses.
    pub async fn stream(&self, path: &str, patience: Duration) -> Result<Response, LinkError> {
        self.each(Method::GET, path, None, patience).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        patience: Duration,
    ) -> Result<T, LinkError> {
        let end = Instant::now() + patience;
        let answer = self.each(method, path, body, patience).await?;
        read(answer, end).await
    }

    /// Tries one URL after the other, the one that answered last first.
    async fn each(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        patience: Duration,
    ) -> Result<Response, LinkError> {
        {
            let gate = self.gate();
            if gate.until > Instant::now() {
                return Err(LinkError::Away(gate.why.clone()));
            }
        }
        let mut why = String::new();
        for url in &self.urls.in_turn() {
            let request = self.request(url, method.clone(), path, body.clone())?;
            let answer = tokio::select! {
                answer = timeout(patience, send(request)) => answer.unwrap_or_else(|_| Err(silent(url))),
                () = self.urls.falls_silent(url) => Err(silent(url)),
            };
            match answer {
                Err(LinkError::Away(reason)) => why = reason,
                answered => {
                    self.urls.answered(url);
                    self.gate().wait = SOONEST;
                    return answered;
                }
            }
        }
        let mut gate = self.gate();
        // Several fail at once: one of them closes the gate.
        if gate.until <= Instant::now() {
            gate.until = Instant::now() + gate.wait.mul_f64(rand::random_range(0.5..1.0));
            gate.wait = (gate.wait * 2).min(SLOWEST);
            gate.why = why.clone();
        }
        Err(LinkError::Away(why))
    }

    /// Waits until it is time to try again.
    pub(crate) async fn may_try(&self) {
        let until = self.gate().until;
        sleep_until(until).await;
    }

    fn request(
        &self,
        url: &Url,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<RequestBuilder, LinkError> {
        let url = url.join(path).map_err(|error| LinkError::Away(format!("{url}{path}: {error}")))?;
        let request = self.client.request(method, url).header(HEADER, VERSION);
        Ok(match body {
            Some(body) => request.header("content-type", "application/json").body(body),
            None => request,
        })
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body, as JSON.
fn json(body: &impl Serialize) -> Option<Vec<u8>> {
    Some(serde_json::to_vec(body).expect("messages have texts for keys"))
}

fn silent(url: &Url) -> LinkError {
    LinkError::Away(format!("{url} does not answer"))
}

async fn read<T: DeserializeOwned>(answer: Response, end: Instant) -> Result<T, LinkError> {
    let mut pieces = answer.bytes_stream();
    let mut bytes = vec![];
    loop {
        let piece = timeout_at(end, pieces.next()).await;
        let Some(piece) = piece.map_err(|_| LinkError::Away("an answer did not end in time".into()))? else {
            break;
        };
        let piece = piece.map_err(|error| LinkError::Away(causes(&error)))?;
        if bytes.len() + piece.len() > MAX_MESSAGE {
            return Err(LinkError::Away(format!("an answer is larger than {} MiB", MAX_MESSAGE >> 20)));
        }
        bytes.extend_from_slice(&piece);
    }
    // An answer without a body is `null`.
    let text = if bytes.is_empty() { b"null" } else { bytes.as_slice() };
    serde_json::from_slice(text).map_err(|error| {
        LinkError::Away(format!(
            "an answer cannot be read: {error}; is that a Freehold of about this version?"
        ))
    })
}

/// Makes ring the TLS provider of this process, unless somebody chose one.
fn ensure_provider() {
    // An error means that there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

async fn send(request: RequestBuilder) -> Result<Response, LinkError> {
    let answer = request.send().await.map_err(|error| LinkError::Away(causes(&error)))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let text = timeout(PATIENCE, answer.bytes()).await.ok().and_then(Result::ok).unwrap_or_default();
    match serde_json::from_slice::<Problem>(&text) {
        // Starting, stopping or failing: another may do it.
        Ok(problem) if status.is_server_error() => Err(LinkError::Away(problem.to_string())),
        Ok(problem) => Err(LinkError::Refused(problem)),
        Err(_) if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN => {
            Err(LinkError::Refused(Problem::new(Code::NotAllowed, format!("it answered {status}"))))
        }
        Err(_) => Err(LinkError::Away(format!("it answered {status}"))),
    }
}

/// An error and what lies under it, in one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text
}
