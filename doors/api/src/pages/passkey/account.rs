//! One's own passkeys on the account's page: which there are, a new one, and giving one up.
//!
//! Invariant: adding and removing are asked of the person alone ([`crate::pages::sure`]): whoever finds a browser open can
//! do neither.

use super::{to_script, tools, unfit};
use crate::{
    commit::commit,
    error::{Answer, Failure},
    pages::{
        account::browser_name,
        assets,
        form::Form,
        layout::{Frame, alert, status, with_code},
        sure::{self, find, sure},
    },
    signing::Attempt,
    state::Api,
    who::{Caller, Who},
};
use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Redirect, Response},
};
use freehold_identity::{self as identity, Asked, Identity, RelyingParty, Reply};
use freehold_model::{Code, Passkey, Problem, SessionId, UserId, UserSpec};
use freehold_reconcile::View;
use jiff::Timestamp;
use maud::{Markup, html};
use std::sync::Arc;

/// The account's section about them.
pub(in crate::pages) fn section(frame: &Frame, api: &Api, user: &UserSpec) -> Markup {
    html! {
        section.card {
            h2 { "Passkeys" }
            p { "Sign in without a password or a code: your phone, your computer or a security key knows you by PIN, finger or face." }
            ul.rows { @for one in &user.passkeys { (row(frame, one)) } }
            @match RelyingParty::new(api.public_url.as_ref()) {
                Err(why) => (not_here(&unfit(&why))),
                Ok(_) => (add_form(frame, api, user)),
            }
        }
    }
}

fn not_here(why: &Problem) -> Markup {
    html! {
        p.note { strong { (why.title) } " " (why.detail.as_deref().unwrap_or_default()) }
        p.note { (with_code(why.hint.as_deref().unwrap_or_default())) }
    }
}

fn row(frame: &Frame, passkey: &Passkey) -> Markup {
    html! {
        li {
            div.what {
                strong { (passkey.name) }
                p.note {
                    "added " (day(passkey.created))
                    @match passkey.last_used {
                        Some(at) => { " · last used " (day(at)) }
                        None => { " · not used yet" }
                    }
                }
            }
            form method="post" action="/account/passkeys" {
                (frame.csrf())
                input type="hidden" name="passkey" value=(passkey.id());
                button.quiet type="submit" name="step" value="remove" aria-label={ "Remove the passkey " (passkey.name) } { "Remove" }
            }
        }
    }
}

fn day(at: Timestamp) -> String {
    at.strftime("%e %B %Y, %H:%M UTC").to_string().trim_start().to_owned()
}

fn add_form(frame: &Frame, api: &Api, user: &UserSpec) -> Markup {
    let url = api.public_url.as_ref().map_or("", |url| url.as_str());
    let host = url.split_once("://").map_or("", |(_, host)| host);
    html! {
        form.inline.passkey method="post" action="/account/passkeys" data-ask="/account/passkeys/options" data-host=(host) hidden {
            (frame.csrf())
            input type="hidden" name="ticket";
            input type="hidden" name="credential";
            div.alert role="alert" hidden {}
            label for="passkey-name" { "A name for it" }
            input #passkey-name type="text" name="name" maxlength="40" placeholder="my phone" autocomplete="off";
            (sure::password(user, "passkey-password"))
            p.actions { button type="submit" name="step" value="add" { "Add a passkey" } }
        }
        p.note.elsewhere hidden { "You add passkeys at " strong { (host) } ", where they are used." }
        p.note.without { "This browser has no passkeys here, or runs no scripts." }
        script src=(assets::path("passkey.js")) defer {}
    }
}

/// What the browser is to be asked for a new one.
pub(in crate::pages) async fn options(
    State(api): State<Api>,
    attempt: Attempt,
    who: Who,
    form: Form,
) -> Response {
    to_script(ask(&api, &attempt, &who, &form).await)
}

