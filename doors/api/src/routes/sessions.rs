//! Signing in and out, and the sessions that come of it.
//!
//! Invariants: a try costs the same work whoever is named; at most [`AT_ONCE`] tries are worked on at once, so
//! that they cannot take the machine's memory; what was sent is repeated in no answer, event or log.

use super::resources::missing;
use crate::{
    client_address::ClientAddress,
    commit::commit,
    error::{Answer, Failure},
    extract::{HiddenJson, Id},
    params::{FromParams, Keys, NoParams, Params},
    request::RequestId,
    state::Api,
    who::{Caller, Who, not_allowed},
};
use axum::{
    Extension, Json as Sent,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use freehold_identity::{
    self as identity, Action, Identity, Opened, Origin, PeopleError, Place, TokenHash, hash_password,
    verify_password,
};
use freehold_model::{
    Code, Problem, SessionId, SessionSpec,
    people::{AcceptInvite, SessionSummary, SignIn, SignedIn},
};
use freehold_reconcile::{View, ViewExt as _};
use tokio::sync::Semaphore;
use utoipa::IntoParams;

/// Each try takes 19 MiB.
const AT_ONCE: usize = 2;
static WORK: Semaphore = Semaphore::const_new(AT_ONCE);

/// Signs in with a name and a password.
#[utoipa::path(post, path = "/v1/session", operation_id = "sign_in", tag = "people", security(()), request_body = SignIn,
    responses((status = 201, description = "A session: as a token, or as a cookie with the csrf token", body = SignedIn)))]
pub(crate) async fn sign_in(
    State(api): State<Api>,
    address: ClientAddress,
    Extension(request): Extension<RequestId>,
    headers: HeaderMap,
    _: Params<NoParams>,
    HiddenJson(wanted): HiddenJson<SignIn>,
) -> Answer<Response> {
    may_try(&api, address)?;
    let now = api.clock.now();
    let name = wanted.user.clone();
    let found = api.read(move |view| Ok(identity::find_user(view, &name, now)?)).await?;
    let (user, open) = found.map_or((None, false), |(user, open)| (Some(user), open));
    let kept = user.as_ref().filter(|_| open).and_then(|user| user.spec.password.clone());
    let origin = origin(&api, &headers, address, request.0).await?;
    let fits = work(move || verify_password(kept.as_deref(), wanted.password.expose())).await?;
    let Some(user) = user.filter(|_| fits) else {
        return Err(wrong(&api, &wanted.user, origin, address).await?);
    };
    let opened =
        commit(&api, move |view| identity::sign_in(view, &user, &origin, now).map_err(Failure::from)).await?;
    Ok(welcome(opened, wanted.cookie, &headers))
}

/// Chooses a password with an invite, which is good once; ends every older session and opens one.
#[utoipa::path(post, path = "/v1/invites", operation_id = "accept_invite", tag = "people", security(()),
    request_body = AcceptInvite, responses((status = 201, description = "A session", body = SignedIn)))]
pub(crate) async fn accept(
    State(api): State<Api>,
    address: ClientAddress,
    Extension(request): Extension<RequestId>,
    headers: HeaderMap,
    _: Params<NoParams>,
    HiddenJson(wanted): HiddenJson<AcceptInvite>,
) -> Answer<Sent2> {
    may_try(&api, address)?;
    let (now, shown) = (api.clock.now(), TokenHash::of(wanted.invite.expose()));
    let Some(user) = api.read(move |view| Ok(identity::invited(view, &shown, now)?)).await? else {
        api.attempts.failed(address.0, now);
        return Err(identity::bad_invite().into());
    };
    identity::check_password(&user, wanted.password.expose())?;
    let hashed = work(move || hash_password(wanted.password.expose())).await?;
    let origin = origin(&api, &headers, address, request.0).await?;
    let decide = move |view: &dyn View| {
        identity::accept_invite(view, &shown, &hashed, &origin, now).map_err(Failure::from)
    };
    let opened = commit(&api, decide).await?;
    Ok((StatusCode::CREATED, Sent(token_of(opened))))
}

type Sent2 = (StatusCode, Sent<SignedIn>);

/// The session of who asks, and what a page of this server needs to change something.
#[utoipa::path(get, path = "/v1/session", operation_id = "get_session", tag = "people",
    responses((status = 200, description = "The session", body = SignedIn)))]
pub(crate) async fn current(State(api): State<Api>, who: Who, _: Params<NoParams>) -> Answer<Sent<SignedIn>> {
    let Identity::User { user, session } = who.principal.identity else { return Err(no_session()) };
    let csrf = who.by_cookie.then(|| who.csrf());
    let all = api.read(move |view| Ok(identity::session_summaries(view, Some(user), Some(session))?)).await?;
    let session = all.into_iter().find(|it| it.current).ok_or_else(no_session)?;
    Ok(Sent(SignedIn { session, token: None, csrf }))
}

/// Signs out: ends the session of who asks.
#[utoipa::path(delete, path = "/v1/session", operation_id = "sign_out", tag = "people",
    responses((status = 204, description = "It is over")))]
pub(crate) async fn sign_out(
    State(api): State<Api>,
    who: Who,
    _: Params<NoParams>,
    caller: Caller,
) -> Answer<Response> {
    let Identity::User { session, .. } = who.principal.identity else { return Err(no_session()) };
    end(&api, &who, caller.request, session).await?;
    let gone = HeaderValue::from_static("freehold_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax");
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, gone)]).into_response())
}

/// Whose sessions.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Whose {
    /// Of everybody, for those who manage users; otherwise of who asks.
    #[param(inline)]
    everybody: Option<bool>,
}

