//! The guard before every route: who calls, and whether they may. Asks `freehold-identity` both.
//!
//! Browsers: the API sets no cookie and sends no CORS header, so a foreign page has nothing to ride on
//! and cannot read an answer. What a browser may remember is a password typed for Basic, and WebSockets
//! know no CORS; so a request whose `Origin` is not the host it was sent to is refused. That also ends
//! what DNS rebinding could try: under the rebound name there is no password to send.

use crate::{
    access::{Target, target},
    error::Failure,
    request::RequestId,
    state::Api,
};
use axum::{
    Json,
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use freehold_identity::{Access, Action, Peer, Principal, decide, decide_peer};
use freehold_model::{Actor, Code, Problem};
use std::{convert::Infallible, str::FromStr};

/// Lets a request through, or answers why not.
pub(crate) async fn guard(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let (action, registry) = match target(request.method(), matched, request.uri().path()) {
        Target::Route(action) => (action, false),
        Target::Registry(action) => (action, true),
        Target::OtherMethod(methods) => return other_method(&methods),
        Target::Unknown => return unknown(request.uri().path()),
    };
    if let Err(problem) = same_origin(request.headers()).and_then(|()| serving(&api, action)) {
        return refuse(problem, registry);
    }
    let principal = credentials(request.headers()).and_then(|token| api.tokens.authenticate(&token)).cloned();
    match decide(principal.as_ref(), action) {
        Access::Granted => {
            request.extensions_mut().insert(Known(principal));
            next.run(request).await
        }
        Access::NotSignedIn => refuse(not_signed_in(request.headers()), registry),
        Access::NotAllowed => refuse(not_allowed(action), registry),
    }
}

/// The same on the node door, where who calls is proved by a certificate, and a token counts for nothing.
pub(crate) async fn guard_machine(State(api): State<Api>, request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let action = match target(request.method(), matched, request.uri().path()) {
        Target::Route(action) => action,
        Target::OtherMethod(methods) => return other_method(&methods),
        Target::Registry(_) | Target::Unknown => return unknown(request.uri().path()),
    };
    if let Err(problem) = serving(&api, action) {
        return refuse(problem, false);
    }
    match decide_peer(request.extensions().get::<Peer>(), action) {
        Access::Granted => next.run(request).await,
        Access::NotSignedIn => {
            let problem =
                Problem::new(Code::NotSignedIn, "This needs the certificate of a node of this house.");
            refuse(problem.hint("`freehold node join` gets one, with a join token."), false)
        }
        Access::NotAllowed => refuse(not_allowed(action), false),
    }
}

#[derive(Clone)]
struct Known(Option<Principal>);

/// Who calls, as events and receipts name them, and the request's id.
pub(crate) struct Caller {
    /// Who acts.
    pub(crate) actor: Actor,
    /// Joins what is done with the server's log.
    pub(crate) request: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let known = parts.extensions.get::<Known>().and_then(|known| known.0.as_ref());
        let name = known.map_or("anonymous", |principal| &principal.name);
        let request = parts.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
        Ok(Caller { actor: Actor::User(name.to_owned()), request })
    }
}

/// The token that a request carries: as a bearer, or as the password of any user.
fn credentials(headers: &HeaderMap) -> Option<String> {
    let (scheme, rest) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
    decoded.split_once(':').map(|(_, password)| password.to_owned())
}

fn serving(api: &Api, action: Action) -> Result<(), Problem> {
    if action == Action::Probe || *api.ready.borrow() {
        return Ok(());
    }
    Err(Problem::new(Code::Unavailable, "The server is starting or stopping.")
        .hint("Try again once GET /healthz answers 200."))
}

fn same_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let authority = |text: &str| axum::http::uri::Authority::from_str(text).ok();
    let from = origin.to_str().ok().and_then(|text| authority(text.split_once("://")?.1));
    let to = headers.get(header::HOST).and_then(|host| authority(host.to_str().ok()?));
    if from.is_some() && from == to {
        return Ok(());
    }
    Err(Problem::new(Code::NotAllowed, "The request comes from a page of another site.")
        .hint("Call the API from a program, or from a page that this server itself sent."))
}