async fn ask(api: &Api, attempt: &Attempt, who: &Who, form: &Form) -> Answer<Asked> {
    let (party, voucher) = tools(api)?;
    let (user, session) = person(who)?;
    let user = sure(api, attempt, who, (user, session), form).await?;
    Ok(identity::ask_to_add_passkey(&party, &voucher, &user, form.get("csrf"), api.clock.now())?)
}

/// Adds one, or removes one.
pub(in crate::pages) async fn change(
    State(api): State<Api>,
    frame: Frame,
    attempt: Attempt,
    who: Who,
    caller: Caller,
    form: Form,
) -> Answer<Response> {
    let person = person(&who)?;
    match form.get("step") {
        "remove" => remove(&api, &frame, &attempt, &who, person, caller.request, &form).await,
        // The script sends the form, and with it no button.
        "" | "add" => add(&api, &attempt, &who, person.0, caller.request, &form).await,
        _ => Err(Problem::new(Code::Invalid, "That is no step.").hint("Load the page again.").into()),
    }
}

async fn add(
    api: &Api,
    attempt: &Attempt,
    who: &Who,
    user: UserId,
    request: String,
    form: &Form,
) -> Answer<Response> {
    let tools = Arc::new(tools(api)?);
    let (principal, now) = (who.principal.clone(), api.clock.now());
    let text = |name| Arc::<str>::from(form.get(name));
    let (ticket, browser, credential) = (text("ticket"), text("csrf"), text("credential"));
    let agent = attempt.headers.get(header::USER_AGENT).and_then(|it| it.to_str().ok());
    let name = match form.get("name").trim() {
        "" => agent.map(browser_name).unwrap_or_default(),
        name => name.to_owned(),
    };
    let decide = move |view: &dyn View| {
        let reply = Reply { ticket: &ticket, browser: &browser, credential: &credential };
        let (party, voucher) = &*tools;
        Ok(identity::add_passkey(view, party, voucher, &principal, user, reply, &name, &request, now)?)
    };
    commit(api, decide).await?;
    Ok(Redirect::to("/account").into_response())
}

/// Asks whether it is meant, and does it once the password says so.
async fn remove(
    api: &Api,
    frame: &Frame,
    attempt: &Attempt,
    who: &Who,
    person: (UserId, SessionId),
    request: String,
    form: &Form,
) -> Answer<Response> {
    let id = form.get("passkey").to_owned();
    if form.get("sure").is_empty() {
        return confirm(api, frame, person.0, &id, None).await;
    }
    if let Err(Failure(problem)) = sure(api, attempt, who, person, form).await {
        return confirm(api, frame, person.0, &id, Some(&problem)).await;
    }
    let principal = who.principal.clone();
    let decide =
        move |view: &dyn View| Ok(identity::remove_own_passkey(view, &principal, person.0, &id, &request)?);
    commit(api, decide).await?;
    Ok(Redirect::to("/account").into_response())
}

async fn confirm(
    api: &Api,
    frame: &Frame,
    user: UserId,
    id: &str,
    problem: Option<&Problem>,
) -> Answer<Response> {
    let user = find(api, user).await?;
    let Some(passkey) = user.spec.passkeys.iter().find(|it| it.id() == id) else {
        return Ok(Redirect::to("/account").into_response());
    };
    let body = html! {
        p.lead { strong { (passkey.name) } " signs nobody in any more. On its device you remove it yourself." }
        @if let Some(problem) = problem { (alert(problem)) }
        form method="post" action="/account/passkeys" {
            (frame.csrf())
            input type="hidden" name="passkey" value=(id);
            input type="hidden" name="sure" value="yes";
            (sure::password(&user.spec, "password"))
            button.danger type="submit" name="step" value="remove" { "Remove it" }
        }
        p.note { a href="/account" { "Keep it" } }
    };
    Ok(frame.card(status(problem), "Remove a passkey", body))
}

fn person(who: &Who) -> Answer<(UserId, SessionId)> {
    match who.principal.identity {
        Identity::User { user, session } => Ok((user, session)),
        _ => Err(Problem::new(Code::NotAllowed, "Only people have passkeys.").into()),
    }
}
