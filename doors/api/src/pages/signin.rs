//! `/signin` and `/signout`: from a name and a password to a session in a cookie, and back.

use super::{
    form::Form,
    layout::{Frame, alert, status},
    local::Local,
    passkey, sso,
};
use crate::{
    browser,
    error::{Answer, Failure},
    params::{FromParams, Keys, Params},
    routes::sessions::end,
    signing::{self, Attempt},
    state::Api,
    who::{Caller, Who},
};
use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use freehold_identity::{Identity, Opened};
use freehold_model::Problem;
use maud::html;

/// Where to go afterwards.
pub(crate) struct Afterwards(pub(crate) Option<Local>);

impl FromParams for Afterwards {
    fn from_params(keys: &mut Keys) -> Self {
        Afterwards(keys.optional("next"))
    }
}

/// The form; who is signed in goes on.
pub(crate) async fn show(
    State(api): State<Api>,
    frame: Frame,
    Params(Afterwards(next)): Params<Afterwards>,
) -> Response {
    let next = next.unwrap_or_else(Local::account);
    match frame.who {
        Some(_) => Redirect::to(&next.to_string()).into_response(),
        None => ask(&frame, &api, &next, "", None).await,
    }
}

/// Signs in, and goes on. A session is made anew, and the one before it ends.
pub(crate) async fn sign_in(
    State(api): State<Api>,
    frame: Frame,
    attempt: Attempt,
    headers: HeaderMap,
    form: Form,
) -> Response {
    let next = form.get("next").parse().unwrap_or_else(|_| Local::account());
    let name = form.get("user").trim();
    match signing::begin(&api, &attempt, name, form.hidden("password")).await {
        Ok(opened) => welcome(&frame, &opened, &headers, &next),
        Err(Failure(problem)) => ask(&frame, &api, &next, name, Some(&problem)).await,
    }
}

/// Ends the session of this browser.
pub(crate) async fn sign_out(State(api): State<Api>, who: Who, caller: Caller) -> Answer<Response> {
    if let Identity::User { session, .. } = who.principal.identity {
        end(&api, &who, caller.request, session).await?;
    }
    Ok(([(header::SET_COOKIE, browser::end())], Redirect::to("/signin")).into_response())
}

/// Sets the session's cookie and goes to `next`, or to where a code is asked for first.
pub(crate) fn welcome(frame: &Frame, opened: &Opened, headers: &HeaderMap, next: &Local) -> Response {
    let mut response = match next.may_lead_away() {
        _ if opened.half => Redirect::to(&next.after("/signin/code")).into_response(),
        false => Redirect::to(&next.to_string()).into_response(),
        true => {
            let body = html! { p { "You are signed in. " a href=(next.to_string()) { "Go on" } "." } };
            let mut response = frame.card(StatusCode::OK, "Signed in", body);
            let refresh = HeaderValue::from_str(&format!("0; url={next}")).ok();
            response.headers_mut().extend(refresh.map(|refresh| (header::REFRESH, refresh)));
            response
        }
    };
    response.headers_mut().extend(browser::begin(opened, headers).map(|set| (header::SET_COOKIE, set)));
    response
}

/// The page, with what was wrong the time before.
pub(super) async fn ask(
    frame: &Frame,
    api: &Api,
    next: &Local,
    name: &str,
    problem: Option<&Problem>,
) -> Response {
    let (status, others) = (status(problem), sso::buttons(api, frame, next).await);
    let body = html! {
        p.lead { "to " strong { (frame.host) } }
        @if let Some(problem) = problem { (alert(problem)) }
        form method="post" action="/signin" {
            (frame.csrf())
            input type="hidden" name="next" value=(next.to_string());
            label for="user" { "Name" }
            input #user type="text" name="user" value=(name) required maxlength="64" autocomplete="username"
                autocapitalize="none" spellcheck="false" autofocus[name.is_empty()];
            label for="password" { "Password" }
            input #password type="password" name="password" required maxlength="256"
                autocomplete="current-password" autofocus[!name.is_empty()];
            button type="submit" { "Sign in" }
        }
        (passkey::signin::section(frame, api, next))
        (others)
        p.note { "No account, or no password any more? Ask an admin of this server for an invite." }
    };
    frame.card(status, "Sign in", body)
}
