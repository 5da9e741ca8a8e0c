//! A second factor beside the password: codes of an authenticator (TOTP, RFC 6238: SHA-1, 6 digits, 30 s, one step
//! either way), and ten recovery codes for the day on which it is lost.
//!
//! Invariants: a code is taken once, also by two at once; a recovery code too; what is kept of recovery codes are
//! hashes, and the shared secret is sealed by whoever calls this. It is in force from its first right code on.

use super::{
    session::{By, Opened, Origin, is_open, open},
    user::manageable,
};
use crate::{
    Asker, Principal, TokenHash,
    error::{PeopleError, invalid, not_found, not_signed_in},
};
use freehold_model::{
    Actor, Code, Problem, SecondFactor, SessionId, SessionSpec, Txn, User, UserId, UserSpec, Waits,
    people::UserSummary,
};
use freehold_reconcile::{View, ViewExt as _};
use jiff::Timestamp;
use rand::Rng as _;
use serde_json::json;
use totp_rs::{Builder, Secret};

/// So many recovery codes are made at once.
const RECOVERY: usize = 10;
/// Five bits each, nothing that looks like something else: 16 letters are 80 bits.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// How many bytes an authenticator shares with the house (RFC 4226, §4).
pub const SECRET_BYTES: usize = 20;

/// As people type a secret into an authenticator that has no camera.
pub fn secret_text(secret: &[u8]) -> String {
    Secret::from(secret).to_base32()
}

/// As an authenticator reads it from a picture (Google's key URI format).
pub fn secret_uri(secret: &[u8], user: &str, host: &str) -> String {
    let encode = |text: &str| -> String {
        let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_');
        text.bytes().map(|c| if plain(c) { char::from(c).to_string() } else { format!("%{c:02X}") }).collect()
    };
    let issuer = encode(&format!("Freehold {host}"));
    format!("otpauth://totp/{issuer}:{}?secret={}&issuer={issuer}", encode(user), secret_text(secret))
}

/// The transaction that keeps a secret until its first code proves that the authenticator has it.
///
/// # Errors
/// When a factor is in force already, or there is no such user.
pub fn begin_second_factor(
    view: &dyn View,
    who: &Principal,
    user: UserId,
    (sealed, key): (String, String),
    request: &str,
) -> Result<Txn, PeopleError> {
    let mut user = find(view, user)?;
    if user.spec.has_second_factor() {
        let problem = Problem::new(Code::Conflict, "You have a second factor already.");
        return Err(problem.hint("Remove it first, then set up another.").into());
    }
    user.spec.second_factor = Some(SecondFactor { sealed, key, since: None, last_step: 0, recovery: vec![] });
    let mut txn = Txn::new(who.actor(), "begin a second factor", request);
    txn.put_spec(&user);
    Ok(txn)
}

/// The transaction after the first right code, and the recovery codes: nobody can be told them again.
///
/// # Errors
/// When the code is wrong, or nothing was begun.
pub fn confirm_second_factor(
    view: &dyn View,
    who: &Principal,
    user: UserId,
    secret: &[u8],
    code: &str,
    request: &str,
    now: Timestamp,
) -> Result<(Txn, Vec<String>), PeopleError> {
    let mut user = find(view, user)?;
    let begun = user.spec.second_factor.as_mut().filter(|it| it.since.is_none());
    let Some(factor) = begun else {
        return Err(invalid(
            "Nothing was begun that a code could prove.",
            "Begin again on your account's page.",
        ));
    };
    let Some(step) = step_of(secret, code, now) else {
        let hint =
            "Type the six digits that the authenticator shows now; its clock and the server's must agree.";
        return Err(invalid("This code is wrong.", hint));
    };
    let codes: Vec<String> = (0..RECOVERY).map(|_| recovery_code()).collect();
    factor.last_step = step;
    factor.since = Some(now);
    factor.recovery = codes.iter().map(|code| kept(code)).collect();
    let mut txn = Txn::new(who.actor(), "set up a second factor", request);
    txn.put_spec(&user).event(user.id, "user.second_factor_set", json!({ "name": user.name }));
    Ok((txn, codes))
}

