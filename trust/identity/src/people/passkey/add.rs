//! Adding a passkey: who is signed in proves to have a new one, and names it.

use super::{
    ANSWERED, Asked, MOST, PASSKEY, RelyingParty, Reply, hash_of, note_answer,
    ticket::{Purpose, give, take},
    too_late,
};
use crate::{
    Principal,
    error::{PeopleError, invalid, not_found},
};
use freehold_model::{Code, Passkey, Problem, Txn, User, UserId, UserSpec, people::PasskeySummary};
use freehold_reconcile::{View, ViewExt as _};
use freehold_secrets::Voucher;
use jiff::Timestamp;
use serde_json::json;
use webauthn_rs::prelude::{PasskeyRegistration, RegisterPublicKeyCredential, Uuid};

/// The longest name, in letters.
const NAME: usize = 40;

/// Asks a browser for a new passkey of `user`, who is signed in with it.
///
/// # Errors
/// When they have too many.
pub fn ask_to_add_passkey(
    party: &RelyingParty,
    voucher: &Voucher,
    user: &User,
    browser: &str,
    now: Timestamp,
) -> Result<Asked, PeopleError> {
    may_have_more(user)?;
    let known = user.spec.passkeys.iter().filter_map(|it| super::sign_in::stored(it).ok());
    let known = known.map(|it| it.cred_id().clone()).collect();
    let shown = user.spec.full_name.as_deref().filter(|it| !it.is_empty()).unwrap_or(&user.name);
    let (options, state) = party
        .0
        .start_passkey_registration(handle(user.id), &user.name, shown, Some(known))
        .map_err(|_| refused())?;
    let mut options = json!(options);
    // Found by the browser without a name: the library leaves that to authenticators.
    let selection = &mut options["publicKey"]["authenticatorSelection"];
    selection["residentKey"] = json!("required");
    selection["requireResidentKey"] = json!(true);
    let ticket = give(voucher, Purpose::Add, browser, &options, state, now);
    Ok(Asked { options, ticket })
}

/// The transaction that keeps a new passkey.
///
/// # Errors
/// When the answer is not that of a new authenticator of theirs to what this browser was asked, or comes too late.
#[allow(clippy::too_many_arguments)]
pub fn add_passkey(
    view: &dyn View,
    party: &RelyingParty,
    voucher: &Voucher,
    who: &Principal,
    user: UserId,
    reply: Reply<'_>,
    name: &str,
    request: &str,
    now: Timestamp,
) -> Result<(Txn, PasskeySummary), PeopleError> {
    let ticket = take::<PasskeyRegistration>(voucher, Purpose::Add, reply.browser, reply.ticket, now);
    let ticket = ticket.ok_or_else(too_late)?;
    let answer: RegisterPublicKeyCredential =
        serde_json::from_str(reply.credential).map_err(|_| refused())?;
    let credential = party.0.finish_passkey_registration(&answer, &ticket.state).map_err(|why| {
        tracing::debug!(%why, "a new passkey was refused");
        refused()
    })?;
    let mut user =
        view.find::<UserSpec>(user)?.ok_or_else(|| not_found("There is no such user.", "Sign in again."))?;
    if view.claim(ANSWERED, &ticket.challenge)?.is_some() {
        return Err(too_late());
    }
    may_have_more(&user)?;
    let hash = hash_of(credential.cred_id());
    if view.claim(PASSKEY, &hash)?.is_some() {
        let problem = Problem::new(Code::Conflict, "This passkey was added already.");
        return Err(problem.hint("Use it to sign in, or add another.").into());
    }
    let mut txn = Txn::new(who.actor(), "add a passkey", request);
    note_answer(&mut txn, &mut user, &ticket.challenge, ticket.until, now)?;
    let name = named(&user, name);
    let passkey =
        Passkey { hash: hash.clone(), name, credential: json!(credential), created: now, last_used: None };
    let told = super::remove::told(&passkey);
    txn.claim(PASSKEY, hash, user.id);
    txn.event(
        user.id,
        "user.passkey_added",
        json!({ "name": user.name, "passkey": passkey.name, "id": told.id }),
    );
    user.spec.passkeys.push(passkey);
    txn.put_spec(&user);
    Ok((txn, told))
}

/// As an authenticator keeps who somebody is: the bytes of their id, which say nothing else of them.
pub(super) fn handle(user: UserId) -> Uuid {
    Uuid::from_bytes(user.0.to_bytes())
}

fn may_have_more(user: &User) -> Result<(), PeopleError> {
    if user.spec.passkeys.len() < MOST {
        return Ok(());
    }
    let problem =
        Problem::new(Code::Conflict, format!("You have {MOST} passkeys, which is as many as one may have."));
    Err(problem.hint("Remove one that you do not use any more.").into())
}

/// A name for it that none of the others has.
fn named(user: &User, wanted: &str) -> String {
    let plain: String = wanted.chars().filter(|it| !it.is_control()).take(NAME).collect();
    let plain = if plain.trim().is_empty() { "Passkey" } else { plain.trim() };
    let taken = |name: &str| user.spec.passkeys.iter().any(|it| it.name == name);
    let numbered = (2..).map(|number| format!("{plain} {number}"));
    std::iter::once(plain.to_owned()).chain(numbered).find(|name| !taken(name)).unwrap_or_default()
}

fn refused() -> PeopleError {
    invalid(
        "This passkey was not taken: its answer is not to what was asked, or it did not ask who you are.",
        "Try again, and let the device ask for your PIN, finger or face; or use another device.",
    )
}
