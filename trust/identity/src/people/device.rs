//! Signing in where there is no browser: a program asks, shows a code, and somebody who is signed in elsewhere
//! allows it (RFC 8628). What asks is kept as a session that waits, which lets nobody in.
//!
//! Invariants: both codes are kept as hashes; a code is answered once, and what came of it is fetched once; what
//! strangers can have kept is bounded, and nothing of it outlives its ten minutes for longer than the next one who asks.

use super::session::{By, Opened, Origin, open};
use crate::{
    Principal, Token, TokenHash,
    credential::CREDENTIAL,
    error::{PeopleError, not_found},
};
use freehold_model::{
    Actor, Code, DeviceAnswer, Kind, Problem, Resource, Session, SessionId, SessionSpec, Txn, UserId,
    UserSpec, Waits, secrets::Hidden,
};
use freehold_reconcile::{Ids as _, SystemIds, View, ViewExt as _};
use jiff::{SignedDuration, Timestamp};
use rand::Rng as _;
use serde_json::json;

/// How long a code is good.
pub const DEVICE_WAIT: SignedDuration = SignedDuration::from_mins(10);
/// The scope of claims that find what waits by the code that people type.
const CODE: &str = "device-code";
/// So many may wait at once.
const WAITING: usize = 200;
/// No vowels, so that no code is a word, and nothing that looks like something else (RFC 8628, §6.1).
const LETTERS: &[u8] = b"BCDFGHJKLMNPQRSTVWXZ";
const LENGTH: usize = 8;

/// What a program is told that wants somebody to sign in.
#[derive(Debug, Clone)]
pub struct DeviceCodes {
    /// For the program alone.
    pub device: Hidden,
    /// For people: `WDJB-MJHT`.
    pub user: String,
}

/// What came of it.
#[derive(Debug)]
pub enum Polled {
    /// Nobody has answered yet.
    Waiting,
    /// Somebody said no; the transaction clears it away.
    Denied(Txn),
    /// Somebody said yes; the transaction opens a session.
    Allowed(Txn, Box<Opened>),
}

/// The transaction with which a program begins to wait.
///
/// # Errors
/// When too many wait already, or the view fails.
pub fn ask_to_sign_in(
    view: &dyn View,
    origin: &Origin,
    now: Timestamp,
) -> Result<(Txn, DeviceCodes), PeopleError> {
    let mut txn = Txn::new(Actor::User("anonymous".into()), "ask to sign in", &origin.request);
    let mut waiting = 0;
    for session in
        view.all::<SessionSpec>(None)?.iter().filter(|it| matches!(it.spec.waits, Some(Waits::Device { .. })))
    {
        match session.spec.expires <= now {
            true => drop(txn.delete(session.id)),
            false => waiting += 1,
        }
    }
    if waiting >= WAITING {
        let problem = Problem::new(Code::RateLimited, "Too many programs wait for somebody to sign in.");
        return Err(problem.hint("Try again in some minutes, or sign in with a password or a token.").into());
    }
    let (device, code, id) = (Token::generate(), code(), SessionId(SystemIds.ulid()));
    let hash = kept(&code);
    let spec = SessionSpec {
        hash: device.hash().hex(),
        expires: now.checked_add(DEVICE_WAIT).unwrap_or(Timestamp::MAX),
        address: origin.address.clone(),
        program: origin.program.clone(),
        by: None,
        waits: Some(Waits::Device { code: hash.clone(), answer: None }),
    };
    let session: Session = Resource::new(id, id.to_string(), None, spec, now);
    txn.put(&session).claim(CREDENTIAL, device.hash().hex(), id).claim(CODE, hash, id);
    let user = format!("{}-{}", &code[..LENGTH / 2], &code[LENGTH / 2..]);
    Ok((txn, DeviceCodes { device: Hidden::new(device.reveal().to_owned()), user }))
}

