//! `/oidc/logout`: an app sends somebody here to sign out of the house too, and may have them sent back (OpenID
//! Connect RP-Initiated Logout 1.0).

use super::{REQUEST, carried, go, leading_away, session, wrong};
use crate::{
    browser,
    error::Answer,
    pages::{form::Form, layout::Frame},
    routes::oidc::{issuer, refused},
    state::Api,
    who::{Caller, Who},
};
use axum::{
    extract::{RawQuery, State},
    http::{StatusCode, header},
    response::Response,
};
use freehold_identity::oidc::{OidcError, OidcParams, SignOut, ask_sign_out};
use maud::html;

/// Signs out whom the app's ID token was made for in this very browser; asks everybody else.
pub(crate) async fn show(
    State(api): State<Api>,
    frame: Frame,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Answer<Response> {
    let query = query.unwrap_or_default();
    let wanted = match read(&api, &query).await? {
        Ok(wanted) => wanted,
        Err(why) => return Ok(wrong(&frame, why)),
    };
    let Some(who) = frame.who.clone() else { return Ok(gone(&frame, &wanted)) };
    let own = session(&who).map(|session| session.to_string());
    if wanted.session.is_some() && wanted.session == own {
        return leave(&api, &frame, &who, caller, &wanted).await;
    }
    let body = html! {
        p.lead {
            "You are " strong { (who.principal.name) } ". "
            @if let Some(app) = &wanted.app { strong { (app) } " asks you to sign out here" }
            @else { "Signing out here" }
            " signs you out of every app."
        }
        form method="post" action="/oidc/logout" {
            (carried(&who, &query))
            button type="submit" { "Sign out" }
        }
    };
    let page = frame.card(StatusCode::OK, "Sign out?", body);
    Ok(if wanted.then.is_some() { leading_away(page) } else { page })
}

/// Signs out.
pub(crate) async fn answer(
    State(api): State<Api>,
    frame: Frame,
    who: Who,
    caller: Caller,
    form: Form,
) -> Answer<Response> {
    match read(&api, form.get(REQUEST)).await? {
        Ok(wanted) => leave(&api, &frame, &who, caller, &wanted).await,
        Err(why) => Ok(wrong(&frame, why)),
    }
}

async fn read(api: &Api, query: &str) -> Answer<Result<SignOut, OidcError>> {
    let at = issuer(api)?.to_string();
    let params = match OidcParams::read(query.as_bytes()) {
        Ok(params) => params,
        Err(why) => return Ok(Err(why)),
    };
    let hint = match params.get("id_token_hint") {
        Some(token) => api.signer.verify(token).await?,
        None => None,
    };
    api.read(move |view| refused(ask_sign_out(view, &params, hint.as_ref(), &at))).await
}

async fn leave(api: &Api, frame: &Frame, who: &Who, caller: Caller, wanted: &SignOut) -> Answer<Response> {
    super::end(api, who, caller).await?;
    let mut frame = frame.clone();
    frame.who = None;
    let mut response = gone(&frame, wanted);
    response.headers_mut().append(header::SET_COOKIE, browser::end());
    Ok(response)
}

fn gone(frame: &Frame, wanted: &SignOut) -> Response {
    match &wanted.then {
        Some(address) => go(address),
        None => {
            let body =
                html! { p { "You are signed out, here and of every app that you signed in to from here." } };
            frame.card(StatusCode::OK, "Signed out", body)
        }
    }
}
