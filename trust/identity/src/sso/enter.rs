//! From who came back to a session: of whoever linked that identity, or of whom an invite is for.
//!
//! Invariant: an identity that nobody linked opens nothing and makes nobody. A second factor of this house is asked for
//! all the same: what a provider asks is not known here.

use super::{
    link::{LINKED, add, linked_key},
    relying::Proved,
};
use crate::{
    TokenHash,
    error::{PeopleError, not_allowed},
    people::session::{By, Opened, Origin, open_half, take_invite},
};
use freehold_model::{Actor, Kind, Txn, UserId, UserSpec};
use freehold_reconcile::{View, ViewExt as _};
use jiff::Timestamp;

/// What comes of somebody who proved who they are elsewhere.
#[derive(Debug)]
pub enum Entered {
    /// The transaction opens a session, or one that waits for a code.
    Opened(Box<(Txn, Opened)>),
    /// Nobody here has linked that identity.
    Stranger,
}

/// The transaction with which somebody signs in.
///
/// # Errors
/// When their account takes no sign-ins now, or the view fails.
pub fn sign_in_with(
    view: &dyn View,
    proved: &Proved,
    origin: &Origin,
    now: Timestamp,
) -> Result<Entered, PeopleError> {
    let key = linked_key(&proved.issuer, &proved.subject);
    let owner = view.claim(LINKED, &key)?.filter(|owner| owner.kind == Kind::User);
    let user = match owner {
        Some(owner) => view.find::<UserSpec>(UserId(owner.ulid))?,
        None => None,
    };
    let Some(user) = user else { return Ok(Entered::Stranger) };
    if user.spec.disabled || user.status.locked_until.is_some_and(|until| now < until) {
        let hint = "It is disabled, or locked for a while after too many wrong passwords. An admin can help: `freehold \
                    user unlock NAME`.";
        return Err(not_allowed("Your account takes no sign-ins now.", hint));
    }
    let mut txn = Txn::new(Actor::User(user.name.clone()), "sign in", &origin.request);
    txn.expect(user.id, user.version);
    let opened = open_half(view, &mut txn, &user, by(proved), origin, now)?;
    Ok(Entered::Opened(Box::new((txn, opened))))
}

/// The transaction that takes an invite: who came back is its user from now on, without a password.
///
/// # Errors
/// When the invite was taken meanwhile, or somebody has linked that identity already.
pub fn accept_invite_with(
    view: &dyn View,
    proved: &Proved,
    invite: &TokenHash,
    origin: &Origin,
    now: Timestamp,
) -> Result<(Txn, Opened), PeopleError> {
    let (mut txn, mut user) = take_invite(view, invite, origin, now)?;
    add(view, &mut txn, &mut user, proved, now)?;
    txn.put_spec(&user).put_status(&user);
    let origin = Origin { before: None, ..origin.clone() };
    let opened = open_half(view, &mut txn, &user, by(proved), &origin, now)?;
    Ok((txn, opened))
}

fn by(proved: &Proved) -> By {
    By::Provider(proved.provider.clone())
}
