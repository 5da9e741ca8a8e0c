//! Whether it is the person themselves who asks, and not somebody at their open browser: asked before what would be
//! a way in from then on, or take one away.
//!
//! Used by the account's sections. Invariant: it takes the password anew, or for who has none a sign-in of late.

use super::form::Form;
use crate::{
    error::Answer,
    signing::{self, Attempt},
    state::Api,
    who::Who,
};
use freehold_model::{Code, Problem, SessionId, SessionSpec, User, UserId, UserSpec};
use freehold_reconcile::ViewExt as _;
use jiff::SignedDuration;
use maud::{Markup, html};

/// Who has no password has signed in within this time.
const OF_LATE: SignedDuration = SignedDuration::from_mins(10);

/// The person, if it is them.
///
/// # Errors
/// When it is not their password, or they have none and signed in too long ago.
pub(super) async fn sure(
    api: &Api,
    attempt: &Attempt,
    who: &Who,
    (user, session): (UserId, SessionId),
    form: &Form,
) -> Answer<User> {
    let user = find(api, user).await?;
    if user.spec.password.is_some() {
        return signing::try_password(api, attempt, &who.principal.name, form.hidden("password")).await;
    }
    let session = api.read(move |view| Ok(view.find::<SessionSpec>(session)?)).await?;
    // What a program was given by a click proves nothing of who clicked.
    let by_hand = session.filter(|it| it.spec.by.as_deref() != Some("device"));
    match by_hand.filter(|it| api.clock.now() < it.created + OF_LATE) {
        Some(_) => Ok(user),
        None => Err(Problem::new(Code::NotAllowed, "You signed in too long ago for this.")
            .hint("Sign out and in again, then do it within ten minutes.")
            .into()),
    }
}

/// The field for the password with its label, for who has one; `id` is the field's on its page.
pub(super) fn password(user: &UserSpec, id: &str) -> Markup {
    html! {
        @if user.password.is_some() { label for=(id) { "Your password" } }
        (field(user, id))
    }
}

/// The field alone.
pub(super) fn field(user: &UserSpec, id: &str) -> Markup {
    html! {
        @if user.password.is_some() {
            input id=(id) type="password" name="password" required maxlength="256" autocomplete="current-password";
        }
    }
}

/// The user of that id.
///
/// # Errors
/// When they are gone.
pub(super) async fn find(api: &Api, id: UserId) -> Answer<User> {
    let found = api.read(move |view| Ok(view.find::<UserSpec>(id)?)).await?;
    found.ok_or_else(|| Problem::new(Code::NotFound, "There is no such user.").hint("Sign in again.").into())
}
