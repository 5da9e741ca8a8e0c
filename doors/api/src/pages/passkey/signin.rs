//! "Sign in with a passkey": no name is typed, and no password or code is asked for.

use super::{to_script, tools};
use crate::{
    commit::commit,
    error::{Answer, Failure},
    pages::{assets, form::Form, layout::Frame, local::Local, signin},
    signing::{self, Attempt},
    state::Api,
};
use axum::{extract::State, http::HeaderMap, response::Response};
use freehold_identity::{self as identity, Asked, Opened, PasskeyVerdict, RelyingParty, Reply};
use freehold_reconcile::View;
use maud::{Markup, html};
use std::sync::Arc;

/// What the sign-in page offers, if the server has a name to offer it under. Without the script it is not seen.
pub(in crate::pages) fn section(frame: &Frame, api: &Api, next: &Local) -> Markup {
    let Some(url) = api.public_url.as_ref().filter(|url| RelyingParty::new(Some(url)).is_ok()) else {
        return html! {};
    };
    let host = url.as_str().split_once("://").map_or("", |(_, host)| host);
    html! {
        form.passkey method="post" action="/signin/passkey" data-ask="/signin/passkey/options" data-host=(host) hidden {
            p.or { "or" }
            (frame.csrf())
            input type="hidden" name="next" value=(next.to_string());
            input type="hidden" name="ticket";
            input type="hidden" name="credential";
            div.alert role="alert" hidden {}
            button.quiet type="submit" { "Sign in with a passkey" }
        }
        p.note.elsewhere hidden { "With a passkey you sign in at " strong { (host) } "." }
        script src=(assets::path("passkey.js")) defer {}
    }
}

/// What the browser is to be asked.
pub(in crate::pages) async fn options(State(api): State<Api>, attempt: Attempt, form: Form) -> Response {
    to_script(ask(&api, &attempt, &form))
}

fn ask(api: &Api, attempt: &Attempt, form: &Form) -> Answer<Asked> {
    let now = api.clock.now();
    signing::may_try(&api.attempts, attempt, now)?;
    let (party, voucher) = tools(api)?;
    Ok(identity::ask_for_passkey(&party, &voucher, form.get("csrf"), now)?)
}

/// Signs in, and goes on; or shows the sign-in page with what was wrong.
pub(in crate::pages) async fn sign_in(
    State(api): State<Api>,
    frame: Frame,
    attempt: Attempt,
    headers: HeaderMap,
    form: Form,
) -> Response {
    let next = form.get("next").parse().unwrap_or_else(|_| Local::account());
    match answer(&api, &attempt, &form).await {
        Ok(opened) => signin::welcome(&frame, &opened, &headers, &next),
        Err(Failure(problem)) => signin::ask(&frame, &api, &next, "", Some(&problem)).await,
    }
}

async fn answer(api: &Api, attempt: &Attempt, form: &Form) -> Answer<Opened> {
    let now = api.clock.now();
    signing::may_try(&api.attempts, attempt, now)?;
    let tools = Arc::new(tools(api)?);
    let origin = signing::origin(api, attempt).await?;
    let text = |name| Arc::<str>::from(form.get(name));
    let (ticket, browser, credential) = (text("ticket"), text("csrf"), text("credential"));
    let decide = move |view: &dyn View| {
        let reply = Reply { ticket: &ticket, browser: &browser, credential: &credential };
        Ok(identity::sign_in_with_passkey(view, &tools.0, &tools.1, reply, &origin, now)?)
    };
    match commit(api, decide).await? {
        PasskeyVerdict::In(opened) => Ok(*opened),
        PasskeyVerdict::Out(problem) => {
            api.attempts.failed(attempt.address.0, now);
            Err(Failure(*problem))
        }
    }
}
