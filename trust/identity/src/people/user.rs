//! Users: made with an invite, given roles, unlocked, removed; each in one transaction with its audit event.
//!
//! Invariant: nobody gives, takes away or takes over more than they have themselves: not by a role, and not by
//! inviting somebody who is more.

use super::password::LENGTHS;
use crate::{
    Access, Action, Asker, Place, Principal, Token,
    binding::{all_named, given, resolve},
    credential::CREDENTIAL,
    decide,
    error::{PeopleError, invalid, not_allowed, not_found},
    grant::place,
};
use freehold_model::{
    Binding, Code, Invite, Problem, Resource, Role, SessionSpec, Txn, User, UserId, UserSpec,
    access::NamedBinding,
    people::{CreateUser, Invited, SetRole, UserSummary},
    secrets::Hidden,
};
use freehold_reconcile::{Ids as _, StoreError, SystemIds, View, ViewExt as _};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

/// How long an invite is good.
const INVITE: SignedDuration = SignedDuration::from_hours(72);
/// Who has the token of the data directory acts under this name.
const RESERVED: &str = "admin";

/// A new user, who has an invite and no password.
///
/// # Errors
/// When the name is taken, or the roles are not the asker's to give.
pub fn create_user(
    view: &dyn View,
    asker: &Asker,
    wanted: &CreateUser,
) -> Result<(Txn, Invited), PeopleError> {
    if wanted.name.as_str() == RESERVED {
        let title = "`admin` is whoever has the token of the data directory.";
        return Err(invalid(title, "Choose another name."));
    }
    if view.named::<UserSpec>(None, wanted.name.as_str())?.is_some() {
        let problem = Problem::new(Code::Conflict, format!("There is a user `{}` already.", wanted.name));
        return Err(problem.hint("Choose another name.").into());
    }
    let bindings = match wanted.bindings.as_slice() {
        [] => vec![],
        some => given(view, &asker.principal, Action::ManageRoles, some)?,
    };
    let full_name = wanted.full_name.clone().map(|name| name.chars().take(200).collect());
    let (secret, invite) = invite(asker.now);
    let expires = invite.expires;
    let spec = UserSpec { full_name, bindings, invite: Some(invite.clone()), ..UserSpec::default() };
    let user: User = Resource::new(UserId(SystemIds.ulid()), wanted.name.as_str(), None, spec, asker.now);
    let mut txn = Txn::new(asker.principal.actor(), format!("make user {}", wanted.name), &asker.request);
    txn.put(&user).claim(CREDENTIAL, invite.hash, user.id);
    let summary = summary(view, &user, asker.now)?;
    txn.event(user.id, "user.invited", json!({ "name": user.name, "bindings": summary.bindings }));
    Ok((txn, Invited { user: summary, invite: secret, link: None, expires }))
}

/// Another invite for a user, who keeps their password until they take it. It unlocks the account too.
///
/// # Errors
/// When there is no such user, or they are more than the asker.
pub fn invite_user(view: &dyn View, asker: &Asker, id: UserId) -> Result<(Txn, Invited), PeopleError> {
    let mut user = manageable(view, asker, id)?;
    let mut txn = Txn::new(asker.principal.actor(), format!("invite {}", user.name), &asker.request);
    if let Some(old) = &user.spec.invite {
        txn.release(CREDENTIAL, &old.hash);
    }
    let (secret, invite) = invite(asker.now);
    let expires = invite.expires;
    txn.claim(CREDENTIAL, &invite.hash, user.id);
    user.spec.invite = Some(invite);
    user.status = Default::default();
    txn.put_spec(&user).put_status(&user);
    txn.event(user.id, "user.invited", json!({ "name": user.name }));
    Ok((txn, Invited { user: summary(view, &user, asker.now)?, invite: secret, link: None, expires }))
}

/// Gives back to a user what too many wrong passwords took.
///
/// # Errors
/// When there is no such user, or they are more than the asker.
pub fn unlock_user(view: &dyn View, asker: &Asker, id: UserId) -> Result<(Txn, UserSummary), PeopleError> {
    let mut user = manageable(view, asker, id)?;
    user.status = Default::default();
    let mut txn = Txn::new(asker.principal.actor(), format!("unlock {}", user.name), &asker.request);
    txn.put_status(&user).event(user.id, "user.unlocked", json!({ "name": user.name }));
    Ok((txn, summary(view, &user, asker.now)?))
}

/// Removes a user with all their sessions.
///
/// # Errors
/// When there is no such user, or they are more than the asker.
pub fn delete_user(view: &dyn View, asker: &Asker, id: UserId) -> Result<(Txn, ()), PeopleError> {
    let user = manageable(view, asker, id)?;
    let mut txn = Txn::new(asker.principal.actor(), format!("remove user {}", user.name), &asker.request);
    for session in view.all::<SessionSpec>(Some(id.into()))? {
        txn.delete(session.id);
    }
    txn.event(id, "user.removed", json!({ "name": user.name }));
    txn.expect(id, user.version).delete(id);
    Ok((txn, ()))
}

