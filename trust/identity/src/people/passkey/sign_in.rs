//! Signing in with a passkey: who it is, the passkey says.

use super::{
    ANSWERED, Asked, PASSKEY, RelyingParty, Reply,
    add::handle,
    hash_of, note_answer,
    ticket::{Purpose, Ticket, give, take},
    too_late,
};
use crate::{
    error::PeopleError,
    people::session::{By, Opened, Origin, open, refused},
};
use freehold_model::{Actor, Code, Kind, Passkey, Problem, Txn, User, UserId, UserSpec};
use freehold_reconcile::{StoreError, View, ViewExt as _};
use freehold_secrets::Voucher;
use jiff::Timestamp;
use serde_json::json;
use webauthn_rs::prelude::{self as library, DiscoverableAuthentication, PublicKeyCredential, WebauthnError};

/// What becomes of an answer.
#[derive(Debug)]
pub enum PasskeyVerdict {
    /// The transaction opens a session.
    In(Box<Opened>),
    /// The transaction notes the failure, if anything is to be noted; the problem is the same whatever was wrong.
    Out(Box<Problem>),
}

/// Asks a browser for any passkey that it has for this house.
///
/// # Errors
/// When the library cannot ask.
pub fn ask_for_passkey(
    party: &RelyingParty,
    voucher: &Voucher,
    browser: &str,
    now: Timestamp,
) -> Result<Asked, PeopleError> {
    let (options, state) = party.0.start_discoverable_authentication().map_err(|_| too_late())?;
    let mut options = json!(options);
    // Whether it is asked for in passing or at once is for the page to say.
    options.as_object_mut().and_then(|it| it.remove("mediation"));
    let ticket = give(voucher, Purpose::SignIn, browser, &options, state, now);
    Ok(Asked { options, ticket })
}

/// The transaction after an answer, whatever it is worth.
///
/// # Errors
/// When the ticket is not good (any more), or there were too many answers of late.
pub fn sign_in_with_passkey(
    view: &dyn View,
    party: &RelyingParty,
    voucher: &Voucher,
    reply: Reply<'_>,
    origin: &Origin,
    now: Timestamp,
) -> Result<(Txn, PasskeyVerdict), PeopleError> {
    let ticket: Option<Ticket<DiscoverableAuthentication>> =
        take(voucher, Purpose::SignIn, reply.browser, reply.ticket, now);
    let ticket = ticket.ok_or_else(too_late)?;
    if view.claim(ANSWERED, &ticket.challenge)?.is_some() {
        return Err(too_late());
    }
    let nobody = || Txn::new(Actor::User("anonymous".into()), "wrong passkey", &origin.request);
    let Ok(answer) = serde_json::from_str::<PublicKeyCredential>(reply.credential) else {
        return Ok((nobody(), PasskeyVerdict::Out(wrong())));
    };
    let Some((mut user, at)) = owner(view, &answer)? else {
        return Ok((nobody(), PasskeyVerdict::Out(wrong())));
    };
    let why = match check(party, &ticket.state, &user, &answer, at) {
        Ok(credential) => {
            let shut = user.spec.disabled || user.status.locked_until.is_some_and(|until| now < until);
            if shut {
                return Ok((nobody(), PasskeyVerdict::Out(wrong())));
            }
            let passkey = &mut user.spec.passkeys[at];
            passkey.credential = json!(credential);
            passkey.last_used = Some(now);
            return let_in(view, user, &ticket, origin, now);
        }
        Err(why) => why,
    };
    let Some(mut txn) = refused(view, user.id, origin, now)? else {
        return Ok((nobody(), PasskeyVerdict::Out(wrong())));
    };
    txn.reason = "wrong passkey".into();
    let back = matches!(why, WebauthnError::CredentialPossibleCompromise);
    let what = if back { "user.passkey_counter_back" } else { "user.passkey_refused" };
    let data =
        json!({ "name": user.name, "passkey": user.spec.passkeys[at].name, "address": origin.address });
    txn.event(user.id, what, data);
    Ok((txn, PasskeyVerdict::Out(wrong())))
}

fn let_in(
    view: &dyn View,
    mut user: User,
    ticket: &Ticket<DiscoverableAuthentication>,
    origin: &Origin,
    now: Timestamp,
) -> Result<(Txn, PasskeyVerdict), PeopleError> {
    let mut txn = Txn::new(Actor::User(user.name.clone()), "sign in with a passkey", &origin.request);
    note_answer(&mut txn, &mut user, &ticket.challenge, ticket.until, now)?;
    txn.put_spec(&user);
    if user.status != Default::default() {
        user.status = Default::default();
        txn.put_status(&user);
    }
    let opened = open(view, &mut txn, &user, By::Passkey, origin, now)?;
    Ok((txn, PasskeyVerdict::In(Box::new(opened))))
}

/// Whose credential it is and which of theirs, if the authenticator says so too.
fn owner(view: &dyn View, answer: &PublicKeyCredential) -> Result<Option<(User, usize)>, StoreError> {
    let hash = hash_of(answer.get_credential_id());
    let owner = view.claim(PASSKEY, &hash)?.filter(|owner| owner.kind == Kind::User);
    let Some(owner) = owner else { return Ok(None) };
    let id = UserId(owner.ulid);
    if answer.get_user_unique_id() != Some(handle(id).as_bytes()) {
        return Ok(None);
    }
    let Some(user) = view.find::<UserSpec>(id)? else { return Ok(None) };
    let at = user.spec.passkeys.iter().position(|it| it.hash == hash);
    Ok(at.map(|at| (user, at)))
}

/// The credential as it is to be kept from now on, with its counter.
fn check(
    party: &RelyingParty,
    state: &DiscoverableAuthentication,
    user: &User,
    answer: &PublicKeyCredential,
    at: usize,
) -> Result<library::Passkey, WebauthnError> {
    let mut credential = stored(&user.spec.passkeys[at]).map_err(|_| WebauthnError::CredentialNotFound)?;
    let proved = party.0.finish_discoverable_authentication_v2(answer, state.clone(), &credential);
    let proved =
        proved.inspect_err(|why| tracing::debug!(%why, user = user.name, "a passkey was refused"))?;
    if !proved.user_verified() {
        return Err(WebauthnError::UserNotVerified);
    }
    credential.update_credential(&proved).ok_or(WebauthnError::CredentialNotFound)?;
    Ok(credential)
}

/// The credential as the library knows it.
pub(super) fn stored(passkey: &Passkey) -> Result<library::Passkey, serde_json::Error> {
    serde::Deserialize::deserialize(&passkey.credential)
}

/// In the same words whatever was wrong.
fn wrong() -> Box<Problem> {
    let problem = Problem::new(
        Code::NotSignedIn,
        "This passkey lets nobody in here, or the account is locked for a while.",
    );
    Box::new(problem.hint(
        "Sign in with your password, or with another passkey. What was removed on your account's page stays on the \
         device until you remove it there.",
    ))
}
