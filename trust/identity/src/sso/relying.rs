//! What a house asks of its identity providers: where to send somebody, and who they are when they come back.
//!
//! Every control plane has a [`Relying`]. It keeps what providers publish for a while, which any other finds out
//! by itself. Invariants: one question at a time to each provider, and for a moment after a failure none, so that
//! strangers cannot have one asked without end; keys are fetched anew for a key that is not known, at most once a minute.

use super::{
    errand::Ticket,
    http::{Fetch, FetchError, permitted},
    provider::{redirect_uri, title},
    token::{Doubt, believed},
};
use crate::people::attempts::Attempts;
use freehold_model::{IdentityProvider, PublicUrl, secrets::Hidden};
use jiff::{SignedDuration, Timestamp};
use openidconnect::{
    AdditionalProviderMetadata, AsyncHttpClient, AuthType, AuthorizationCode, ClientId, ClientSecret,
    CsrfToken, DiscoveryError, EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse,
    IssuerUrl, JsonWebKeySet, Nonce, PkceCodeChallenge, PkceCodeVerifier, ProviderMetadata, RedirectUrl,
    RequestTokenError, Scope, TokenResponse as _,
    core::{
        CoreAuthDisplay, CoreAuthenticationFlow, CoreClaimName, CoreClaimType, CoreClient,
        CoreClientAuthMethod, CoreGrantType, CoreIdToken, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm,
        CoreJweKeyManagementAlgorithm, CoreResponseMode, CoreResponseType, CoreSubjectIdentifierType,
    },
    url::Url,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

/// What a provider publishes is kept for so long,
const KEPT: SignedDuration = SignedDuration::from_mins(10);
/// and that it could not be asked for so long.
const FAILED: SignedDuration = SignedDuration::from_secs(5);
/// Keys are fetched for the sake of one token at most so often.
const KEYS: SignedDuration = SignedDuration::from_mins(1);

/// What a provider says of itself that the library does not read.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct More {
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
    #[serde(default)]
    pub(super) code_challenge_methods_supported: Option<Vec<String>>,
}

impl AdditionalProviderMetadata for More {}

/// What a provider says of itself, with its keys.
pub(super) type Metadata = ProviderMetadata<
    More,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

type Ready = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// The library's way to ask what an issuer says to ask: nothing on this machine, unless the issuer is.
struct Line<'a> {
    fetch: &'a dyn Fetch,
    issuer_is_here: bool,
}

impl<'a> Line<'a> {
    fn to(fetch: &'a dyn Fetch, issuer: &str) -> Line<'a> {
        let here = Url::parse(issuer).ok().is_some_and(|url| permitted(&url) == Ok(true));
        Line { fetch, issuer_is_here: here }
    }

    fn may_ask(&self, url: &str) -> bool {
        let here = Url::parse(url).ok().and_then(|url| permitted(&url).ok());
        here.is_some_and(|here| self.issuer_is_here || !here)
    }
}

impl<'c> AsyncHttpClient<'c> for Line<'_> {
    type Error = FetchError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, FetchError>> + Send + 'c>>;
    fn call(&'c self, request: HttpRequest) -> Self::Future {
        let url = request.uri().to_string();
        if self.may_ask(&url) {
            return self.fetch.fetch(request);
        }
        let why = "is neither https nor on the issuer's own machine";
        Box::pin(async move { Err(FetchError::Address { url, why }) })
    }
}

/// This house as the client of a provider.
#[derive(Debug, Clone)]
pub struct Client {
    /// The provider.
    pub provider: IdentityProvider,
    /// What proves this house there, opened.
    pub secret: Hidden,
    /// This house's address.
    pub house: PublicUrl,
}

/// Who came back, as their provider says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proved {
    /// The provider's name here.
    pub provider: String,
    /// How people call it.
    pub title: String,
    /// Its address.
    pub issuer: String,
    /// What it calls them, for ever.
    pub subject: String,
    /// A name for people to know it by.
    pub shown: Option<String>,
}

/// Why nobody came of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelyingError {
    /// The provider cannot be asked.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It answers something else than the protocol has.
    #[error("what the provider publishes is not as it should be: {0}")]
    Published(String),
    /// They said no there.
    #[error("the sign-in was cancelled at the provider")]
    Denied,
    /// The provider could not, or would not.
    #[error("the provider answered `{0}`")]
    Answered(String),
    /// Somebody else answered (RFC 9207).
    #[error("the answer is another issuer's")]
    OtherIssuer,
    /// It does not take the code, or this house.
    #[error("the provider did not take the code: `{0}`")]
    Refused(String),
    /// What it says of somebody is not believed.
    #[error("the provider's ID token is not believed: {0}")]
    Doubted(String),
}

