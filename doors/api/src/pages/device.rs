//! `/device`: somebody who is signed in lets a program in that shows a code, or refuses it.
//!
//! Invariant: the page says what asks and from where before anything can be allowed, and what is allowed is said to
//! the end: whoever was sent a code by a stranger must see what they would give away.

use super::{
    form::Form,
    layout::{Frame, alert, status},
};
use crate::{
    error::{Answer, Failure},
    params::{FromParams, Keys, Params},
    signing::{self, Attempt},
    state::Api,
    who::{Caller, Who},
};
use axum::{extract::State, http::StatusCode, response::Response};
use freehold_identity::{self as identity, Identity};
use freehold_model::{Code, Problem, Session};
use maud::html;

/// The code, if the link had it.
pub(crate) struct Shown(Option<String>);

impl FromParams for Shown {
    fn from_params(keys: &mut Keys) -> Self {
        Shown(keys.optional("code"))
    }
}

/// Asks for the code, or shows what waits under it.
pub(crate) async fn show(
    State(api): State<Api>,
    frame: Frame,
    attempt: Attempt,
    who: Who,
    Params(Shown(code)): Params<Shown>,
) -> Response {
    match code {
        None => ask(&frame, None),
        Some(code) => look(&api, &frame, &attempt, &who, &code).await,
    }
}

/// Looks, allows or refuses.
pub(crate) async fn answer(
    State(api): State<Api>,
    frame: Frame,
    attempt: Attempt,
    who: Who,
    caller: Caller,
    form: Form,
) -> Answer<Response> {
    let code = form.get("code").to_owned();
    let allow = match form.get("answer") {
        "allow" => true,
        "deny" => false,
        _ => return Ok(look(&api, &frame, &attempt, &who, &code).await),
    };
    let Identity::User { user, .. } = who.principal.identity else {
        return Err(Problem::new(Code::NotAllowed, "Only people can let a program in.").into());
    };
    let (now, principal) = (api.clock.now(), who.principal.clone());
    let decide = move |view: &dyn freehold_reconcile::View| {
        let txn = identity::answer_device(view, &principal, user, &code, allow, &caller.request, now)?;
        Ok((txn, ()))
    };
    if let Err(Failure(problem)) = crate::commit::commit(&api, decide).await {
        return Ok(ask(&frame, Some(&problem)));
    }
    let (title, text) = match allow {
        true => ("Done", "The program is signed in, within a few seconds. You can close this page."),
        false => ("Refused", "Nothing was let in. If you did not start this, nothing more is to be done."),
    };
    let body = html! {
        p { (text) }
        p.actions { a.button.quiet href="/account" { "Your account" } }
    };
    Ok(frame.card(StatusCode::OK, title, body))
}

async fn look(api: &Api, frame: &Frame, attempt: &Attempt, who: &Who, code: &str) -> Response {
    let now = api.clock.now();
    if let Err(Failure(problem)) = signing::may_try(&api.attempts, attempt, now) {
        return ask(frame, Some(&problem));
    }
    let typed = code.to_owned();
    match api.read(move |view| Ok(identity::asked_to_sign_in(view, &typed, now)?)).await {
        Ok(session) => confirm(frame, who, code, &session),
        Err(Failure(problem)) => {
            api.attempts.failed(attempt.address.0, now);
            ask(frame, Some(&problem))
        }
    }
}

fn ask(frame: &Frame, problem: Option<&Problem>) -> Response {
    let status = status(problem);
    let body = html! {
        p.lead { "Type the code that the program shows." }
        @if let Some(problem) = problem { (alert(problem)) }
        form method="post" action="/device" {
            (frame.csrf())
            label for="code" { "Code" }
            input #code.code type="text" name="code" required maxlength="20" placeholder="XXXX-XXXX" autocomplete="off"
                autocapitalize="characters" spellcheck="false" autofocus;
            button type="submit" { "Go on" }
        }
    };
    frame.card(status, "Sign in a program", body)
}

fn confirm(frame: &Frame, who: &Who, code: &str, session: &Session) -> Response {
    let letters: String = code.chars().filter(char::is_ascii_alphabetic).take(8).collect();
    let (first, second) = letters.split_at(letters.len() / 2);
    let code = format!("{first}-{second}").to_uppercase();
    let program = session.spec.program.as_deref().unwrap_or("A program without a name");
    let address = session.spec.address.as_deref().unwrap_or("an unknown address");
    let body = html! {
        p.lead { "A program wants to act as " strong { (who.principal.name) } " here, with all that you may do." }
        dl {
            dt { "Program" } dd { (program) }
            dt { "From" } dd { (address) }
            dt { "Asked" } dd { (session.created.strftime("%H:%M UTC")) }
            dt { "Code" } dd.mono { strong { (code) } }
        }
        p { "Allow it only if you started it yourself, just now, and it shows this very code." }
        form method="post" action="/device" {
            (frame.csrf())
            input type="hidden" name="code" value=(code);
            div.pair {
                button.quiet type="submit" name="answer" value="deny" { "Refuse" }
                button type="submit" name="answer" value="allow" { "Allow" }
            }
        }
    };
    frame.card(StatusCode::OK, "Sign in a program?", body)
}
