//! What stands before every page: who is signed in by cookie, and whether a form is one of ours. Called by
//! [`crate::auth::guard`], once it has compared origins.
//!
//! Invariants: a token lets nobody into a page; no handler sees a form without its csrf token; a failure is a
//! page too, in the words of the problem.

use super::{
    form::{Form, FormToken},
    layout::Frame,
    local::Local,
};
use crate::{
    auth::identify_counted,
    error::{Answer, Failure},
    extract::in_time,
    state::Api,
    stranger::Stranger,
};
use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, Method, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use freehold_identity::{Action, Needs, RateOf};
use freehold_model::{Code, Problem};

/// The largest form that is read.
const MAX_FORM: usize = 64 << 10;

/// Lets a request through to its page, or answers why not.
pub(crate) async fn admit(
    api: &Api,
    action: Action,
    refused: Option<Problem>,
    request: Request,
    next: Next,
) -> Response {
    let method = request.method().clone();
    let headers = request.headers().clone();
    let answered = match refused {
        Some(problem) => Err(problem.into()),
        None => enter(api, action, request, next).await,
    };
    let response = answered.unwrap_or_else(IntoResponse::into_response);
    match response.extensions().get::<Problem>() {
        Some(problem) => Frame::of_nobody(&headers).problem(problem, method == Method::GET),
        None => response,
    }
}

async fn enter(api: &Api, action: Action, request: Request, next: Next) -> Answer<Response> {
    let (mut parts, body) = request.into_parts();
    let who = identify_counted(api, action, &parts).await?.filter(|who| who.by_cookie);
    if let (Some(who), Some(stranger)) = (&who, parts.extensions.get::<Stranger>()) {
        stranger.is_known(RateOf::of(who.principal.identity));
    }
    let signed_in_only = action.needs() == Needs::SignedIn;
    if signed_in_only && who.is_none() {
        let wanted = parts.uri.path_and_query().filter(|_| parts.method == Method::GET);
        let wanted = wanted.and_then(|it| it.as_str().parse().ok()).unwrap_or_else(Local::account);
        return Ok(Redirect::to(&wanted.after_sign_in()).into_response());
    }
    let token = FormToken::of(who.as_ref().filter(|_| signed_in_only), &parts.headers);
    let mut body = body;
    if parts.method == Method::POST {
        require_form(&parts.headers)?;
        let bytes = in_time(axum::body::to_bytes(body, MAX_FORM)).await?.map_err(|_| too_large())?;
        let form = Form::parse(&bytes);
        if !token.is_in(&form) {
            return Err(not_ours().into());
        }
        parts.extensions.insert(form);
        body = Body::empty();
    }
    parts.extensions.insert(Frame::new(&parts.headers, who.clone(), token));
    if let Some(who) = who {
        parts.extensions.insert(who);
    }
    Ok(next.run(Request::from_parts(parts, body)).await)
}

fn require_form(headers: &HeaderMap) -> Answer<()> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    match essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        true => Ok(()),
        false => Err(Problem::new(Code::Invalid, "This page takes forms.")
            .hint("Programs use the API: GET /openapi.json describes it.")
            .into()),
    }
}

fn too_large() -> Failure {
    let title = format!("The form is larger than {} KiB, or it ended too early.", MAX_FORM >> 10);
    Problem::new(Code::TooLarge, title).hint("Go back and try again.").into()
}

fn not_ours() -> Problem {
    Problem::new(Code::NotAllowed, "This form is too old, or it is not from here.")
        .hint("Go back, load the page again and send it once more. This needs cookies.")
}