/// What waits under a code, as somebody typed it, and has no answer yet.
///
/// # Errors
/// When nothing waits under it (any more), or the view fails.
pub fn asked_to_sign_in(view: &dyn View, typed: &str, now: Timestamp) -> Result<Session, PeopleError> {
    let gone = || {
        let title = "Nothing waits under this code (any more).";
        not_found(title, "A code is good once, for ten minutes. Start again where it was shown.")
    };
    let owner =
        view.claim(CODE, &kept(typed))?.filter(|owner| owner.kind == Kind::Session).ok_or_else(gone)?;
    let session = view.find::<SessionSpec>(SessionId(owner.ulid))?;
    let waits = |it: &Session| matches!(it.spec.waits, Some(Waits::Device { answer: None, .. }));
    session.filter(|it| waits(it) && now < it.spec.expires).ok_or_else(gone)
}

/// The transaction with which `user` says yes or no.
///
/// # Errors
/// As [`asked_to_sign_in`].
pub fn answer_device(
    view: &dyn View,
    who: &Principal,
    user: UserId,
    typed: &str,
    allow: bool,
    request: &str,
    now: Timestamp,
) -> Result<Txn, PeopleError> {
    let mut session = asked_to_sign_in(view, typed, now)?;
    let code = kept(typed);
    let answer = if allow { DeviceAnswer::Allowed { by: user } } else { DeviceAnswer::Denied };
    session.spec.waits = Some(Waits::Device { code: code.clone(), answer: Some(answer) });
    let mut txn = Txn::new(who.actor(), "answer a program that asked to sign in", request);
    txn.expect(session.id, session.version).release(CODE, code).put_spec(&session);
    let what = if allow { "session.device_allowed" } else { "session.device_denied" };
    let data = json!({ "user": who.name, "address": session.spec.address, "program": session.spec.program });
    txn.event(user, what, data);
    Ok(txn)
}

/// What came of what the program with this code asked.
///
/// # Errors
/// When it is unknown or too late, or the view fails.
pub fn poll_device(
    view: &dyn View,
    device: &TokenHash,
    request: &str,
    now: Timestamp,
) -> Result<Polled, PeopleError> {
    let gone = || not_found("This code is too old, or it was used.", "Start again: `freehold login`.");
    let owner = view.claim(CREDENTIAL, &device.hex())?.filter(|owner| owner.kind == Kind::Session);
    let waiting = match owner {
        Some(owner) => view.find::<SessionSpec>(SessionId(owner.ulid))?,
        None => None,
    };
    let waiting = waiting.filter(|it| now < it.spec.expires).ok_or_else(gone)?;
    let Some(Waits::Device { answer, .. }) = waiting.spec.waits else { return Err(gone()) };
    let mut txn = Txn::new(Actor::User("anonymous".into()), "sign in by device", request);
    let by = match answer {
        None => return Ok(Polled::Waiting),
        Some(DeviceAnswer::Denied) => {
            txn.expect(waiting.id, waiting.version).delete(waiting.id);
            return Ok(Polled::Denied(txn));
        }
        Some(DeviceAnswer::Allowed { by }) => by,
    };
    let user = view.find::<UserSpec>(by)?.filter(|user| !user.spec.disabled).ok_or_else(gone)?;
    let origin = Origin {
        address: waiting.spec.address.clone(),
        program: waiting.spec.program.clone(),
        request: request.to_owned(),
        before: None,
    };
    let mut txn = Txn::new(Actor::User(user.name.clone()), "sign in by device", request);
    txn.expect(waiting.id, waiting.version).delete(waiting.id);
    let opened = open(view, &mut txn, &user, By::Device, &origin, now)?;
    Ok(Polled::Allowed(txn, Box::new(opened)))
}

fn code() -> String {
    let mut random = rand::rng();
    (0..LENGTH).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])).collect()
}

