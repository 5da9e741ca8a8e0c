//! `/invite#…`: who was invited chooses a password, and is signed in.
//!
//! The invite stands behind the `#`, which browsers send nowhere: no log and no referrer has it. A script moves it
//! into the form and out of the address; without scripts, or without a link, it is pasted.

use super::{
    assets,
    form::Form,
    layout::{Frame, alert, status},
    local::Local,
    signin::welcome,
    sso,
};
use crate::{
    error::Failure,
    params::{NoParams, Params},
    signing::{self, Attempt},
    state::Api,
};
use axum::{extract::State, http::HeaderMap, response::Response};
use freehold_model::{Code, Problem, secrets::Hidden};
use maud::html;

/// The form.
pub(crate) async fn show(State(api): State<Api>, frame: Frame, _: Params<NoParams>) -> Response {
    ask(&api, &frame, "", None).await
}

/// Takes the invite, and goes on to the account.
pub(crate) async fn accept(
    State(api): State<Api>,
    frame: Frame,
    attempt: Attempt,
    headers: HeaderMap,
    form: Form,
) -> Response {
    let text = pasted(&form);
    let password = form.hidden("password");
    if password.expose() != form.get("again") {
        let problem =
            Problem::new(Code::Invalid, "The two passwords differ.").hint("Type the same one twice.");
        return ask(&api, &frame, text, Some(&problem)).await;
    }
    match signing::with_invite(&api, &attempt, &Hidden::new(text.to_owned()), password).await {
        Ok(opened) => welcome(&frame, &opened, &headers, &Local::account()),
        Err(Failure(problem)) => ask(&api, &frame, text, Some(&problem)).await,
    }
}

/// The invite: what is pasted may be the whole link.
pub(super) fn pasted(form: &Form) -> &str {
    let text = form.get("invite").trim();
    text.rsplit_once('#').map_or(text, |(_, invite)| invite)
}

async fn ask(api: &Api, frame: &Frame, invite: &str, problem: Option<&Problem>) -> Response {
    let (status, others) = (status(problem), sso::invite_buttons(api).await);
    let body = html! {
        p.lead { "You are invited to " strong { (frame.host) } ". Choose a password, and you are in." }
        @if let Some(problem) = problem { (alert(problem)) }
        form method="post" action="/invite" {
            (frame.csrf())
            div #pasted {
                label for="invite" { "Invite" }
                input #invite type="text" name="invite" value=(invite) required maxlength="300" autocomplete="off"
                    autocapitalize="none" spellcheck="false";
            }
            label for="password" { "New password" }
            input #password type="password" name="password" required minlength="12" maxlength="256"
                autocomplete="new-password" aria-describedby="rule";
            label for="again" { "The same again" }
            input #again type="password" name="again" required maxlength="256" autocomplete="new-password";
            p #rule .note { "At least 12 characters. Several words are good, and easy to remember." }
            button type="submit" { "Choose this password" }
            (others)
        }
        script src=(assets::path("invite.js")) defer {}
    };
    frame.card(status, "Welcome", body)
}
