//! The pages to which apps send people: to sign in to the app, and to sign out. What is decided is in
//! `freehold_identity::oidc`.
//!
//! Invariant: nothing of what an app sent is shown but what its manifest says too; and a page leads to no other
//! site than the one that the manifest names.

pub(crate) mod authorize;
pub(crate) mod logout;

use super::layout::{Frame, alert};
use crate::{
    error::Failure,
    state::Api,
    who::{Caller, Who},
};
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use freehold_identity::{Identity, oidc::OidcError};
use freehold_model::{Code, Problem, SessionId};
use maud::{Markup, html};

/// The field in which a form carries the request that it answers.
const REQUEST: &str = "request";

/// What is wrong, for the person: there is nobody else who could be told.
fn wrong(frame: &Frame, why: OidcError) -> Response {
    let problem = Problem::new(Code::Invalid, "The app sent you here with a request that is not in order.")
        .detail(why.description)
        .hint("Whoever runs the app can mend that; nothing was told to it.");
    frame.card(StatusCode::BAD_REQUEST, "This cannot go on", html! { (alert(&problem)) })
}

/// To another site, or to another page here.
fn go(address: &str) -> Response {
    Redirect::to(address).into_response()
}

/// `page`, whose form may be answered by a redirect to an app: browsers hold such redirects to `form-action` too, and
/// those by which the app goes on from there.
fn leading_away(mut page: Response) -> Response {
    let policy = page.headers().get(header::CONTENT_SECURITY_POLICY).and_then(|it| it.to_str().ok());
    let wider = policy.map(|policy| policy.replace("form-action 'self'", "form-action 'self' https: http:"));
    if let Some(value) = wider.and_then(|wider| HeaderValue::from_str(&wider).ok()) {
        page.headers_mut().insert(header::CONTENT_SECURITY_POLICY, value);
    }
    page
}

/// What a form of these pages carries.
fn carried(who: &Who, request: &str) -> Markup {
    html! {
        input type="hidden" name="csrf" value=(who.csrf().expose());
        input type="hidden" name=(REQUEST) value=(request);
    }
}

/// Ends the session of this browser.
async fn end(api: &Api, who: &Who, caller: Caller) -> Result<(), Failure> {
    match session(who) {
        Some(session) => crate::routes::sessions::end(api, who, caller.request, session).await,
        None => Ok(()),
    }
}

fn session(who: &Who) -> Option<SessionId> {
    match who.principal.identity {
        Identity::User { session, .. } => Some(session),
        _ => None,
    }
}
