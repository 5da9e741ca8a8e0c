//! A second factor, set up and given up on the account's page, and asked for after the password.
//!
//! Invariant: setting one up and giving it up are asked of the person alone ([`super::sure`]): whoever finds a browser
//! open can do neither.

use super::{
    form::Form,
    layout::{Frame, alert, status},
    local::Local,
    signin::{Afterwards, welcome},
    sure::{self, sure},
};
use crate::{
    commit::commit,
    error::{Answer, Failure},
    params::Params,
    signing::{self, Attempt},
    state::Api,
    who::{Caller, Who},
};
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Redirect, Response},
};
use freehold_identity::{self as identity, Identity, SECRET_BYTES};
use freehold_model::{Code, Problem, UserId, UserSpec};
use freehold_reconcile::{View, ViewExt as _};
use freehold_secrets::Plaintext;
use maud::{Markup, PreEscaped, html};
use qrcodegen::{QrCode, QrCodeEcc};

/// Asks for the code, after the password.
pub(crate) async fn ask_code(frame: Frame, Params(Afterwards(next)): Params<Afterwards>) -> Response {
    code_form(&frame, &next.unwrap_or_else(Local::account), None)
}

/// Takes the code; the session that waited for it becomes one.
pub(crate) async fn take_code(
    State(api): State<Api>,
    frame: Frame,
    attempt: Attempt,
    headers: HeaderMap,
    form: Form,
) -> Response {
    let next = form.get("next").parse().unwrap_or_else(|_| Local::account());
    match signing::with_code(&api, &attempt, form.get("code")).await {
        Ok(opened) => welcome(&frame, &opened, &headers, &next),
        Err(Failure(problem)) => code_form(&frame, &next, Some(&problem)),
    }
}

fn code_form(frame: &Frame, next: &Local, problem: Option<&Problem>) -> Response {
    let status = status(problem);
    let body = html! {
        p.lead { "One thing more: what does your authenticator show?" }
        @if let Some(problem) = problem { (alert(problem)) }
        form method="post" action="/signin/code" {
            (frame.csrf())
            input type="hidden" name="next" value=(next.to_string());
            label for="code" { "Code" }
            input #code.code type="text" name="code" required maxlength="40" autocomplete="one-time-code"
                autocapitalize="none" spellcheck="false" autofocus;
            button type="submit" { "Sign in" }
        }
        p.note { "No authenticator any more? A recovery code is good here too; or ask an admin to reset your second factor." }
        p.note { a href=(next.after_sign_in()) { "Start again" } }
    };
    frame.card(status, "One more step", body)
}

/// The account's section about it.
pub(crate) fn section(frame: &Frame, user: &UserSpec) -> Markup {
    let factor = user.second_factor.as_ref().filter(|it| it.since.is_some());
    html! {
        section.card {
            h2 { "Second factor" }
            @match factor {
                Some(factor) => {
                    p { span.badge { "on" } " Signing in takes a code of your authenticator too, unless it is by a passkey." }
                    p.note { (factor.recovery.len()) " recovery codes are left." }
                    (button(frame, user, "remove", "Remove it", "danger"))
                }
                None => {
                    p { "A code of an app on your phone, asked for beside your password: who learns one still lacks the other." }
                    (button(frame, user, "begin", "Set it up", ""))
                }
            }
        }
    }
}

fn button(frame: &Frame, user: &UserSpec, step: &str, button: &str, kind: &str) -> Markup {
    html! {
        form.inline method="post" action="/account/second-factor" {
            (frame.csrf())
            @if user.password.is_some() { label for="factor-password" { "Your password" } }
            div.line {
                (sure::field(user, "factor-password"))
                button class=(kind) type="submit" name="step" value=(step) { (button) }
            }
        }
    }
}

/// Begins, confirms or removes.
pub(crate) async fn change(
    State(api): State<Api>,
    frame: Frame,
    attempt: Attempt,
    who: Who,
    caller: Caller,
    form: Form,
) -> Answer<Response> {
    let Identity::User { user, session } = who.principal.identity else {
        return Err(Problem::new(Code::NotAllowed, "Only people have a second factor.").into());
    };
    let request = caller.request.clone();
    match form.get("step") {
        "begin" => {
            sure(&api, &attempt, &who, (user, session), &form).await?;
            begin(&api, &frame, &who, user, request).await
        }
        "confirm" => confirm(&api, &frame, &who, user, form.get("code").to_owned(), request).await,
        "remove" => {
            sure(&api, &attempt, &who, (user, session), &form).await?;
            let principal = who.principal.clone();
            let decide = move |view: &dyn View| {
                Ok((identity::remove_second_factor(view, &principal, user, &request)?, ()))
            };
            commit(&api, decide).await?;
            Ok(Redirect::to("/account").into_response())
        }
        _ => Err(Problem::new(Code::Invalid, "That is no step.").hint("Load the page again.").into()),
    }
}

