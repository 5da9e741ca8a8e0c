//! The one layout of all pages: a header with who is signed in, a column, and the headers that keep a page to
//! itself.
//!
//! Invariants: text is escaped by `maud`, always; no inline script or style, nothing from another host, no page
//! in a frame, and nothing of it in any cache.

use super::{assets, form::FormToken};
use crate::who::Who;
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{Html, IntoResponse, Response},
};
use freehold_model::Problem;
use maud::{DOCTYPE, Markup, html};

/// What a page may load and do. Mind `form-action`: browsers hold redirects of a form's answer to it too.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);

/// What every page starts from.
#[derive(Clone)]
pub(crate) struct Frame {
    /// The server, as the browser calls it.
    pub(crate) host: String,
    /// Who is signed in.
    pub(crate) who: Option<Who>,
    token: FormToken,
}

impl<S: Send + Sync> FromRequestParts<S> for Frame {
    type Rejection = std::convert::Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let frame = parts.extensions.get::<Frame>().cloned();
        Ok(frame.unwrap_or_else(|| Frame::of_nobody(&parts.headers)))
    }
}

impl Frame {
    pub(crate) fn new(headers: &HeaderMap, who: Option<Who>, token: FormToken) -> Frame {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        Frame { host: host.chars().take(100).collect(), who, token }
    }

    /// For a page without forms.
    pub(crate) fn of_nobody(headers: &HeaderMap) -> Frame {
        Frame::new(headers, None, FormToken { text: String::new(), set: None })
    }

    /// The hidden field that each form has.
    pub(crate) fn csrf(&self) -> Markup {
        html! { input type="hidden" name="csrf" value=(self.token.text); }
    }

    /// A page with a column for reading.
    pub(crate) fn page(&self, title: &str, body: Markup) -> Response {
        self.render(StatusCode::OK, title, "wide", body)
    }

    /// A page with one small card, as for signing in.
    pub(crate) fn card(&self, status: StatusCode, title: &str, body: Markup) -> Response {
        self.render(status, title, "narrow", html! { section.card { h1 { (title) } (body) } })
    }

    /// A failure as a page.
    pub(crate) fn problem(&self, problem: &Problem, can_go_back: bool) -> Response {
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = html! {
            (alert(problem))
            p.actions {
                @if can_go_back { a.button.quiet href="/account" { "Your account" } }
                @else { a.button.quiet href="/signin" { "Sign in" } }
            }
        };
        self.card(status, "That did not work", body)
    }

    fn render(&self, status: StatusCode, title: &str, width: &str, body: Markup) -> Response {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (title) " · Freehold" }
                    link rel="icon" href=(assets::path("icon.svg"));
                    link rel="stylesheet" href=(assets::path("page.css"));
                }
                body {
                    header.top {
                        a.brand href="/account" { img src=(assets::path("icon.svg")) alt="" width="24" height="24"; "Freehold" }
                        @if let Some(who) = &self.who { (self.signed_in(who)) }
                    }
                    main class=(width) { (body) }
                }
            }
        };
        let mut response = (status, Html(page.into_string())).into_response();
        keep_to_itself(response.headers_mut());
        response.headers_mut().extend(self.token.set.clone().map(|set| (header::SET_COOKIE, set)));
        response
    }

    fn signed_in(&self, who: &Who) -> Markup {
        html! {
            form.who method="post" action="/signout" {
                input type="hidden" name="csrf" value=(who.csrf().expose());
                span { (who.principal.name) }
                button.quiet type="submit" { "Sign out" }
            }
        }
    }
}

/// With which status a form is shown: that of what was wrong with the one before, if anything was.
pub(crate) fn status(problem: Option<&Problem>) -> StatusCode {
    problem.and_then(|it| StatusCode::from_u16(it.status).ok()).unwrap_or(StatusCode::OK)
}

/// What was wrong, and the way out.
pub(crate) fn alert(problem: &Problem) -> Markup {
    html! {
        div.alert role="alert" {
            strong { (problem.title) }
            @if let Some(detail) = &problem.detail { p { (detail) } }
            @if let Some(hint) = &problem.hint { p { (with_code(hint)) } }
        }
    }
}

/// A text in which commands stand between backticks.
pub(crate) fn with_code(text: &str) -> Markup {
    html! {
        @for (number, part) in text.split('`').enumerate() {
            @if number % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

fn keep_to_itself(headers: &mut HeaderMap) {
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        // Not `no-referrer`: with it, browsers send forms with `Origin: null`.
        (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    ];
    headers.extend(fixed);
}