/// Gives a user a role at a place, or takes it away.
///
/// # Errors
/// When there is no such user or place, or when it is not the asker's to give or to take.
pub fn set_role(view: &dyn View, asker: &Asker, wanted: &SetRole) -> Result<(Txn, UserSummary), PeopleError> {
    let where_ = resolve(view, &asker.principal, wanted.org.as_ref(), wanted.project.as_ref())?;
    if decide(Some(&asker.principal), Action::ManageRoles, where_) != Access::Granted {
        let hint = "`freehold access explain manage-roles` says what it takes; ask an admin of that place.";
        return Err(not_allowed("You may not give roles there.", hint));
    }
    let found = view.named::<UserSpec>(None, wanted.user.as_str())?;
    let mut user = found.ok_or_else(|| {
        not_found(format!("There is no user `{}`.", wanted.user), "Ask an admin of the house to invite them.")
    })?;
    let had = user.spec.bindings.iter().find(|it| place(it) == where_).map(|it| it.role);
    let own = asker.principal.role_at(where_);
    if own < wanted.role.max(had) {
        let title = "You cannot give or take away a role that is more than yours.";
        return Err(not_allowed(title, "Ask an owner of that place."));
    }
    user.spec.bindings.retain(|it| place(it) != where_);
    let mut data = json!({ "name": user.name, "role": wanted.role });
    if let Some(role) = wanted.role {
        let binding = match where_ {
            Place::Project { org, project } => Binding { role, org, project: Some(project) },
            Place::Org(org) => Binding { role, org, project: None },
            Place::House | Place::Anywhere => unreachable!("names mean orgs and projects"),
        };
        user.spec.bindings.push(binding);
        data["binding"] = json!(binding);
    }
    let mut txn = Txn::new(asker.principal.actor(), format!("roles of {}", user.name), &asker.request);
    txn.put_spec(&user).event(user.id, "user.role_changed", data);
    Ok((txn, summary(view, &user, asker.now)?))
}

/// Every user. For those who manage them.
///
/// # Errors
/// When the view fails.
pub fn user_summaries(view: &dyn View, now: Timestamp) -> Result<Vec<UserSummary>, StoreError> {
    view.all::<UserSpec>(None)?.iter().map(|user| summary(view, user, now)).collect()
}

/// The user with everything said that may be.
pub(crate) fn summary(view: &dyn View, user: &User, now: Timestamp) -> Result<UserSummary, StoreError> {
    let locked = user.status.locked_until.filter(|until| now < *until);
    let state = match (&user.spec, locked) {
        (spec, _) if spec.disabled => "disabled",
        (_, Some(_)) => "locked",
        (spec, _) if spec.password.is_none() && spec.linked.is_empty() && spec.passkeys.is_empty() => {
            "invited"
        }
        _ => "active",
    };
    let bindings: Vec<NamedBinding> = all_named(view, &user.spec.bindings)?;
    Ok(UserSummary {
        id: user.id,
        name: user.name.clone(),
        full_name: user.spec.full_name.clone(),
        bindings,
        state: state.into(),
        second_factor: user.spec.has_second_factor(),
        passkeys: user.spec.passkeys.len(),
        created: user.created,
        locked_until: locked,
    })
}

/// The user, if the asker is at least what they are, wherever they are anything.
pub(super) fn manageable(view: &dyn View, asker: &Asker, id: UserId) -> Result<User, PeopleError> {
    let user = view.find::<UserSpec>(id)?.ok_or_else(|| no_user(id))?;
    if outranks(&asker.principal, &user.spec.bindings) {
        return Ok(user);
    }
    let title = format!("You may not manage {}: they are more than you somewhere.", user.name);
    Err(not_allowed(title, "Ask an owner."))
}

/// Owners of the house outrank everybody: they could give themselves any role.
fn outranks(principal: &Principal, bindings: &[Binding]) -> bool {
    principal.role_at(Place::House) >= Some(Role::Owner)
        || bindings.iter().all(|it| principal.role_at(place(it)) >= Some(it.role))
}

pub(crate) fn no_user(id: UserId) -> PeopleError {
    not_found(format!("There is no user {id}."), "`freehold user list` shows who there is.")
}

/// What is wrong with a password that is to be, if anything.
pub(crate) fn acceptable(password: &str, name: &str) -> Result<(), PeopleError> {
    let lower = password.to_lowercase();
    if !LENGTHS.contains(&password.len()) {
        let title = format!("A password has {} to {} bytes.", LENGTHS.start(), LENGTHS.end());
        return Err(invalid(title, "Several words are good, and easy to remember."));
    }
    let distinct: std::collections::BTreeSet<char> = lower.chars().collect();
    if distinct.len() < 5 || lower.contains(&name.to_lowercase()) {
        let title = "This password is easy to guess: it has your name in it, or few different characters.";
        return Err(invalid(title, "Several words are good, and easy to remember."));
    }
    Ok(())
}

fn invite(now: Timestamp) -> (Hidden, Invite) {
    let secret = Token::generate();
    let expires = now.checked_add(INVITE).unwrap_or(Timestamp::MAX);
    (Hidden::new(secret.reveal().to_owned()), Invite { hash: secret.hash().hex(), expires })
}
