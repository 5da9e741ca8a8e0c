//! Orgs that ask their people for a second factor or a passkey, as those who have neither meet them: what is refused or
//! not there for them says why, and what to do.
//!
//! Invariant: it says no more than they know: that they are something in that org.

use crate::{
    error::Failure,
    pages::layout::{Frame, with_code},
};
use axum::{
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use freehold_model::{Code, Problem};
use maud::{Markup, html};

/// The problem with why it may be one, if that can be why.
pub(crate) fn explained(mut problem: Problem, withheld: &[String]) -> Problem {
    if !withheld.is_empty() && is_refusal(problem.code) {
        problem.hint = Some(format!("{} Add one on the page /account of this server.", why(withheld)));
    }
    problem
}

/// The answer with why it may be a refusal.
pub(crate) fn answer(response: Response, withheld: &[String]) -> Response {
    let refused = response.extensions().get::<Problem>().filter(|it| is_refusal(it.code)).cloned();
    match refused {
        Some(problem) if !withheld.is_empty() => Failure(explained(problem, withheld)).into_response(),
        _ => response,
    }
}

/// On the account's page.
pub(crate) fn notice(withheld: &[String]) -> Markup {
    html! {
        @if !withheld.is_empty() {
            div.alert role="alert" {
                strong { (with_code(&why(withheld))) }
                p { "Add one below: from then on everything is there for you as before." }
            }
        }
    }
}

/// Instead of an app of such an org.
pub(crate) fn page(frame: &Frame, withheld: &[String]) -> Response {
    let body = html! {
        p.lead { (with_code(&why(withheld))) }
        p.actions { a.button href="/account" { "Add one" } }
        p.note { "Then go back to the app and sign in once more." }
    };
    frame.card(StatusCode::FORBIDDEN, "One thing first", body)
}

fn is_refusal(code: Code) -> bool {
    matches!(code, Code::NotAllowed | Code::NotFound)
}

fn why(withheld: &[String]) -> String {
    let orgs = withheld.iter().map(|org| format!("`{org}`")).collect::<Vec<_>>().join(" and ");
    let asks = if withheld.len() == 1 { "The org" } else { "The orgs" };
    let verb = if withheld.len() == 1 { "asks" } else { "ask" };
    format!("{asks} {orgs} {verb} for a second factor or a passkey, and you have neither.")
}
