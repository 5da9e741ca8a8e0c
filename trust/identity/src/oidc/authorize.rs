//! The authorization endpoint: what an app asks, whether it may, what comes next, and the code.
//!
//! Invariant: nobody is sent to an address that the client's manifest does not name letter by letter; until that
//! is known, whatever is wrong is said to the person and not sent anywhere.

use super::{
    CODE, SCOPES,
    client::{Client, find_client},
    error::OidcError,
    grant::{is_over, make, roles},
    params::OidcParams,
};
use crate::{Identity, Principal};
use freehold_model::{Grant, GrantId, GrantSpec, Resource, Session, SessionSpec, Txn, secrets::Hidden};
use freehold_reconcile::{Ids as _, StoreError, SystemIds, View, ViewExt as _};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

/// The longest state and nonce that are carried.
const LONGEST_STATE: usize = 2048;
/// `prompt=login` is satisfied by who signed in so recently.
const JUST_NOW: SignedDuration = SignedDuration::from_secs(60);
/// So many sign-ins that are over are forgotten with each that begins.
const SWEPT: usize = 50;

/// A request that may be answered to its client.
#[derive(Debug, Clone)]
pub struct AuthorizeRequest {
    /// Who asks.
    pub client: Client,
    /// Where the answer goes.
    pub redirect: String,
    /// What is asked for, as far as it is known.
    pub scopes: Vec<String>,
    /// Sent back as it came.
    pub state: Option<String>,
    nonce: Option<String>,
    challenge: String,
    prompt: Vec<String>,
    max_age: Option<SignedDuration>,
}

/// What a request to the authorization endpoint is.
#[derive(Debug)]
pub enum Asked {
    /// Nothing that can be sent to anybody: the person is told.
    Wrong(OidcError),
    /// Wrong, and the client is told by this address.
    Returned(String),
    /// In order.
    Good(Box<AuthorizeRequest>),
}

/// Who looks at the page.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// What they may.
    pub principal: Principal,
    /// The session of their browser.
    pub session: Session,
}

/// What comes next for a visitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// To sign in, and come back.
    SignIn,
    /// To be asked whether they want to.
    Ask,
    /// On to the app, without a question.
    On,
    /// Nowhere: the client is told why.
    Refused(OidcError),
}

/// Reads a request.
///
/// # Errors
/// When the view fails.
pub fn ask(view: &dyn View, params: &OidcParams, issuer: &str) -> Result<Asked, StoreError> {
    if let Err(wrong) = params.once(&["client_id", "redirect_uri"]) {
        return Ok(Asked::Wrong(wrong));
    }
    let (client, redirect) = match (params.required("client_id"), params.required("redirect_uri")) {
        (Ok(client), Ok(redirect)) => (client, redirect),
        (Err(wrong), _) | (_, Err(wrong)) => return Ok(Asked::Wrong(wrong)),
    };
    let Some(client) = find_client(view, client)? else {
        let why = "client_id names no app that people sign in to here, or none that runs yet.";
        return Ok(Asked::Wrong(OidcError::request(why)));
    };
    if !client.sign_in.redirect.iter().any(|known| known == redirect) {
        let why = "redirect_uri is not in the `redirect` of the app's [sign_in], letter by letter.";
        return Ok(Asked::Wrong(OidcError::request(why)));
    }
    let (redirect, state) = (redirect.to_owned(), params.get("state").map(str::to_owned));
    Ok(match read(params, client, redirect.clone(), state.clone()) {
        Ok(request) => Asked::Good(Box::new(request)),
        Err(wrong) => {
            let state = state.filter(|state| state.len() <= LONGEST_STATE);
            Asked::Returned(refusal(&redirect, state.as_deref(), issuer, &wrong))
        }
    })
}

fn read(
    params: &OidcParams,
    client: Client,
    redirect: String,
    state: Option<String>,
) -> Result<AuthorizeRequest, OidcError> {
    params.once(&[
        "response_type",
        "response_mode",
        "scope",
        "state",
        "nonce",
        "code_challenge",
        "code_challenge_method",
        "prompt",
        "max_age",
        "request",
        "request_uri",
    ])?;
    if params.get("request").is_some() {
        return Err(OidcError::new("request_not_supported", "Request objects are not taken."));
    }
    if params.get("request_uri").is_some() {
        return Err(OidcError::new("request_uri_not_supported", "Request objects are not taken."));
    }
    if params.required("response_type")? != "code" {
        let why = "The only response_type is code: implicit and hybrid flows are not offered.";
        return Err(OidcError::new("unsupported_response_type", why));
    }
    if params.get("response_mode").is_some_and(|mode| mode != "query") {
        return Err(OidcError::request("The only response_mode is query."));
    }
    let asked: Vec<&str> = params.get("scope").unwrap_or_default().split(' ').collect();
    if !asked.contains(&"openid") {
        return Err(OidcError::new("invalid_scope", "scope must have openid in it."));
    }
    let scopes = SCOPES.iter().filter(|scope| asked.contains(scope)).map(|it| (*it).to_owned()).collect();
    let nonce = params.get("nonce").map(str::to_owned);
    if state.iter().chain(&nonce).any(|text| text.len() > LONGEST_STATE) {
        return Err(OidcError::request("state or nonce is too long."));
    }
    let challenge = challenge(params)?;
    let prompt: Vec<String> =
        params.get("prompt").map(str::split_whitespace).into_iter().flatten().map(Into::into).collect();
    if prompt.len() > 1 && prompt.iter().any(|one| one == "none") {
        return Err(OidcError::request("prompt=none stands alone."));
    }
    let max_age = match params.get("max_age").map(str::parse::<u32>) {
        None => None,
        Some(Ok(seconds)) => Some(SignedDuration::from_secs(seconds.into())),
        Some(Err(_)) => return Err(OidcError::request("max_age is a number of seconds.")),
    };
    Ok(AuthorizeRequest { client, redirect, scopes, state, nonce, challenge, prompt, max_age })
}

