//! What passkeys somebody has, and taking one away: by themselves, or by an admin.

use super::PASSKEY;
use crate::{
    Asker, Principal,
    error::{PeopleError, not_found},
    people::user::{manageable, no_user},
    sso::keep_a_way,
};
use freehold_model::{Passkey, SessionSpec, Txn, User, UserId, UserSpec, people::PasskeySummary};
use freehold_reconcile::{View, ViewExt as _};
use serde_json::json;

/// Somebody's passkeys, as they were added.
///
/// # Errors
/// When there is no such user.
pub fn passkey_summaries(view: &dyn View, id: UserId) -> Result<Vec<PasskeySummary>, PeopleError> {
    let user = view.find::<UserSpec>(id)?.ok_or_else(|| no_user(id))?;
    Ok(user.spec.passkeys.iter().map(told).collect())
}

/// The transaction by which somebody gives up one of their own.
///
/// # Errors
/// When they have no such passkey.
pub fn remove_own_passkey(
    view: &dyn View,
    who: &Principal,
    user: UserId,
    passkey: &str,
    request: &str,
) -> Result<(Txn, PasskeySummary), PeopleError> {
    let user = view.find::<UserSpec>(user)?.ok_or_else(|| no_user(user))?;
    let mut txn = Txn::new(who.actor(), "remove a passkey", request);
    if user.spec.passkeys.len() == 1 {
        let without = UserSpec { passkeys: vec![], ..user.spec.clone() };
        keep_a_way(view, &without)?;
    }
    let removed = remove(&mut txn, user, passkey)?;
    Ok((txn, removed))
}

/// The transaction by which an admin takes one away, as for a device that was lost; their sessions end, for whoever
/// found it may be in one.
///
/// # Errors
/// When there is no such user or passkey, or they are more than the asker.
pub fn remove_passkey(
    view: &dyn View,
    asker: &Asker,
    id: UserId,
    passkey: &str,
) -> Result<(Txn, PasskeySummary), PeopleError> {
    let user = manageable(view, asker, id)?;
    let mut txn =
        Txn::new(asker.principal.actor(), format!("remove a passkey of {}", user.name), &asker.request);
    for session in view.all::<SessionSpec>(Some(id.into()))? {
        txn.delete(session.id);
    }
    let removed = remove(&mut txn, user, passkey)?;
    Ok((txn, removed))
}

fn remove(txn: &mut Txn, mut user: User, passkey: &str) -> Result<PasskeySummary, PeopleError> {
    let at = user.spec.passkeys.iter().position(|it| it.id() == passkey).ok_or_else(|| {
        not_found(
            format!("{} has no such passkey (any more).", user.name),
            format!("`freehold user passkeys {}` lists them.", user.name),
        )
    })?;
    let passkey = user.spec.passkeys.remove(at);
    let told = told(&passkey);
    txn.release(PASSKEY, &passkey.hash).put_spec(&user);
    txn.event(
        user.id,
        "user.passkey_removed",
        json!({ "name": user.name, "passkey": told.name, "id": told.id }),
    );
    Ok(told)
}

pub(super) fn told(passkey: &Passkey) -> PasskeySummary {
    PasskeySummary {
        id: passkey.id().to_owned(),
        name: passkey.name.clone(),
        created: passkey.created,
        last_used: passkey.last_used,
    }
}