/// What came back with somebody, as the query of the callback has it.
#[derive(Debug, Clone, Default)]
pub struct Answered {
    /// The code.
    pub code: Option<Hidden>,
    /// The word of a refusal.
    pub error: Option<String>,
    /// Who answers (RFC 9207).
    pub iss: Option<String>,
}

/// Asks identity providers.
pub struct Relying {
    pub(super) fetch: Arc<dyn Fetch>,
    /// How often whom was sent to one of late.
    pub asked: Attempts,
    known: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Known>>>>,
}

/// What is known of one issuer.
#[derive(Default)]
struct Known {
    metadata: Option<(Timestamp, Arc<Metadata>)>,
    keys: Option<Timestamp>,
    failed: Option<(Timestamp, RelyingError)>,
}

impl Relying {
    /// Asks through `fetch`.
    pub fn new(fetch: Arc<dyn Fetch>) -> Relying {
        Relying { fetch, asked: Attempts::default(), known: Mutex::default() }
    }

    /// Where somebody goes with this ticket.
    ///
    /// # Errors
    /// When the provider cannot be asked, or is none.
    pub async fn way_there(
        &self,
        client: &Client,
        ticket: &Ticket,
        now: Timestamp,
    ) -> Result<String, RelyingError> {
        let metadata = self.metadata(client.issuer(), now).await?;
        let verifier = PkceCodeVerifier::new(ticket.verifier().expose().to_owned());
        let (state, nonce) = (ticket.state(), ticket.nonce());
        let (url, _, _) = client
            .ready(&metadata)?
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                move || CsrfToken::new(state.clone()),
                move || Nonce::new(nonce.clone()),
            )
            .add_scope(Scope::new("profile".into()))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .url();
        Ok(url.into())
    }

    /// Who came back.
    ///
    /// # Errors
    /// When it was not the provider who answered, or it refuses, or what it says is not believed.
    pub async fn who_came(
        &self,
        client: &Client,
        ticket: &Ticket,
        answered: &Answered,
        now: Timestamp,
    ) -> Result<Proved, RelyingError> {
        let metadata = self.metadata(client.issuer(), now).await?;
        let must = metadata.additional_metadata().authorization_response_iss_parameter_supported;
        match &answered.iss {
            Some(iss) if iss != client.issuer() => return Err(RelyingError::OtherIssuer),
            None if must => return Err(RelyingError::OtherIssuer),
            _ => {}
        }
        match answered.error.as_deref() {
            Some("access_denied") => return Err(RelyingError::Denied),
            Some(error) => return Err(RelyingError::Answered(word(error))),
            None => {}
        }
        let code = answered.code.as_ref().ok_or_else(|| RelyingError::Answered("nothing".into()))?;
        let token = self.exchange(client, &metadata, code.expose(), &ticket.verifier()).await?;
        let (id, nonce) = (ClientId::new(client.provider.spec.client_id.clone()), Nonce::new(ticket.nonce()));
        let believed = match believed(&token, &metadata, &id, &nonce, now) {
            Err(Doubt::UnknownKey) => {
                let newer = self.newer_keys(client.issuer(), now).await?;
                believed(&token, &newer, &id, &nonce, now)
            }
            other => other,
        };
        let (subject, shown) = believed.map_err(|doubt| match doubt {
            Doubt::UnknownKey => {
                RelyingError::Doubted("it is signed with a key that is not published".into())
            }
            Doubt::Wrong(why) => RelyingError::Doubted(why),
        })?;
        Ok(Proved {
            provider: client.provider.name.clone(),
            title: title(&client.provider).to_owned(),
            issuer: client.issuer().to_owned(),
            subject,
            shown,
        })
    }

    pub(super) async fn exchange(
        &self,
        client: &Client,
        metadata: &Metadata,
        code: &str,
        verifier: &Hidden,
    ) -> Result<CoreIdToken, RelyingError> {
        let http = Line::to(&*self.fetch, client.issuer());
        let ready = client.ready(metadata)?;
        let request = ready
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|_| RelyingError::Published("it has no token_endpoint".into()))?
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose().to_owned()));
        let answer = request.request_async(&http).await.map_err(|error| match error {
            RequestTokenError::ServerResponse(refusal) => {
                RelyingError::Refused(word(refusal.error().as_ref()))
            }
            RequestTokenError::Request(error) => RelyingError::Fetch(error),
            // The body is not repeated: tokens may be in it.
            RequestTokenError::Parse(error, _) => {
                RelyingError::Published(format!("its token endpoint's answer, at {}", error.path()))
            }
            RequestTokenError::Other(_) => RelyingError::Published("its token endpoint's answer".into()),
        })?;
        let token = answer.id_token().cloned();
        token.ok_or_else(|| RelyingError::Doubted("there is none beside the access token".into()))
    }

    /// What the provider publishes; asked for once in a while.
    pub(super) async fn metadata(&self, issuer: &str, now: Timestamp) -> Result<Arc<Metadata>, RelyingError> {
        let slot = self.slot(issuer);
        let mut known = slot.lock().await;
        if let Some((_, metadata)) = known.metadata.as_ref().filter(|(at, _)| near(*at, now, KEPT)) {
            return Ok(metadata.clone());
        }
        if let Some((_, error)) = known.failed.as_ref().filter(|(at, _)| near(*at, now, FAILED)) {
            return Err(error.clone());
        }
        match self.discover(issuer).await {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                *known = Known { metadata: Some((now, metadata.clone())), keys: known.keys, failed: None };
                Ok(metadata)
            }
            Err(error) => {
                known.failed = Some((now, error.clone()));
                Err(error)
            }
        }
    }

    /// The same with the keys as they are now, unless they were asked for just before.
    async fn newer_keys(&self, issuer: &str, now: Timestamp) -> Result<Arc<Metadata>, RelyingError> {
        let old = self.metadata(issuer, now).await?;
        let slot = self.slot(issuer);
        let mut known = slot.lock().await;
        if known.keys.is_some_and(|at| near(at, now, KEYS)) {
            return Ok(known.metadata.as_ref().map_or(old, |(_, metadata)| metadata.clone()));
        }
        known.keys = Some(now);
        let http = Line::to(&*self.fetch, issuer);
        let keys = JsonWebKeySet::fetch_async(old.jwks_uri(), &http).await.map_err(published)?;
        let newer = Arc::new((*old).clone().set_jwks(keys));
        let at = known.metadata.as_ref().map_or(now, |(at, _)| *at);
        known.metadata = Some((at, newer.clone()));
        Ok(newer)
    }

    pub(super) async fn discover(&self, issuer: &str) -> Result<Metadata, RelyingError> {
        let http = Line::to(&*self.fetch, issuer);
        let url = IssuerUrl::new(issuer.to_owned());
        let url = url.map_err(|_| RelyingError::Published("its issuer is no address".into()))?;
        let metadata = Metadata::discover_async(url, &http).await.map_err(published)?;
        // Where people are sent; the others are looked at when they are asked.
        let there = metadata.authorization_endpoint().as_str();
        if !http.may_ask(there) {
            return Err(RelyingError::Published(format!(
                "{there} is neither https nor on the issuer's own machine"
            )));
        }
        Ok(metadata)
    }

    fn slot(&self, issuer: &str) -> Arc<tokio::sync::Mutex<Known>> {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(issuer.to_owned()).or_default().clone()
    }
}