/// The transaction by which somebody gives up their own.
///
/// # Errors
/// When there is no such user.
pub fn remove_second_factor(
    view: &dyn View,
    who: &Principal,
    user: UserId,
    request: &str,
) -> Result<Txn, PeopleError> {
    let mut user = find(view, user)?;
    let mut txn = Txn::new(who.actor(), "remove a second factor", request);
    if user.spec.second_factor.take().is_some() {
        txn.put_spec(&user).event(user.id, "user.second_factor_removed", json!({ "name": user.name }));
    }
    Ok(txn)
}

/// The transaction by which an admin helps somebody who lost theirs; every session of theirs ends.
///
/// # Errors
/// When there is no such user, or they are more than the asker.
pub fn reset_second_factor(
    view: &dyn View,
    asker: &Asker,
    id: UserId,
) -> Result<(Txn, UserSummary), PeopleError> {
    let mut user = manageable(view, asker, id)?;
    let why = format!("reset the second factor of {}", user.name);
    let mut txn = Txn::new(asker.principal.actor(), why, &asker.request);
    for session in view.all::<SessionSpec>(Some(id.into()))? {
        txn.delete(session.id);
    }
    user.spec.second_factor = None;
    txn.put_spec(&user).event(id, "user.second_factor_reset", json!({ "name": user.name }));
    Ok((txn, super::user::summary(view, &user, asker.now)?))
}

/// Somebody whose password was right, and the secret of their second factor, opened.
#[derive(Debug)]
pub struct Proof<'a> {
    /// Who.
    pub user: UserId,
    /// The password that was looked at, as it is kept.
    pub password: Option<&'a str>,
    /// What their authenticator shares with the house.
    pub secret: &'a [u8],
    /// What they typed.
    pub code: &'a str,
    /// The session that waited for this, if one did.
    pub half: Option<SessionId>,
}

/// The transaction after a right password and a right code.
///
/// # Errors
/// When the code is wrong or was used, or the user changed or was locked since the password was looked at.
pub fn sign_in_with_code(
    view: &dyn View,
    proof: &Proof<'_>,
    origin: &Origin,
    now: Timestamp,
) -> Result<(Txn, Opened), PeopleError> {
    let user = view.find::<UserSpec>(proof.user)?.filter(|it| it.spec.password.as_deref() == proof.password);
    let mut user = user.filter(|user| is_open(user, now)).ok_or_else(not_signed_in)?;
    let mut txn = Txn::new(Actor::User(user.name.clone()), "sign in with a code", &origin.request);
    let factor =
        user.spec.second_factor.as_mut().filter(|it| it.since.is_some()).ok_or_else(not_signed_in)?;
    match pass(factor, proof.secret, proof.code, now) {
        None => return Err(not_signed_in()),
        Some(Passed::Code) => {}
        Some(Passed::Recovery { left }) => {
            txn.event(user.id, "user.recovery_code_used", json!({ "name": user.name, "left": left }));
        }
    }
    txn.put_spec(&user);
    if user.status != Default::default() {
        user.status = Default::default();
        txn.put_status(&user);
    }
    let mut by = By::Code;
    if let Some(half) = proof.half {
        let waits = view.find::<SessionSpec>(half)?.filter(|it| it.spec.waits == Some(Waits::SecondFactor));
        let waits = waits.ok_or_else(not_signed_in)?;
        txn.delete(waits.id);
        by = By::and_code(waits.spec.by.as_deref());
    }
    let opened = open(view, &mut txn, &user, by, origin, now)?;
    Ok((txn, opened))
}

enum Passed {
    Code,
    Recovery { left: usize },
}

/// Takes a code, and notes that it is used.
fn pass(factor: &mut SecondFactor, secret: &[u8], typed: &str, now: Timestamp) -> Option<Passed> {
    if let Some(step) = step_of(secret, typed, now).filter(|step| *step > factor.last_step) {
        factor.last_step = step;
        return Some(Passed::Code);
    }
    let hash = kept(typed);
    let before = factor.recovery.len();
    factor.recovery.retain(|it| *it != hash);
    (factor.recovery.len() < before).then_some(Passed::Recovery { left: factor.recovery.len() })
}