/// The challenge of PKCE (RFC 7636, 4.3), which everybody must send, hashed.
fn challenge(params: &OidcParams) -> Result<String, OidcError> {
    let Some(challenge) = params.get("code_challenge") else {
        return Err(OidcError::request("code_challenge is missing: PKCE is required."));
    };
    if params.get("code_challenge_method") != Some("S256") {
        return Err(OidcError::request("The only code_challenge_method is S256."));
    }
    let good = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
    match challenge.len() == 43 && challenge.bytes().all(good) {
        true => Ok(challenge.to_owned()),
        false => Err(OidcError::request("code_challenge is not the base64url of a SHA-256.")),
    }
}

/// What comes next.
///
/// # Errors
/// When the view fails.
pub fn way(
    view: &dyn View,
    request: &AuthorizeRequest,
    visitor: Option<&Visitor>,
    now: Timestamp,
) -> Result<Way, StoreError> {
    let prompts = |what: &str| request.prompt.iter().any(|one| one == what);
    let must = |code, why: &str, otherwise| match prompts("none") {
        true => Way::Refused(OidcError::new(code, why)),
        false => otherwise,
    };
    let Some(visitor) = visitor else {
        return Ok(must("login_required", "Nobody is signed in here.", Way::SignIn));
    };
    let age = now.duration_since(visitor.session.created);
    let most = request.max_age.map(|most| most.max(JUST_NOW)).or(prompts("login").then_some(JUST_NOW));
    if most.is_some_and(|most| age > most) {
        return Ok(must("login_required", "They signed in too long ago.", Way::SignIn));
    }
    if roles(&visitor.principal, &request.client).is_empty() {
        let why =
            format!("They have no role in project {}: an admin can give one.", request.client.project.name);
        return Ok(Way::Refused(OidcError::new("access_denied", why)));
    }
    let before = view.all::<GrantSpec>(Some(visitor.session.any_id()))?;
    let agreed = before.iter().any(|grant| {
        grant.spec.env == request.client.env.id
            && request.scopes.iter().all(|scope| grant.spec.scopes.contains(scope))
    });
    if agreed && !prompts("consent") && !prompts("select_account") {
        return Ok(Way::On);
    }
    Ok(must("consent_required", "They were not asked yet.", Way::Ask))
}

/// The transaction that makes a code, and the code.
///
/// # Errors
/// When the view fails.
pub fn issue_code(
    view: &dyn View,
    request: &AuthorizeRequest,
    visitor: &Visitor,
    caller: &str,
    now: Timestamp,
) -> Result<Option<(Txn, Hidden)>, StoreError> {
    let Identity::User { user, session } = visitor.principal.identity else { return Ok(None) };
    // It may have ended meanwhile, or the app may have.
    let Some(session) = view.find::<SessionSpec>(session)?.filter(|it| now < it.spec.expires) else {
        return Ok(None);
    };
    let id = GrantId(SystemIds.ulid());
    let (text, code) = make(id, now.checked_add(CODE).unwrap_or(Timestamp::MAX));
    let client = &request.client;
    let spec = GrantSpec {
        client: client.id.clone(),
        env: client.env.id,
        user,
        redirect: request.redirect.clone(),
        challenge: request.challenge.clone(),
        nonce: request.nonce.clone(),
        scopes: request.scopes.clone(),
        signed_in: session.created,
        code,
    };
    let grant: Grant = Resource::new(id, id.to_string(), Some(session.any_id()), spec, now);
    let mut txn = Txn::new(visitor.principal.actor(), format!("sign in to {}", client.id), caller);
    txn.expect(session.id, session.version).expect(client.env.id, client.env.version).put(&grant);
    txn.event(id, "grant.given", json!({ "client": client.id, "user": visitor.principal.name }));
    let mut swept = 0;
    for old in view.all::<GrantSpec>(None)? {
        if swept < SWEPT && is_over(view, &old, now)? {
            txn.delete(old.id);
            swept += 1;
        }
    }
    Ok(Some((txn, text)))
}

/// The address that brings a code to the app.
pub fn return_to(request: &AuthorizeRequest, code: &Hidden, issuer: &str) -> String {
    answer(&request.redirect, request.state.as_deref(), issuer, &[("code", code.expose())])
}

/// The address that tells the app why there is none.
pub fn deny(request: &AuthorizeRequest, issuer: &str, why: &OidcError) -> String {
    refusal(&request.redirect, request.state.as_deref(), issuer, why)
}

fn refusal(redirect: &str, state: Option<&str>, issuer: &str, why: &OidcError) -> String {
    answer(redirect, state, issuer, &[("error", why.code), ("error_description", &why.description)])
}

/// With the issuer in it, so that an app with several providers knows which one answered (RFC 9207).
fn answer(redirect: &str, state: Option<&str>, issuer: &str, more: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(more);
    if let Some(state) = state {
        query.append_pair("state", state);
    }
    query.append_pair("iss", issuer);
    let joint = if redirect.contains('?') { '&' } else { '?' };
    format!("{redirect}{joint}{}", query.finish())
}
