//! The guard before every route: who calls, and whether they may. Asks `freehold-identity` both.
//!
//! Browsers: a session's cookie is SameSite=Lax, and what changes something needs the csrf token beside it (of
//! pages, [`pages::guard`] sees to that); the
//! API sends no CORS header, so a foreign page cannot read an answer. WebSockets know no CORS; so a request
//! whose `Origin` is not the host it was sent to is refused. That also ends what DNS rebinding could try: under
//! the rebound name there is no cookie and no password to send.

use crate::{
    access::{Target, Where, target},
    browser::{self, SESSION_COOKIE},
    client_address::ClientAddress,
    error::{Answer, Failure},
    extract::Id,
    limit::{self, Throttled},
    pages,
    routes::resources::missing,
    state::Api,
    stranger::Stranger,
    who::{Who, not_allowed, reading},
    withheld,
};
use axum::{
    Json,
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use freehold_identity::{
    Access, Action, Admitted, Identity, Needs, Peer, Place, RateOf, TokenHash, decide, decide_peer,
};
use freehold_image::Addressed;
use freehold_model::{AnyId, Code, Problem, Rate};
use std::str::FromStr;

/// Lets a request through, or answers why not.
pub(crate) async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let (action, site) = match target(request.method(), matched, request.uri().path()) {
        Target::Route(action, place) => (action, Site::Route(place)),
        Target::Registry(action) => (action, Site::Registry),
        Target::Page(action) => {
            let problem = same_origin(request.headers()).and_then(|()| serving(&api, action)).err();
            return pages::guard::admit(&api, action, problem, request, next).await;
        }
        Target::OtherMethod(methods) => return other_method(&methods),
        Target::Unknown => return unknown(request.uri().path()),
    };
    let registry = site == Site::Registry;
    if let Err(problem) = same_origin(request.headers()).and_then(|()| serving(&api, action)) {
        return refuse(problem, registry);
    }
    match admit(&api, action, site, request).await {
        Ok(request) => {
            let who = request.extensions().get::<Who>();
            let withheld = who.map(|who| who.withheld.clone()).unwrap_or_default();
            withheld::answer(next.run(request).await, &withheld)
        }
        Err(Refused::Problem(Failure(problem))) => refuse(problem, registry),
        Err(Refused::Throttled(throttled)) => throttled.answer(|problem| refuse(problem, registry)),
    }
}

