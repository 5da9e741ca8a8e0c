//! Passkeys (WebAuthn, <https://www.w3.org/TR/webauthn-3/>): added by who is signed in, and signed in with, instead of a
//! password and a code: whoever holds one has unlocked it too.
//!
//! The API's pages call this; `webauthn-rs` checks what authenticators answer. Invariants: a challenge is answered once,
//! within [`WAIT`], by the browser that was asked; what fails is answered in the same words whatever was wrong; user
//! verification is required; a counter that goes back lets nobody in. What strangers ask for is kept nowhere.

mod add;
#[cfg(test)]
mod authenticator;
mod party;
mod remove;
mod sign_in;
#[cfg(test)]
mod tests;
mod ticket;

pub use add::{add_passkey, ask_to_add_passkey};
pub use party::{RelyingParty, Unfit};
pub use remove::{passkey_summaries, remove_own_passkey, remove_passkey};
pub use sign_in::{PasskeyVerdict, ask_for_passkey, sign_in_with_passkey};

use crate::{TokenHash, error::PeopleError};
use freehold_model::{Answered, Code, Problem, Txn, User};
use jiff::{SignedDuration, Timestamp};

/// How long a challenge can be answered.
const WAIT: SignedDuration = SignedDuration::from_mins(5);
/// How many one person may have.
pub(crate) const MOST: usize = 20;
/// How many answers of one person are taken within [`WAIT`].
const ANSWERS: usize = 60;
/// The scope of claims that find a person by a credential's id.
pub(super) const PASSKEY: &str = "passkey";
/// The scope of claims on challenges that were answered.
const ANSWERED: &str = "passkey-answer";

/// What a browser is to do.
#[derive(Debug, Clone)]
pub struct Asked {
    /// For `navigator.credentials`: `{"publicKey": …}`.
    pub options: serde_json::Value,
    /// To be sent back with the answer.
    pub ticket: String,
}

/// What a browser sends back.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    /// Of [`Asked`].
    pub ticket: &'a str,
    /// What tells the browser from others: that which it was asked under.
    pub browser: &'a str,
    /// What the authenticator said, as JSON.
    pub credential: &'a str,
}

/// What is kept of a credential's id, and finds it.
fn hash_of(credential: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    hex::encode(Sha256::digest(credential))
}

/// Notes that a challenge is answered; those that are too old to be answered are forgotten.
///
/// # Errors
/// When there were too many of late.
fn note_answer(
    txn: &mut Txn,
    user: &mut User,
    challenge: &str,
    until: Timestamp,
    now: Timestamp,
) -> Result<(), PeopleError> {
    user.spec.answered.retain(|it| {
        if it.until <= now {
            txn.release(ANSWERED, &it.challenge);
        }
        now < it.until
    });
    if user.spec.answered.len() >= ANSWERS {
        let problem = Problem::new(Code::RateLimited, "You used passkeys too often within a few minutes.");
        return Err(problem.hint("Try again in five minutes, or sign in with your password.").into());
    }
    txn.claim(ANSWERED, challenge, user.id);
    user.spec.answered.push(Answered { challenge: challenge.to_owned(), until });
    Ok(())
}

/// As it is kept in tickets and claims.
fn challenge_hash(challenge: &str) -> String {
    TokenHash::of(&format!("challenge {challenge}")).hex()
}

/// The answer to a ticket that is not good (any more).
fn too_late() -> PeopleError {
    Problem::new(Code::NotSignedIn, "That took too long, or it was done already.")
        .hint("Load the page again and try once more: a passkey is waited for five minutes.")
        .into()
}
