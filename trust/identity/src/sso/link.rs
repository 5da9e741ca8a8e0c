//! Who somebody is elsewhere: linked and unlinked by themselves, on their account's page.
//!
//! Invariants: one identity belongs to one user, by a claim; the last way to sign in is not given up.

use super::relying::Proved;
use crate::{
    TokenHash,
    error::{PeopleError, invalid, not_found},
    people::session::Origin,
};
use freehold_model::{
    Actor, Code, IdentityProviderSpec, LinkedIdentity, Problem, SessionId, SessionSpec, Txn, User, UserId,
    UserSpec,
};
use freehold_reconcile::{StoreError, View, ViewExt as _};
use jiff::Timestamp;
use serde_json::json;

/// The scope of claims that find a user by who they are elsewhere.
pub(crate) const LINKED: &str = "linked-identity";
/// So many somebody may have.
const MOST: usize = 8;

/// The key of the claim: neither issuer nor subject is in it.
pub fn linked_key(issuer: &str, subject: &str) -> String {
    // An issuer is a URL and has no line end.
    TokenHash::of(&format!("linked {issuer}\n{subject}")).hex()
}

/// The transaction that links who came back with the user who went, in the session in which they did.
///
/// # Errors
/// When the session ended meanwhile; when somebody has linked that identity already.
pub fn link(
    view: &dyn View,
    proved: &Proved,
    (id, session): (UserId, SessionId),
    origin: &Origin,
    now: Timestamp,
) -> Result<Txn, PeopleError> {
    let session = view.find::<SessionSpec>(session)?;
    let lasts = |it: &freehold_model::Session| {
        it.parent == Some(id.into()) && it.spec.waits.is_none() && now < it.spec.expires
    };
    let user = view.find::<UserSpec>(id)?.filter(|user| !user.spec.disabled);
    let (Some(mut user), Some(_)) = (user, session.filter(lasts)) else {
        return Err(invalid("You signed out meanwhile.", "Sign in, and link it again."));
    };
    let mut txn = Txn::new(Actor::User(user.name.clone()), "link an identity", &origin.request);
    add(view, &mut txn, &mut user, proved, now)?;
    txn.put_spec(&user);
    Ok(txn)
}

/// Adds an identity to `user`, who is put by the caller.
pub(super) fn add(
    view: &dyn View,
    txn: &mut Txn,
    user: &mut User,
    proved: &Proved,
    now: Timestamp,
) -> Result<(), PeopleError> {
    let key = linked_key(&proved.issuer, &proved.subject);
    let had = user.spec.linked.iter().any(|it| linked_key(&it.issuer, &it.subject) == key);
    if let Some(owner) = view.claim(LINKED, &key)?
        && (had || owner != user.any_id())
    {
        let title = match had {
            true => format!("You have linked this account of {} already.", proved.title),
            false => format!("Another user here has linked this account of {}.", proved.title),
        };
        return Err(Problem::new(Code::Conflict, title)
            .hint("Choose another account there, or leave it.")
            .into());
    }
    if user.spec.linked.len() >= MOST {
        return Err(invalid(format!("You have linked {MOST} accounts already."), "Unlink one first."));
    }
    let (issuer, subject) = (proved.issuer.clone(), proved.subject.clone());
    user.spec.linked.push(LinkedIdentity { issuer, subject, shown: proved.shown.clone(), since: now });
    let data = json!({ "name": user.name, "provider": proved.provider, "issuer": proved.issuer });
    txn.claim(LINKED, key, user.id).event(user.id, "user.identity_linked", data);
    Ok(())
}

/// The transaction by which a user gives up an identity, named by [`linked_key`].
///
/// # Errors
/// When they have none such; when they could not sign in any more.
pub fn unlink(view: &dyn View, id: UserId, key: &str, request: &str) -> Result<Txn, PeopleError> {
    let mut user =
        view.find::<UserSpec>(id)?.ok_or_else(|| not_found("There is no such user.", "Sign in again."))?;
    let found = user.spec.linked.iter().position(|it| linked_key(&it.issuer, &it.subject) == key);
    let Some(found) = found else {
        return Err(not_found("This account is not linked (any more).", "Load the page again."));
    };
    let gone = user.spec.linked.remove(found);
    keep_a_way(view, &user.spec)?;
    let mut txn = Txn::new(Actor::User(user.name.clone()), "unlink an identity", request);
    txn.release(LINKED, key).put_spec(&user);
    txn.event(id, "user.identity_unlinked", json!({ "name": user.name, "issuer": gone.issuer }));
    Ok(txn)
}

/// Refuses to leave somebody as `user` is: without a way to sign in.
pub(crate) fn keep_a_way(view: &dyn View, user: &UserSpec) -> Result<(), PeopleError> {
    if ways(view, user)? > 0 {
        return Ok(());
    }
    let problem = Problem::new(Code::Conflict, "This is your only way to sign in.");
    Err(problem.hint("Add another first, or ask an admin for an invite: it gives you a password.").into())
}

/// In how many ways somebody can sign in.
fn ways(view: &dyn View, user: &UserSpec) -> Result<usize, StoreError> {
    let set = view.all::<IdentityProviderSpec>(None)?;
    let linked = user.linked.iter().filter(|it| set.iter().any(|one| one.spec.issuer == it.issuer)).count();
    Ok(linked + usize::from(user.password.is_some()) + user.passkeys.len())
}

/// In how many ways, were there no provider of that issuer.
pub(super) fn ways_without(view: &dyn View, user: &UserSpec, issuer: &str) -> Result<usize, StoreError> {
    let linked = user.linked.iter().filter(|it| it.issuer != issuer).cloned().collect();
    ways(view, &UserSpec { linked, ..user.clone() })
}
