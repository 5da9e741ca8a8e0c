//! Signing in and out, and the sessions that come of it.

use super::resources::missing;
use crate::{
    browser,
    commit::commit,
    error::{Answer, Failure},
    extract::{HiddenJson, Id},
    params::{FromParams, Keys, NoParams, Params},
    signing::{self, Attempt},
    state::Api,
    who::{Caller, Who, not_allowed},
};
use axum::{
    Json as Sent,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use freehold_identity::{self as identity, Action, Identity, Opened, Place, TokenHash};
use freehold_model::{
    Code, Problem, SessionId, SessionSpec,
    people::{AcceptInvite, SessionSummary, SignIn, SignedIn},
};
use freehold_reconcile::ViewExt as _;
use utoipa::IntoParams;

/// Signs in with a name and a password.
#[utoipa::path(post, path = "/v1/session", operation_id = "sign_in", tag = "people", security(()), request_body = SignIn,
    responses((status = 201, description = "A session: as a token, or as a cookie with the csrf token", body = SignedIn)))]
pub(crate) async fn sign_in(
    State(api): State<Api>,
    attempt: Attempt,
    headers: HeaderMap,
    _: Params<NoParams>,
    HiddenJson(wanted): HiddenJson<SignIn>,
) -> Answer<Response> {
    let opened = signing::with_password(&api, &attempt, &wanted.user, wanted.password, wanted.code).await?;
    Ok(welcome(opened, wanted.cookie, &headers))
}

/// Chooses a password with an invite, which is good once; ends every older session and opens one.
#[utoipa::path(post, path = "/v1/invites", operation_id = "accept_invite", tag = "people", security(()),
    request_body = AcceptInvite, responses((status = 201, description = "A session", body = SignedIn)))]
pub(crate) async fn accept(
    State(api): State<Api>,
    attempt: Attempt,
    _: Params<NoParams>,
    HiddenJson(wanted): HiddenJson<AcceptInvite>,
) -> Answer<(StatusCode, Sent<SignedIn>)> {
    let opened = signing::with_invite(&api, &attempt, &wanted.invite, wanted.password).await?;
    if opened.half {
        return Err(signing::code_needed(
            "The password is set. Signing in takes a code of your second factor too.",
        )
        .into());
    }
    Ok((StatusCode::CREATED, Sent(token_of(opened))))
}

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
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, browser::end())]).into_response())
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

pub(crate) async fn end(api: &Api, who: &Who, request: String, id: SessionId) -> Answer<()> {
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

fn token_of(opened: Opened) -> SignedIn {
    SignedIn { session: opened.summary, token: Some(opened.secret), csrf: None }
}

fn welcome(opened: Opened, cookie: bool, headers: &HeaderMap) -> Response {
    if !cookie {
        return (StatusCode::CREATED, Sent(token_of(opened))).into_response();
    }
    let set = browser::begin(&opened, headers);
    let csrf = crate::who::csrf(&TokenHash::of(opened.secret.expose()));
    let body = SignedIn { session: opened.summary, token: None, csrf: Some(csrf) };
    let mut response = (StatusCode::CREATED, Sent(body)).into_response();
    response.headers_mut().extend(set.map(|set| (header::SET_COOKIE, set)));
    response
}