fn not_signed_in(headers: &HeaderMap) -> Problem {
    let title = match headers.contains_key(header::AUTHORIZATION) {
        true => "The token is not valid here.",
        false => "This needs a token.",
    };
    Problem::new(Code::NotSignedIn, title).hint(
        "Send `Authorization: Bearer TOKEN` (or Basic with the token as password). The server keeps its \
         admin token in the file `token` of its data directory; the command line takes FREEHOLD_TOKEN.",
    )
}

fn not_allowed(action: Action) -> Problem {
    Problem::new(Code::NotAllowed, format!("This token may not {action}.")).hint("Use a token that may.")
}

/// A refusal in the words of the route: problems, or the registry's own form (OCI distribution 1.1, errors).
fn refuse(problem: Problem, registry: bool) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::FORBIDDEN);
    let code = problem.code;
    let mut response = if registry {
        let code = match code {
            Code::NotSignedIn => "UNAUTHORIZED",
            Code::Unavailable => "UNAVAILABLE",
            _ => "DENIED",
        };
        let error = serde_json::json!({ "code": code, "message": problem.to_string() });
        (status, Json(serde_json::json!({ "errors": [error] }))).into_response()
    } else {
        Failure(problem).into_response()
    };
    if code == Code::NotSignedIn {
        // Clients of registries know Basic; a browser that sees it would prompt, so /v1 says Bearer.
        let challenge = if registry { "Basic realm=\"freehold\"" } else { "Bearer realm=\"freehold\"" };
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}

fn unknown(path: &str) -> Response {
    let path = crate::extract::excerpt(path);
    let problem = Problem::new(Code::NotFound, format!("There is no route `{path}`."))
        .hint("GET /openapi.json lists every route.");
    Failure(problem).into_response()
}

fn other_method(methods: &[&axum::http::Method]) -> Response {
    let list = methods.iter().map(|method| method.as_str()).collect::<Vec<_>>().join(", ");
    let mut problem = Problem::new(Code::Invalid, "This route does not have that method.")
        .hint(format!("It has: {list}. GET /openapi.json describes them."));
    problem.status = StatusCode::METHOD_NOT_ALLOWED.as_u16();
    let mut response = Failure(problem).into_response();
    if let Ok(allow) = HeaderValue::from_str(&list) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_identity::{Token, Tokens};

    fn accepts(tokens: &Tokens, value: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        credentials(&headers).is_some_and(|token| tokens.authenticate(&token).is_some())
    }

    #[test]
    fn a_token_is_taken_as_bearer_or_as_any_users_password() {
        let token = Token::generate();
        let tokens = Tokens::admin(&token);
        let clear = token.reveal();
        let basic = |text: String| format!("Basic {}", STANDARD.encode(text));
        for good in [
            format!("Bearer {clear}"),
            format!("bearer  {clear}"),
            basic(format!("me:{clear}")),
            basic(format!(":{clear}")),
        ] {
            assert!(accepts(&tokens, &good), "{good}");
        }
        let bads = [
            clear.to_owned(),
            format!("Token {clear}"),
            "Bearer".into(),
            "Bearer ".into(),
            "Basic !".into(),
            basic(clear.into()),
            basic(format!("{clear}:")),
        ];
        for bad in bads {
            assert!(!accepts(&tokens, &bad), "{bad}");
        }
    }

    #[test]
    fn only_a_page_of_the_same_host_may_call() {
        let check = |origin: Option<&str>, host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            same_origin(&headers).is_ok()
        };
        assert!(check(None, "127.0.0.1:7070"));
        assert!(check(Some("http://127.0.0.1:7070"), "127.0.0.1:7070"));
        for foreign in
            ["http://evil.example", "null", "http://127.0.0.1:8000", "http://127.0.0.1:7070.evil.example"]
        {
            assert!(!check(Some(foreign), "127.0.0.1:7070"), "{foreign}");
        }
    }
}
