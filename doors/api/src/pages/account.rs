//! `/account`: who one is here, what one may do, and where one is signed in.

use super::{form::Form, layout::Frame, passkey, second_factor, sso};
use crate::{
    browser,
    error::{Answer, Failure},
    params::{NoParams, Params},
    routes::sessions::end,
    state::Api,
    who::{Caller, Who},
    withheld,
};
use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Redirect, Response},
};
use freehold_identity::{self as identity, Identity};
use freehold_model::{Code, Problem, SessionId, UserSpec, access::NamedBinding, people::SessionSummary};
use freehold_reconcile::ViewExt as _;
use jiff::Timestamp;
use maud::{Markup, html};

/// The front door leads to the account.
pub(crate) async fn home() -> Redirect {
    Redirect::to("/account")
}

/// Everything about who is signed in.
pub(crate) async fn show(
    State(api): State<Api>,
    frame: Frame,
    who: Who,
    _: Params<NoParams>,
) -> Answer<Response> {
    let Identity::User { user, session } = who.principal.identity else { return Err(no_account()) };
    let (sessions, bindings, spec) = api
        .read(move |view| {
            let sessions = identity::session_summaries(view, Some(user), Some(session))?;
            let spec = view.find::<UserSpec>(user)?.ok_or_else(no_account)?.spec;
            let named = spec.bindings.iter().map(|binding| identity::named(view, binding));
            let named = named.collect::<Result<Vec<_>, _>>()?;
            Ok((sessions, named, spec))
        })
        .await?;
    let (now, others) = (api.clock.now(), sso::section(&api, &frame, &spec).await);
    let body = html! {
        h1 { "Your account" }
        (withheld::notice(&who.withheld))
        section.card {
            h2 { (who.principal.name) }
            p.lead { "signed in to " strong { (frame.host) } }
            h3 { "What you may do" }
            @if bindings.is_empty() { p.note { "Nothing yet: an admin gives roles." } }
            ul.plain { @for binding in &bindings { li { (place(binding)) } } }
        }
        (second_factor::section(&frame, &spec))
        (passkey::account::section(&frame, &api, &spec))
        (others)
        section.card {
            h2 { "Where you are signed in" }
            ul.rows { @for one in sessions.iter().rev() { (row(&frame, one, now)) } }
        }
    };
    Ok(frame.page("Your account", body))
}

fn row(frame: &Frame, session: &SessionSummary, now: Timestamp) -> Markup {
    let program = session.program.as_deref().map_or_else(|| "a program without a name".into(), browser_name);
    html! {
        li {
            div.what {
                strong { (program) }
                @if session.current { " " span.badge { "this one" } }
                p.note {
                    "since " (session.created.strftime("%e %B %Y, %H:%M UTC").to_string().trim_start())
                    @if let Some(address) = &session.address { " · from " (address) }
                    @if let Some(by) = &session.by { " · by " (by) }
                    " · ends " (days(session.expires, now))
                }
            }
            form method="post" action="/account/sessions" {
                (frame.csrf())
                input type="hidden" name="session" value=(session.id);
                button.quiet type="submit" aria-label={ "Sign out: " (program) } { "Sign out" }
            }
        }
    }
}

/// As one says it: what one is, and where.
fn place(binding: &NamedBinding) -> Markup {
    html! {
        strong { (binding.role) }
        @match (&binding.org, &binding.project) {
            (_, Some(project)) => { " of the project " (project) }
            (Some(org), None) => { " of everything in " (org) }
            (None, None) => { " of something that is gone" }
        }
    }
}

fn days(until: Timestamp, now: Timestamp) -> String {
    match until.duration_since(now).as_hours() / 24 {
        ..=0 => "today".into(),
        1 => "tomorrow".into(),
        days => format!("in {days} days"),
    }
}

/// What people call the browser or the program, of what it says of itself.
pub(super) fn browser_name(agent: &str) -> String {
    let known = [("Edg/", "Edge"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari")];
    let system = [
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    ];
    let find = |list: &[(&str, &'static str)]| {
        list.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name)
    };
    match (find(&known), find(&system)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.into(),
        _ => agent.chars().take(60).collect(),
    }
}

/// Ends one of one's own sessions.
pub(crate) async fn end_session(
    State(api): State<Api>,
    who: Who,
    caller: Caller,
    form: Form,
) -> Answer<Response> {
    let id: SessionId = form.get("session").parse().map_err(|_| {
        Problem::new(Code::Invalid, "That is no session.")
            .hint("Load the page again, and choose one of those it shows.")
    })?;
    end(&api, &who, caller.request, id).await?;
    Ok(match who.principal.identity {
        Identity::User { session, .. } if session == id => {
            ([(header::SET_COOKIE, browser::end())], Redirect::to("/signin")).into_response()
        }
        _ => Redirect::to("/account").into_response(),
    })
}

fn no_account() -> Failure {
    Problem::new(Code::NotFound, "Only people have accounts.").hint("Sign in as a user.").into()
}

#[cfg(test)]
mod tests {
    #[test]
    fn browsers_are_called_what_people_call_them() {
        let chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36";
        assert_eq!(super::browser_name(chrome), "Chrome on Linux");
        assert_eq!(super::browser_name("freehold/0.1"), "freehold/0.1");
    }
}