/// Why a request gets no further.
pub(crate) enum Refused {
    Problem(Failure),
    Throttled(Throttled),
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Refused {
        Refused::Problem(failure)
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Refused {
        Refused::Problem(problem.into())
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Failure {
        match refused {
            Refused::Problem(failure) => failure,
            Refused::Throttled(throttled) => throttled.problem.into(),
        }
    }
}

impl From<Throttled> for Refused {
    fn from(throttled: Throttled) -> Refused {
        Refused::Throttled(throttled)
    }
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Site {
    Route(Where),
    Registry,
}

/// The request with who makes it, if they may.
async fn admit(api: &Api, action: Action, site: Site, request: Request) -> Result<Request, Refused> {
    let (mut parts, body) = request.into_parts();
    let Some(who) = identify_counted(api, action, &parts).await? else {
        if let Some(stranger) = parts.extensions.get::<Stranger>() {
            stranger.is_a_strangers();
        }
        return match decide(None, action, Place::Anywhere) {
            Access::Granted => Ok(Request::from_parts(parts, body)),
            _ => Err(not_signed_in(&parts.headers).into()),
        };
    };
    if let Some(stranger) = parts.extensions.get::<Stranger>() {
        stranger.is_known(RateOf::of(who.principal.identity));
    }
    // Whoever signs in proves it by what the body holds.
    if action.needs() != Needs::Nothing {
        is_meant(&who, &parts.method, &parts.headers)?;
    }
    let let_in = match site {
        _ if who.principal.is_root() => granted(&who, action, Place::House),
        Site::Registry => registry(api, action, &who, &mut parts).await,
        Site::Route(Where::House) => granted(&who, action, Place::House),
        Site::Route(Where::Anywhere | Where::Named) => granted(&who, action, Place::Anywhere),
        Site::Route(Where::Id) => by_id(api, action, &who, &mut parts).await,
    };
    let_in.map_err(|Failure(problem)| withheld::explained(problem, &who.withheld))?;
    parts.extensions.insert(who);
    Ok(Request::from_parts(parts, body))
}

/// Who makes the request, if what they show lets anybody in and they have not asked too often.
pub(crate) async fn identify_counted(
    api: &Api,
    action: Action,
    parts: &Parts,
) -> Result<Option<Who>, Refused> {
    let address = parts.extensions.get::<ClientAddress>().copied().unwrap_or_default();
    let known = known(api, &parts.headers);
    if known.is_none() && action != Action::Probe {
        limit::may_guess(api, address)?;
    }
    let who = match known {
        Some(who) => Some(who),
        None => identify(api, &parts.headers).await?,
    };
    match &who {
        Some(who) => limit::count(api, who)?,
        None if action == Action::Probe => {}
        None => limit::count_stranger(api, address)?,
    }
    Ok(who)
}

/// Who makes the request, if what they show lets anybody in.
pub(crate) async fn identify(api: &Api, headers: &HeaderMap) -> Answer<Option<Who>> {
    if let Some(who) = known(api, headers) {
        return Ok(Some(who));
    }
    let Some((text, by_cookie)) = credentials(headers) else { return Ok(None) };
    let (shown, now, head) = (TokenHash::of(&text), api.clock.now(), *api.store.head().borrow());
    let found = api.read(move |view| Ok(freehold_identity::admit(view, &shown, now)?)).await?;
    if let Some(found) = &found {
        api.known.note(&shown, head, found);
    }
    Ok(found.and_then(|found| admitted(found, shown, by_cookie)))
}

/// The same, without a look at the store: the owner of the data directory, and who was here since the last
/// change.
fn known(api: &Api, headers: &HeaderMap) -> Option<Who> {
    let (text, by_cookie) = credentials(headers)?;
    let shown = TokenHash::of(&text);
    if let Some(principal) = api.tokens.authenticate(&text).filter(|_| !by_cookie) {
        let (principal, withheld) = (principal.clone(), vec![]);
        return Some(Who { principal, shown, by_cookie, rate: Rate::OF_CALLERS, withheld });
    }
    let found = api.known.find(&shown, *api.store.head().borrow(), api.clock.now())?;
    admitted(found, shown, by_cookie)
}

fn admitted(found: Admitted, shown: TokenHash, by_cookie: bool) -> Option<Who> {
    // A cookie is a session's, and nothing else.
    let is_session = matches!(found.principal.identity, Identity::User { .. });
    let Admitted { principal, rate, withheld, .. } = found;
    (!by_cookie || is_session).then_some(Who { principal, shown, by_cookie, rate, withheld })
}

/// Refuses what a foreign page could have a browser send: a cookie comes along by itself, the csrf token does
/// not.
fn is_meant(who: &Who, method: &Method, headers: &HeaderMap) -> Answer<()> {
    if !who.by_cookie || method == Method::GET || method == Method::HEAD {
        return Ok(());
    }
    let given =
        headers.get("x-csrf-token").map(|value| TokenHash::of(&String::from_utf8_lossy(value.as_bytes())));
    match given.is_some_and(|given| given.matches(&TokenHash::of(who.csrf().expose()))) {
        true => Ok(()),
        false => Err(Problem::new(Code::NotAllowed, "The csrf token is missing or wrong.")
            .hint("GET /v1/session tells it to pages of this server; send it as the header `x-csrf-token`.")
            .into()),
    }
}

fn granted(who: &Who, action: Action, place: Place) -> Answer<()> {
    if who.may(action, place) { Ok(()) } else { Err(not_allowed(action).into()) }
}

/// For routes that name a resource: what is hidden, and what never was, are answered alike.
async fn by_id(api: &Api, action: Action, who: &Who, parts: &mut Parts) -> Answer<()> {
    let Id(id) = Id::<AnyId>::from_request_parts(parts, api).await?;
    let action = if action == Action::Read { reading(id.kind) } else { action };
    let place = api.read(move |view| Ok(Place::of(view, id)?)).await?;
    let access = place.map_or(Access::Hidden, |place| decide(Some(&who.principal), action, place));
    let may_know = place.is_some_and(|place| who.may(reading(id.kind), place));
    match access {
        Access::Granted => Ok(()),
        Access::NotAllowed if may_know => Err(not_allowed(action).into()),
        _ => Err(missing(id)),
    }
}

/// The same on the node door, where who calls is proved by a certificate, and a token counts for nothing.
pub(crate) async fn guard_machine(State(api): State<Api>, request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let action = match target(request.method(), matched, request.uri().path()) {
        Target::Route(action, _) => action,
        Target::OtherMethod(methods) => return other_method(&methods),
        Target::Registry(_) | Target::Page(_) | Target::Unknown => return unknown(request.uri().path()),
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
        Access::Hidden | Access::NotAllowed => refuse(not_allowed(action), false),
    }
}

/// For the registry: where the repository is that the path names. A mount from a repository that they may
/// not read becomes an upload, as the protocol has it for what cannot be mounted.
async fn registry(api: &Api, action: Action, who: &Who, parts: &mut Parts) -> Answer<()> {
    let name = match freehold_image::addressed(parts.uri.path()) {
        Addressed::Nothing => return granted(who, action, Place::Anywhere),
        Addressed::All => return granted(who, action, Place::House),
        Addressed::Repository(name) => name.to_owned(),
    };
    parts.extensions.insert(freehold_image::Pusher(format!("{:?}", who.principal.actor())));
    let query = parts.uri.query().unwrap_or_default();
    let sources: Vec<String> = form_urlencoded::parse(query.as_bytes())
        .filter(|pair| pair.0 == "from")
        .map(|pair| pair.1.into())
        .collect();
    let asker = who.clone();
    let (access, mounts) = api
        .read(move |view| {
            let mut mounts = true;
            for source in &sources {
                mounts &= asker.repository(view, Action::PullImage, source)? == Access::Granted;
            }
            Ok((asker.repository(view, action, &name)?, mounts))
        })
        .await?;
    match access {
        Access::Granted => {}
        Access::NotAllowed => return Err(not_allowed(action).into()),
        _ => return Err(Problem::new(Code::NotFound, "There is no such repository.").into()),
    }
    if !mounts && let Ok(plain) = parts.uri.path().parse() {
        parts.uri = plain;
    }
    Ok(())
}

/// The token that a request carries, as a bearer or as the password of any user; or the session's cookie, which
/// is said. Never one in the address. Of several, none: who passes requests on and who answers them could take
/// different ones.
fn credentials(headers: &HeaderMap) -> Option<(String, bool)> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    match (given.next(), given.next()) {
        (None, _) => Some((browser::cookie(headers, SESSION_COOKIE)?, true)),
        (Some(one), None) => Some((authorization(one.to_str().ok()?)?, false)),
        (Some(_), Some(_)) => None,
    }
}

fn authorization(value: &str) -> Option<String> {
    let (scheme, rest) = value.split_once(' ')?;
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

/// A refusal in the words of the route: problems, or the registry's own form (OCI distribution 1.1, errors).
fn refuse(problem: Problem, registry: bool) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::FORBIDDEN);
    let code = problem.code;
    let mut response = if registry {
        let code = match code {
            Code::NotSignedIn => "UNAUTHORIZED",
            Code::Unavailable => "UNAVAILABLE",
            Code::NotFound => "NAME_UNKNOWN",
            Code::RateLimited => "TOOMANYREQUESTS",
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
        credentials(&headers).is_some_and(|(token, _)| tokens.authenticate(&token).is_some())
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