/// What is kept of a code, however it was typed.
fn kept(typed: &str) -> String {
    let letters: String = typed.chars().filter(char::is_ascii_alphabetic).take(64).collect();
    TokenHash::of(&format!("device-code {}", letters.to_ascii_uppercase())).hex()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{authenticate, session_summaries, testing::House};
    use freehold_model::User;

    fn user(house: &House) -> User {
        let spec = UserSpec { password: Some("x".into()), ..UserSpec::default() };
        let user: User = Resource::new(UserId(SystemIds.ulid()), "ada", None, spec, house.now);
        let mut txn = Txn::new(Actor::System, "test", "req_test");
        txn.put(&user);
        house.store.commit_now(txn).unwrap();
        user
    }

    fn ask(house: &House) -> DeviceCodes {
        let (txn, codes) = ask_to_sign_in(&*house.view(), &Origin::default(), house.now).unwrap();
        let stored = serde_json::to_string(&txn).unwrap();
        assert!(!stored.contains(&codes.device.expose()[3..]) && !stored.contains(&codes.user), "{stored}");
        house.store.commit_now(txn).unwrap();
        codes
    }

    fn answer(house: &House, user: &User, typed: &str, allow: bool) -> Result<(), PeopleError> {
        let who = Principal { name: user.name.clone(), ..Principal::root() };
        let txn = answer_device(&*house.view(), &who, user.id, typed, allow, "req_test", house.now)?;
        house.store.commit_now(txn).unwrap();
        Ok(())
    }

    #[test]
    fn what_was_allowed_is_fetched_once_and_nothing_before_lets_anybody_in() {
        let house = House::new();
        let ada = user(&house);
        let codes = ask(&house);
        let device = TokenHash::of(codes.device.expose());
        let poll = || poll_device(&*house.view(), &device, "req_test", house.now);
        let lets_in = || authenticate(&*house.view(), &device, house.now).unwrap().is_some();
        assert!(matches!(poll(), Ok(Polled::Waiting)) && !lets_in());
        assert!(session_summaries(&*house.view(), None, None).unwrap().is_empty());
        let typed = format!(" {} ", codes.user.to_lowercase().replace('-', ""));
        answer(&house, &ada, &typed, true).unwrap();
        assert!(!lets_in(), "the code itself lets in");
        assert!(answer(&house, &ada, &typed, false).is_err(), "it is answered twice");
        let Polled::Allowed(txn, opened) = poll().unwrap() else { panic!("not allowed") };
        let Polled::Allowed(again, _) = poll().unwrap() else { panic!("not allowed") };
        house.store.commit_now(txn).unwrap();
        assert!(house.store.commit_now(again).is_err(), "two fetch it at once");
        assert!(poll().is_err(), "it is fetched twice");
        let session = TokenHash::of(opened.secret.expose());
        assert_eq!(authenticate(&*house.view(), &session, house.now).unwrap().unwrap().name, "ada");
    }

    #[test]
    fn what_was_denied_or_is_too_old_comes_to_nothing_and_is_cleared_away() {
        let house = House::new();
        let ada = user(&house);
        let codes = ask(&house);
        answer(&house, &ada, &codes.user, false).unwrap();
        let device = TokenHash::of(codes.device.expose());
        let polled = poll_device(&*house.view(), &device, "req_test", house.now).unwrap();
        let Polled::Denied(txn) = polled else { panic!("not denied") };
        house.store.commit_now(txn).unwrap();
        assert!(poll_device(&*house.view(), &device, "req_test", house.now).is_err());
        let codes = ask(&house);
        let late = house.now + DEVICE_WAIT;
        assert!(asked_to_sign_in(&*house.view(), &codes.user, house.now).is_ok());
        assert!(asked_to_sign_in(&*house.view(), &codes.user, late).is_err());
        let device = TokenHash::of(codes.device.expose());
        assert!(poll_device(&*house.view(), &device, "req_test", late).is_err());
        let (txn, _) = ask_to_sign_in(&*house.view(), &Origin::default(), late).unwrap();
        house.store.commit_now(txn).unwrap();
        assert_eq!(house.view().all::<SessionSpec>(None).unwrap().len(), 1, "what is old stays");
    }

    #[test]
    fn what_strangers_can_have_kept_is_bounded() {
        let house = House::new();
        for _ in 0..WAITING {
            ask(&house);
        }
        assert!(ask_to_sign_in(&*house.view(), &Origin::default(), house.now).is_err());
        assert!(ask_to_sign_in(&*house.view(), &Origin::default(), house.now + DEVICE_WAIT).is_ok());
    }
}