impl Client {
    pub(super) fn issuer(&self) -> &str {
        &self.provider.spec.issuer
    }

    /// Where the provider sends people back to.
    pub fn redirect_uri(&self) -> String {
        redirect_uri(&self.house, &self.provider.name)
    }

    fn ready(&self, metadata: &Metadata) -> Result<Ready, RelyingError> {
        let redirect = RedirectUrl::new(self.redirect_uri());
        let redirect = redirect.map_err(|_| RelyingError::Published("this house's own address".into()))?;
        let id = ClientId::new(self.provider.spec.client_id.clone());
        let secret = ClientSecret::new(self.secret.expose().to_owned());
        let client = CoreClient::from_provider_metadata(metadata.clone(), id, Some(secret));
        // What is not said is Basic (OpenID Connect Discovery, 3).
        let basic = metadata
            .token_endpoint_auth_methods_supported()
            .is_none_or(|all| all.contains(&CoreClientAuthMethod::ClientSecretBasic));
        let auth = if basic { AuthType::BasicAuth } else { AuthType::RequestBody };
        Ok(client.set_redirect_uri(redirect).set_auth_type(auth))
    }
}

fn near(at: Timestamp, now: Timestamp, length: SignedDuration) -> bool {
    now.duration_since(at).abs() < length
}

fn published(error: DiscoveryError<FetchError>) -> RelyingError {
    match error {
        DiscoveryError::Request(error) => RelyingError::Fetch(error),
        DiscoveryError::Parse(error) => {
            RelyingError::Published(format!("{}: {}", error.path(), error.inner()))
        }
        DiscoveryError::Response(_, _, why) | DiscoveryError::Validation(why) => RelyingError::Published(why),
        other => RelyingError::Published(other.to_string()),
    }
}

/// A word of the protocol, or nothing that could be anything else.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c == '_';
    if text.len() <= 40 && text.chars().all(plain) { text.into() } else { "an unknown error".into() }
}