/// The step of which this is the code, now or next to now.
fn step_of(secret: &[u8], typed: &str, now: Timestamp) -> Option<u64> {
    let digits: String = typed.chars().filter(|c| !c.is_whitespace()).take(12).collect();
    let totp = Builder::new().with_secret(secret).build().ok()?;
    totp.check(&digits, u64::try_from(now.as_second()).ok()?)
}

fn find(view: &dyn View, id: UserId) -> Result<User, PeopleError> {
    view.find::<UserSpec>(id)?.ok_or_else(|| not_found("There is no such user.", "Sign in again."))
}

fn recovery_code() -> String {
    let mut random = rand::rng();
    let letter = |_| char::from(LETTERS[random.random_range(0..LETTERS.len())]);
    let letters: String = (0..16).map(letter).collect();
    format!("{}-{}-{}-{}", &letters[..4], &letters[4..8], &letters[8..12], &letters[12..])
}

/// What is kept of a recovery code, however it was typed.
fn kept(typed: &str) -> String {
    let plain: String = typed.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
    TokenHash::of(&format!("recovery {}", plain.to_ascii_lowercase())).hex()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RFC: &[u8] = b"12345678901234567890";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn factor() -> SecondFactor {
        let recovery = vec![kept("aaaa-bbbb-cccc-dddd")];
        SecondFactor { sealed: String::new(), key: String::new(), since: Some(at(0)), last_step: 0, recovery }
    }

    #[test]
    fn codes_are_those_of_rfc_6238_and_of_the_steps_next_to_now() {
        // Appendix B, the last six of its eight digits.
        for (second, code) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")] {
            for near in [-30, 0, 30] {
                assert_eq!(step_of(RFC, code, at(second + near)), Some(second as u64 / 30), "{code} {near}");
            }
            for far in [-60, 60].into_iter().filter(|far| second + far >= 0) {
                assert_eq!(step_of(RFC, code, at(second + far)), None, "{code} {far}");
            }
        }
        assert_eq!(step_of(RFC, "287 082", at(59)), Some(1), "as authenticators show it");
        for bad in ["", "287083", "87082", "2870820", "२८७०८२"] {
            assert_eq!(step_of(RFC, bad, at(59)), None, "{bad}");
        }
    }

    #[test]
    fn a_code_is_taken_once_and_so_is_a_recovery_code() {
        let mut factor = factor();
        assert!(matches!(pass(&mut factor, RFC, "081804", at(1_111_111_109)), Some(Passed::Code)));
        assert!(pass(&mut factor, RFC, "081804", at(1_111_111_110)).is_none(), "a code is replayed");
        let before = Builder::new().with_secret(RFC).build().unwrap().generate(1_111_111_109 - 30);
        assert!(
            pass(&mut factor, RFC, &before.to_string(), at(1_111_111_109)).is_none(),
            "an older one is taken"
        );
        assert!(matches!(
            pass(&mut factor, RFC, " AAAABBBB-cccc dddd", at(0)),
            Some(Passed::Recovery { left: 0 })
        ));
        assert!(
            pass(&mut factor, RFC, "aaaa-bbbb-cccc-dddd", at(0)).is_none(),
            "a recovery code is used twice"
        );
        assert!(pass(&mut factor, RFC, "", at(0)).is_none());
    }

    #[test]
    fn an_authenticator_is_told_everything_it_needs() {
        let uri = secret_uri(RFC, "ada", "home.example:7117");
        let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        assert_eq!(
            uri,
            format!(
                "otpauth://totp/Freehold%20home.example%3A7117:ada?secret={secret}&issuer=Freehold%20home.example%3A7117"
            )
        );
        let codes: std::collections::BTreeSet<String> = (0..100).map(|_| recovery_code()).collect();
        assert_eq!(codes.len(), 100);
    }
}