impl FromParams for Whose {
    fn from_params(keys: &mut Keys) -> Self {
        Whose { everybody: Some(keys.flag("everybody")) }
    }
}

/// Lists sessions.
#[utoipa::path(get, path = "/v1/sessions", operation_id = "list_sessions", tag = "people", params(Whose),
    responses((status = 200, description = "In order of their beginning", body = Vec<SessionSummary>)))]
pub(crate) async fn list(
    State(api): State<Api>,
    who: Who,
    Params(whose): Params<Whose>,
) -> Answer<Sent<Vec<SessionSummary>>> {
    let everybody = whose.everybody == Some(true);
    if everybody && !who.may(Action::ManageUsers, Place::House) {
        return Err(not_allowed(Action::ManageUsers).into());
    }
    let (user, session) = match who.principal.identity {
        Identity::User { user, session } => (Some(user), Some(session)),
        _ if !everybody => return Ok(Sent(vec![])),
        _ => (None, None),
    };
    let user = user.filter(|_| !everybody);
    api.read(move |view| Ok(identity::session_summaries(view, user, session)?)).await.map(Sent)
}

/// Ends a session: one's own, or anybody's for those who manage users. Its streams end within a heartbeat.
#[utoipa::path(delete, path = "/v1/sessions/{id}", operation_id = "revoke_session", tag = "people",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 204, description = "It is over")))]
pub(crate) async fn revoke(
    State(api): State<Api>,
    Id(id): Id<SessionId>,
    who: Who,
    _: Params<NoParams>,
    caller: Caller,
) -> Answer<StatusCode> {
    end(&api, &who, caller.request, id).await.map(|()| StatusCode::NO_CONTENT)
}

async fn end(api: &Api, who: &Who, request: String, id: SessionId) -> Answer<()> {
    let who = who.clone();
    commit(api, move |view| {
        let found = view.find::<SessionSpec>(id)?;
        let own = |it: &freehold_model::Session| match who.principal.identity {
            Identity::User { user, .. } => it.parent == Some(user.into()),
            _ => false,
        };
        let session = found.filter(|it| own(it) || who.may(Action::ManageUsers, Place::House));
        let session = session.ok_or_else(|| missing(id))?;
        Ok((identity::end_session(&session, &who.principal, &request), ()))
    })
    .await
}

fn no_session() -> Failure {
    Problem::new(Code::NotFound, "You did not sign in: a token let you in.")
        .hint("POST /v1/session, or `freehold login`, begins a session.")
        .into()
}

fn may_try(api: &Api, address: ClientAddress) -> Answer<()> {
    api.attempts.may_try(address.0, api.clock.now()).map_err(|until| {
        Problem::new(Code::RateLimited, "Too many sign-ins from your address have failed.")
            .hint(format!("Try again after {}.", until.strftime("%H:%M:%S UTC")))
            .into()
    })
}

/// Notes a wrong password, and answers in the same words whatever was wrong.
async fn wrong(api: &Api, name: &str, origin: Origin, address: ClientAddress) -> Answer<Failure> {
    let now = api.clock.now();
    api.attempts.failed(address.0, now);
    let name = name.to_owned();
    // Those who fail at once are all counted, or the lock could be outrun.
    for _ in 0..8 {
        let (name, origin) = (name.clone(), origin.clone());
        let decide = move |view: &dyn View| match identity::find_user(view, &name, now)? {
            Some((user, _)) => Ok(identity::refused(view, user.id, &origin, now)?),
            None => Ok(None),
        };
        let Some(txn) = api.read(decide).await? else { break };
        match api.store.commit(txn).await {
            Err(conflict) if conflict.is_conflict() => {}
            Ok(_) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(PeopleError::wrong().into())
}

/// Where the request comes from, and which session it would replace.
async fn origin(api: &Api, headers: &HeaderMap, address: ClientAddress, request: String) -> Answer<Origin> {
    let program = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let before = match crate::auth::identify(api, headers).await? {
        Some(who) => match who.principal.identity {
            Identity::User { session, .. } => Some(session),
            _ => None,
        },
        None => None,
    };
    Ok(Origin {
        address: address.0.map(|address| address.to_string()),
        program: program.map(|text| text.chars().take(120).collect()),
        request,
        before,
    })
}

/// Hashing takes memory and time: few at once, and never on a thread that serves others.
async fn work<T: Send + 'static>(hash: impl FnOnce() -> T + Send + 'static) -> Answer<T> {
    let _turn = WORK.acquire().await.map_err(Failure::internal)?;
    tokio::task::spawn_blocking(hash).await.map_err(Failure::internal)
}

fn token_of(opened: Opened) -> SignedIn {
    SignedIn { session: opened.summary, token: Some(opened.secret), csrf: None }
}

fn welcome(opened: Opened, cookie: bool, headers: &HeaderMap) -> Response {
    if !cookie {
        return (StatusCode::CREATED, Sent(token_of(opened))).into_response();
    }
    let by_tls = headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
    let secure = if by_tls { "; Secure" } else { "" };
    let text = format!(
        "freehold_session={}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax{secure}",
        opened.secret.expose(),
        identity::SESSION.as_secs()
    );
    let csrf = crate::who::csrf(&TokenHash::of(opened.secret.expose()));
    let body = SignedIn { session: opened.summary, token: None, csrf: Some(csrf) };
    let mut response = (StatusCode::CREATED, Sent(body)).into_response();
    if let Ok(mut value) = HeaderValue::from_str(&text) {
        value.set_sensitive(true);
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}
