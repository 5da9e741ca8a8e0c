//! `/oidc/authorize`: an app sends somebody here to sign in, and they go back with a code (OpenID Connect Core,
//! 3.1.2).

use super::{REQUEST, carried, go, leading_away, session, wrong};
use crate::{
    browser,
    commit::commit,
    error::{Answer, Failure},
    pages::{form::Form, layout::Frame, local::Local},
    routes::oidc::issuer,
    state::Api,
    who::{Caller, Who},
    withheld,
};
use axum::{
    extract::{RawQuery, State},
    http::{StatusCode, header},
    response::Response,
};
use freehold_identity::oidc::{
    Asked, AuthorizeRequest, OidcError, OidcParams, Visitor, Way, ask, deny, issue_code, return_to, way,
};
use freehold_model::{Actor, SessionSpec, Txn, secrets::Hidden};
use freehold_reconcile::{View, ViewExt as _};
use maud::html;

/// What somebody said.
const ANSWER: &str = "answer";

/// What a request comes to for whoever made it.
enum Outcome {
    Wrong(OidcError),
    Leave(String),
    Next(Way, Box<AuthorizeRequest>),
}

/// Asks whoever is signed in whether they want to sign in to the app; sends on who said so before in this session.
pub(crate) async fn show(
    State(api): State<Api>,
    frame: Frame,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Answer<Response> {
    let (query, at) = (query.unwrap_or_default(), issuer(&api)?.to_string());
    let params = match OidcParams::read(query.as_bytes()) {
        Ok(params) => params,
        Err(why) => return Ok(wrong(&frame, why)),
    };
    Ok(match look(&api, frame.who.as_ref(), &params, &at).await? {
        Outcome::Wrong(why) => wrong(&frame, why),
        Outcome::Leave(address) => go(&address),
        Outcome::Next(way, request) => match (way, &frame.who) {
            (Way::Refused(_), Some(who))
                if !who.withheld.is_empty() && params.get("prompt") != Some("none") =>
            {
                withheld::page(&frame, &who.withheld)
            }
            (Way::Refused(why), _) => go(&deny(&request, &at, &why)),
            (Way::SignIn, Some(who)) => again(&frame, who, &request, &query),
            (Way::SignIn, None) | (_, None) => go(&back_here(&query).after_sign_in()),
            (Way::Ask, Some(who)) => question(&frame, who, &request, &query),
            (Way::On, Some(who)) => return let_in(&api, &frame, who, params, at, caller.request).await,
        },
    })
}

/// Does what they said.
pub(crate) async fn answer(
    State(api): State<Api>,
    frame: Frame,
    who: Who,
    caller: Caller,
    form: Form,
) -> Answer<Response> {
    let (query, at) = (form.get(REQUEST), issuer(&api)?.to_string());
    let params = match OidcParams::read(query.as_bytes()) {
        Ok(params) => params,
        Err(why) => return Ok(wrong(&frame, why)),
    };
    match form.get(ANSWER) {
        "allow" => let_in(&api, &frame, &who, params, at, caller.request).await,
        "again" => {
            super::end(&api, &who, caller).await?;
            let mut response = go(&back_here(query).after_sign_in());
            response.headers_mut().insert(header::SET_COOKIE, browser::end());
            Ok(response)
        }
        _ => Ok(match look(&api, Some(&who), &params, &at).await? {
            Outcome::Wrong(why) => wrong(&frame, why),
            Outcome::Leave(address) => go(&address),
            Outcome::Next(_, request) => {
                go(&deny(&request, &at, &OidcError::new("access_denied", "They said no.")))
            }
        }),
    }
}

async fn look(api: &Api, who: Option<&Who>, params: &OidcParams, at: &str) -> Answer<Outcome> {
    let (who, params, at, now) = (who.cloned(), params.clone(), at.to_owned(), api.clock.now());
    let read = move |view: &dyn View| {
        Ok(match ask(view, &params, &at)? {
            Asked::Wrong(why) => Outcome::Wrong(why),
            Asked::Returned(address) => Outcome::Leave(address),
            Asked::Good(request) => {
                let visitor = match &who {
                    Some(who) => visitor(view, who)?,
                    None => None,
                };
                Outcome::Next(way(view, &request, visitor.as_ref(), now)?, request)
            }
        })
    };
    api.read(read).await
}

fn visitor(view: &dyn View, who: &Who) -> Answer<Option<Visitor>> {
    let Some(id) = session(who) else { return Ok(None) };
    let session = view.find::<SessionSpec>(id)?;
    Ok(session.map(|session| Visitor { principal: who.principal.clone(), session }))
}

/// What comes of it once they agreed.
enum Made {
    Code(Box<AuthorizeRequest>, Hidden),
    Else(Outcome),
}

/// Makes the code and sends them to the app with it. Looks at everything once more: it is what is committed.
async fn let_in(
    api: &Api,
    frame: &Frame,
    who: &Who,
    params: OidcParams,
    at: String,
    caller: String,
) -> Answer<Response> {
    let (who, now, issuer) = (who.clone(), api.clock.now(), at.clone());
    let decide = move |view: &dyn View| {
        let nothing = |outcome| Ok((Txn::new(Actor::System, "nothing", ""), Made::Else(outcome)));
        let request = match ask(view, &params, &issuer)? {
            Asked::Wrong(why) => return nothing(Outcome::Wrong(why)),
            Asked::Returned(address) => return nothing(Outcome::Leave(address)),
            Asked::Good(request) => request,
        };
        let visitor = visitor(view, &who)?;
        let next = way(view, &request, visitor.as_ref(), now)?;
        let (Way::On | Way::Ask, Some(visitor)) = (&next, &visitor) else {
            return nothing(Outcome::Next(next, request));
        };
        match issue_code(view, &request, visitor, &caller, now)? {
            Some((txn, code)) => Ok((txn, Made::Code(request, code))),
            None => nothing(Outcome::Next(Way::SignIn, request)),
        }
    };
    let made: Made = commit::<Made>(api, decide).await?;
    Ok(match made {
        Made::Code(request, code) => {
            let mut response = go(&return_to(&request, &code, &at));
            response
                .headers_mut()
                .insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
            response
        }
        Made::Else(Outcome::Wrong(why)) => wrong(frame, why),
        Made::Else(Outcome::Leave(address)) => go(&address),
        Made::Else(Outcome::Next(Way::Refused(why), request)) => go(&deny(&request, &at, &why)),
        Made::Else(Outcome::Next(..)) => {
            return Err(Failure::from(
                freehold_model::Problem::new(
                    freehold_model::Code::Conflict,
                    "Your session has ended meanwhile.",
                )
                .hint("Go back to the app and sign in once more."),
            ));
        }
    })
}

/// This very page, for after signing in.
fn back_here(query: &str) -> Local {
    format!("/oidc/authorize?{query}").parse().unwrap_or_else(|_| Local::account())
}

fn question(frame: &Frame, who: &Who, request: &AuthorizeRequest, query: &str) -> Response {
    let client = &request.client;
    let title = format!("Sign in to {}?", client.app);
    let asked = |scope: &str| request.scopes.iter().any(|one| one == scope);
    let body = html! {
        p.lead { "as " strong { (who.principal.name) } ", at " strong { (host(&request.redirect)) } }
        p { "The app will know:" }
        ul.points {
            li { "that it is you, whenever you come" }
            @if asked("profile") { li { "your name" } }
            @if asked("groups") { li { "your roles in the project " (client.project.name) } }
            @if asked("offline_access") { li { "that you are still signed in here, while you are away" } }
        }
        form method="post" action="/oidc/authorize" {
            (carried(who, query))
            div.pair {
                button type="submit" name=(ANSWER) value="allow" { "Sign in" }
                button.quiet type="submit" name=(ANSWER) value="deny" { "No" }
            }
        }
        p.note { "You are not asked again until you sign in to Freehold anew." }
    };
    leading_away(frame.card(StatusCode::OK, &title, body))
}

fn again(frame: &Frame, who: &Who, request: &AuthorizeRequest, query: &str) -> Response {
    let body = html! {
        p.lead { strong { (request.client.app) } " wants to be sure that it is you." }
        form method="post" action="/oidc/authorize" {
            (carried(who, query))
            button type="submit" name=(ANSWER) value="again" { "Sign in again" }
        }
    };
    frame.card(StatusCode::OK, "Sign in again", body)
}

/// Where an address leads, for people.
fn host(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or_default()
}