async fn begin(api: &Api, frame: &Frame, who: &Who, user: UserId, request: String) -> Answer<Response> {
    let secret = Plaintext::new(Plaintext::generate().expose()[..SECRET_BYTES].to_vec());
    // Until it is stored, no rotation may forget the key.
    let _turn = api.vault.turn().await;
    let (sealed, principal) = (api.vault.seal_second_factor(user, &secret), who.principal.clone());
    let decide = move |view: &dyn View| {
        Ok((identity::begin_second_factor(view, &principal, user, sealed.clone(), &request)?, ()))
    };
    commit(api, decide).await?;
    Ok(show_secret(frame, who, &secret, None))
}

async fn confirm(
    api: &Api,
    frame: &Frame,
    who: &Who,
    user: UserId,
    code: String,
    request: String,
) -> Answer<Response> {
    let found = api.read(move |view| Ok(view.find::<UserSpec>(user)?)).await?;
    let sealed =
        found.and_then(|user| user.spec.second_factor).map(|factor| factor.sealed).unwrap_or_default();
    let Ok(secret) = api.vault.open_second_factor(user, &sealed) else {
        let problem = Problem::new(Code::Invalid, "Nothing was begun that a code could prove.");
        return Err(problem.hint("Begin again on your account's page.").into());
    };
    let (principal, now, bytes) = (who.principal.clone(), api.clock.now(), secret.clone());
    let decide = move |view: &dyn View| {
        Ok(identity::confirm_second_factor(view, &principal, user, bytes.expose(), &code, &request, now)?)
    };
    match commit(api, decide).await {
        Ok(codes) => Ok(show_recovery(frame, &codes)),
        Err(Failure(problem)) => Ok(show_secret(frame, who, &secret, Some(&problem))),
    }
}

fn show_secret(frame: &Frame, who: &Who, secret: &Plaintext, problem: Option<&Problem>) -> Response {
    let status = status(problem);
    let uri = identity::secret_uri(secret.expose(), &who.principal.name, &frame.host);
    let text = identity::secret_text(secret.expose());
    let groups: Vec<&str> = text.as_bytes().chunks(4).filter_map(|it| std::str::from_utf8(it).ok()).collect();
    let body = html! {
        p.lead { "Scan this with an authenticator app, then type the code that it shows." }
        @if let Some(problem) = problem { (alert(problem)) }
        div.qr { (picture(&uri)) }
        p.note { "No camera? Type this secret into the app, or " a href=(uri) { "open it there" } ":" }
        p.mono { (groups.join(" ")) }
        form method="post" action="/account/second-factor" {
            (frame.csrf())
            label for="code" { "Code" }
            input #code.code type="text" name="code" required maxlength="12" inputmode="numeric"
                autocomplete="one-time-code" autofocus;
            button type="submit" name="step" value="confirm" { "Turn it on" }
        }
        p.note { a href="/account" { "Not now" } }
    };
    frame.card(status, "Set up a second factor", body)
}

fn show_recovery(frame: &Frame, codes: &[String]) -> Response {
    let body = html! {
        p.lead { "Your second factor is on. Keep these recovery codes where your phone is not: each is good once, instead of a code, and nobody can show them again." }
        ul.codes { @for code in codes { li.mono { (code) } } }
        p.actions { a.button href="/account" { "I have kept them" } }
    };
    frame.card(StatusCode::OK, "Recovery codes", body)
}

/// The text as a picture for cameras: dark on light in any scheme, or cameras do not see it.
fn picture(text: &str) -> Markup {
    let Ok(code) = QrCode::encode_text(text, QrCodeEcc::Medium) else { return html! {} };
    let all = |size| (0..size).flat_map(move |y| (0..size).map(move |x| (x, y)));
    let dark = all(code.size()).filter(|(x, y)| code.get_module(*x, *y));
    let path: String = dark.map(|(x, y)| format!("M{},{}h1v1h-1z", x + 4, y + 4)).collect();
    let size = code.size() + 8;
    html! {
        (PreEscaped(format!("<svg viewBox=\"0 0 {size} {size}\" role=\"img\" aria-label=\"The secret as a QR code\" shape-rendering=\"crispEdges\">")))
        rect width="100%" height="100%" fill="#fff" {}
        path d=(path) fill="#000" {}
        (PreEscaped("</svg>"))
    }
}
