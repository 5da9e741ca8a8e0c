//! Signing in with another provider, from the button to the way back; linking one on the account's page; taking an
//! invite with one. What is decided and asked is in `freehold_identity::sso`.
//!
//! Invariants: a provider is left for by a form of ours, and come back from in the browser that left; the page that
//! leads there is gone on from by `Refresh`, because `form-action` holds for redirects of a form's answer; nothing
//! that a provider sent is shown but a name, escaped; and who is nobody here makes nothing.

use super::{
    form::Form,
    layout::{Frame, alert},
    local::Local,
    signin::welcome,
    sure::{self, sure},
};
use crate::{
    browser,
    commit::commit,
    error::Answer,
    extract::Id,
    routes::{oidc::no_public_url, sso as route},
    signing::{self, Attempt},
    state::Api,
    who::{Caller, Who},
};
use axum::{
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use freehold_identity::{
    self as identity, Identity, Opened, Origin, TokenHash,
    sso::{self, Answered, Client, Entered, Proved, RelyingError, Returned},
};
use freehold_model::{
    Code, Errand, IdentityProvider, Name, Problem, SessionId, UserId, UserSpec, secrets::Hidden,
};
use freehold_reconcile::View;
use maud::{Markup, html};

/// Holds what a browser keeps while it is away.
const COOKIE: &str = "freehold_sso";

/// The buttons of the sign-in page.
pub(crate) async fn buttons(api: &Api, frame: &Frame, next: &Local) -> Markup {
    let all = all(api).await;
    html! {
        @if !all.is_empty() {
            div.ways {
                @for provider in &all {
                    form method="post" action=(format!("/signin/with/{}", provider.name)) {
                        (frame.csrf())
                        input type="hidden" name="next" value=(next.to_string());
                        button.quiet type="submit" { "Sign in with " (sso::title(provider)) }
                    }
                }
            }
        }
    }
}

/// The buttons of the page for who was invited, within its form: the invite is in it.
pub(crate) async fn invite_buttons(api: &Api) -> Markup {
    html! {
        @for provider in &all(api).await {
            button.quiet type="submit" formnovalidate formaction=(format!("/invite/with/{}", provider.name)) {
                "Without a password: sign in with " (sso::title(provider))
            }
        }
    }
}

/// Every provider; none where they cannot be read, which the page's own reads say.
async fn all(api: &Api) -> Vec<IdentityProvider> {
    api.read(|view| Ok(sso::providers(view)?)).await.unwrap_or_default()
}

/// The account's section.
pub(crate) async fn section(api: &Api, frame: &Frame, user: &UserSpec) -> Markup {
    let all = all(api).await;
    let linked = |issuer: &str| user.linked.iter().any(|it| it.issuer == issuer);
    let free: Vec<_> = all.iter().filter(|provider| !linked(&provider.spec.issuer)).collect();
    if all.is_empty() && user.linked.is_empty() {
        return html! {};
    }
    html! {
        section.card {
            h2 { "Other ways to sign in" }
            p { "Link an account that you have elsewhere, and sign in with it. Your second factor, if you have one, is asked for all the same." }
            @if !user.linked.is_empty() {
                ul.rows {
                    @for one in &user.linked {
                        @let name = all.iter().find(|it| it.spec.issuer == one.issuer).map(sso::title);
                        li {
                            div.what {
                                strong { (name.unwrap_or(&one.issuer)) }
                                p.note {
                                    @if let Some(shown) = &one.shown { (shown) " · " }
                                    "linked " (one.since.strftime("%e %B %Y").to_string().trim_start())
                                    @if name.is_none() { " · not offered here any more" }
                                }
                            }
                            form method="post" action="/account/providers" {
                                (frame.csrf())
                                input type="hidden" name="unlink" value=(sso::linked_key(&one.issuer, &one.subject));
                                button.quiet type="submit" aria-label={ "Unlink: " (name.unwrap_or(&one.issuer)) } { "Unlink" }
                            }
                        }
                    }
                }
            }
            @if !free.is_empty() {
                form.inline method="post" action="/account/providers" {
                    (frame.csrf())
                    (sure::password(user, "link-password"))
                    div.actions {
                        @for provider in free {
                            button type="submit" name="link" value=(provider.name) { "Link " (sso::title(provider)) }
                        }
                    }
                }
            }
        }
    }
}

/// Leaves for a provider, to sign in.
pub(crate) async fn sign_in(
    State(api): State<Api>,
    frame: Frame,
    attempt: Attempt,
    Id(name): Id<Name>,
    headers: HeaderMap,
    form: Form,
) -> Answer<Response> {
    let next = form.get("next").parse().unwrap_or_else(|_| Local::account());
    leave(&api, &frame, &attempt, &headers, name.as_str(), Errand::SignIn, &next).await
}

/// Leaves for a provider, to take an invite with it.
pub(crate) async fn take_invite(
    State(api): State<Api>,
    frame: Frame,
    attempt: Attempt,
    Id(name): Id<Name>,
    headers: HeaderMap,
    form: Form,
) -> Answer<Response> {
    let now = api.clock.now();
    signing::may_try(&api.attempts, &attempt, now)?;
    let shown = TokenHash::of(super::invite::pasted(&form));
    if api.read(move |view| Ok(identity::invited(view, &shown, now)?)).await?.is_none() {
        api.attempts.failed(attempt.address.0, now);
        return Err(identity::bad_invite().into());
    }
    let what = Errand::Invite { hash: shown.hex() };
    leave(&api, &frame, &attempt, &headers, name.as_str(), what, &Local::account()).await
}

/// Leaves for a provider, to link it, or unlinks one. Linking is asked of the person alone: whoever finds a browser
/// open cannot give themselves a way in.
pub(crate) async fn change(
    State(api): State<Api>,
    frame: Frame,
    attempt: Attempt,
    who: Who,
    caller: Caller,
    headers: HeaderMap,
    form: Form,
) -> Answer<Response> {
    let Identity::User { user, session } = who.principal.identity else {
        return Err(Problem::new(Code::NotAllowed, "Only people have other ways to sign in.").into());
    };
    let key = form.get("unlink").to_owned();
    if !key.is_empty() {
        let decide = move |view: &dyn View| Ok((sso::unlink(view, user, &key, &caller.request)?, ()));
        commit(&api, decide).await?;
        return Ok(Redirect::to("/account").into_response());
    }
    sure(&api, &attempt, &who, (user, session), &form).await?;
    let what = Errand::Link { user, session };
    leave(&api, &frame, &attempt, &headers, form.get("link"), what, &Local::account()).await
}

/// Begins an errand, and answers with a page that goes there.
async fn leave(
    api: &Api,
    frame: &Frame,
    attempt: &Attempt,
    headers: &HeaderMap,
    name: &str,
    what: Errand,
    next: &Local,
) -> Answer<Response> {
    let now = api.clock.now();
    let client = client(api, name).await?;
    let here = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if client.house.as_str().split_once("://").map(|(_, host)| host) != Some(&here.to_ascii_lowercase()) {
        // They would come back to where the cookie is not sent.
        let problem = Problem::new(Code::Invalid, "Here you can sign in with a password alone.");
        return Err(problem
            .hint(format!("Open {}/signin to sign in with another provider.", client.house))
            .into());
    }
    signing::may_try(&api.sso.asked, attempt, now)?;
    api.sso.asked.failed(attempt.address.0, now);
    let origin = Origin { before: None, ..signing::origin(api, attempt).await? };
    let (provider, path) = (client.provider.clone(), next.to_string());
    let begin = move |view: &dyn View| Ok(sso::go(view, &provider, &what, &path, &origin, now)?);
    let ticket = commit(api, begin).await?;
    let there = match api.sso.way_there(&client, &ticket, now).await {
        Ok(there) => there,
        Err(error) => return Ok(failed(frame, &client.provider, &error)),
    };
    let title = sso::title(&client.provider);
    let body = html! { p { "You are sent to " (title) ". " a href=(there) { "Go on" } "." } };
    let mut response = frame.card(StatusCode::OK, &format!("On to {title}"), body);
    let ticket = ticket.text();
    let cookie = browser::set(headers, COOKIE, ticket.expose(), "Lax", sso::ERRAND.as_secs());
    response.headers_mut().extend(cookie.map(|set| (header::SET_COOKIE, set)));
    let refresh = HeaderValue::from_str(&format!("0; url={there}")).ok();
    response.headers_mut().extend(refresh.map(|refresh| (header::REFRESH, refresh)));
    Ok(response)
}

/// This house as the client of the provider of that name.
async fn client(api: &Api, name: &str) -> Answer<Client> {
    let house = api.public_url.clone().ok_or_else(no_public_url)?;
    let provider = route::find(api, name).await?;
    let secret = route::open_secret(api, &provider)?;
    Ok(Client { provider, secret, house })
}

/// Somebody comes back.
pub(crate) async fn callback(
    State(api): State<Api>,
    frame: Frame,
    attempt: Attempt,
    Id(name): Id<Name>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Answer<Response> {
    let now = api.clock.now();
    signing::may_try(&api.attempts, &attempt, now)?;
    let query = query.unwrap_or_default();
    let cookie = browser::cookie(&headers, COOKIE);
    let (state, request) = (one(&query, "state").unwrap_or_default(), attempt.request.clone());
    let decide = move |view: &dyn View| {
        Ok(sso::come_back(view, name.as_str(), cookie.as_deref(), &state, &request, now)?)
    };
    // A failure is not counted: there is nothing to guess in what comes back, and any page can send its visitors here.
    let returned = commit(&api, decide).await?;
    let answered = Answered {
        code: one(&query, "code").map(Hidden::new),
        error: one(&query, "error"),
        iss: one(&query, "iss"),
    };
    let client = client(&api, &returned.provider.name).await?;
    let mut response = match api.sso.who_came(&client, &returned.ticket, &answered, now).await {
        Ok(proved) => arrive(&api, &frame, &attempt, &headers, returned, proved).await?,
        Err(error) => failed(&frame, &client.provider, &error),
    };
    let over = HeaderValue::from_static("freehold_sso=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax");
    response.headers_mut().append(header::SET_COOKIE, over);
    Ok(response)
}

/// Does what they went for.
async fn arrive(
    api: &Api,
    frame: &Frame,
    attempt: &Attempt,
    headers: &HeaderMap,
    returned: Returned,
    proved: Proved,
) -> Answer<Response> {
    let (now, origin) = (api.clock.now(), signing::origin(api, attempt).await?);
    let next = returned.next.parse().unwrap_or_else(|_| Local::account());
    let opened: Opened = match returned.what {
        Errand::SignIn => {
            let who = proved.clone();
            let decide = move |view: &dyn View| {
                Ok(match sso::sign_in_with(view, &who, &origin, now)? {
                    Entered::Opened(entered) => (entered.0, Some(entered.1)),
                    Entered::Stranger => (nothing(), None),
                })
            };
            match commit(api, decide).await? {
                Some(opened) => opened,
                None => {
                    api.attempts.failed(attempt.address.0, now);
                    return Ok(stranger(frame, &proved));
                }
            }
        }
        Errand::Invite { hash } => {
            let invite: TokenHash = TokenHash::from_hex(&hash).ok_or_else(identity::bad_invite)?;
            let decide =
                move |view: &dyn View| Ok(sso::accept_invite_with(view, &proved, &invite, &origin, now)?);
            commit(api, decide).await?
        }
        Errand::Link { user, session } => {
            if !is_still(frame, user, session) {
                let problem = Problem::new(Code::Invalid, "You signed out meanwhile.");
                return Err(problem.hint("Sign in, and link it again.").into());
            }
            let decide =
                move |view: &dyn View| Ok((sso::link(view, &proved, (user, session), &origin, now)?, ()));
            commit(api, decide).await?;
            return Ok(Redirect::to("/account").into_response());
        }
    };
    Ok(welcome(frame, &opened, headers, &next))
}

/// Whether the browser is signed in as it was when it left.
fn is_still(frame: &Frame, user: UserId, session: SessionId) -> bool {
    frame.who.as_ref().is_some_and(|who| who.principal.identity == Identity::User { user, session })
}

fn nothing() -> freehold_model::Txn {
    freehold_model::Txn::new(freehold_model::Actor::System, "nothing", "")
}

/// Nobody here has linked who came back.
fn stranger(frame: &Frame, proved: &Proved) -> Response {
    let title = &proved.title;
    let body = html! {
        p.lead {
            "You are signed in at " strong { (title) }
            @if let Some(shown) = &proved.shown { " as " strong { (shown) } }
            ", and nobody at " strong { (frame.host) } " has linked that account. Nothing was made of it."
        }
        ul.points {
            li { "You have an account here? Sign in with your password, and link " (title) " on your account's page." }
            li { "You have none? Ask an admin of this server for an invite: you can take it with " (title) "." }
        }
        p.actions { a.button href="/signin" { "Sign in" } }
    };
    frame.card(StatusCode::FORBIDDEN, "Nobody here yet", body)
}

/// It came to nothing: what the person can do, and for the owner of the house the reason in the log.
fn failed(frame: &Frame, provider: &IdentityProvider, error: &RelyingError) -> Response {
    let title = sso::title(provider);
    let (code, said, hint) = match error {
        RelyingError::Denied => (
            Code::NotAllowed,
            format!("The sign-in was cancelled at {title}."),
            "Start again, or sign in with your password.".to_owned(),
        ),
        _ => {
            tracing::warn!(provider = %provider.name, issuer = %provider.spec.issuer, %error, "nobody could sign in with a provider");
            let hint = format!(
                "Try again, or sign in with your password. An owner of this server finds out more: `freehold sso check {}`, and the server's log.",
                provider.name
            );
            let code =
                if matches!(error, RelyingError::Fetch(_)) { Code::Unavailable } else { Code::NotSignedIn };
            (code, format!("Signing in with {title} did not work."), hint)
        }
    };
    let problem = Problem::new(code, said).hint(hint);
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::UNAUTHORIZED);
    let body = html! {
        (alert(&problem))
        p.actions { a.button.quiet href="/account" { "Go back" } }
    };
    frame.card(status, "That did not work", body)
}

/// The only value of that name; providers may add others, which mean nothing here.
fn one(query: &str, wanted: &str) -> Option<String> {
    let mut found = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == wanted);
    let value = found.next()?.1.into_owned();
    found.next().is_none().then_some(value)
}
