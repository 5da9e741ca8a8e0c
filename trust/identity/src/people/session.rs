//! Signing in and out: from a name and a password, or an invite, to a session; and what wrong passwords lead to.
//!
//! Invariants: a session's secret is made anew at each sign-in; what fails writes at most [`FAILURES`] times
//! until the account is locked, and then nothing until it is unlocked, so that no flood fills the log; and
//! whoever fails is not told whether it was the name, the password or the lock.

use super::{passkey::PASSKEY, user::acceptable};
use crate::{
    Principal, Token, TokenHash,
    credential::CREDENTIAL,
    error::{PeopleError, not_found, not_signed_in},
    sso::{LINKED, linked_key},
};
use freehold_model::{
    Actor, Kind, Resource, Session, SessionId, SessionSpec, Txn, User, UserId, UserSpec, Waits,
    people::SessionSummary, secrets::Hidden,
};
use freehold_reconcile::{Ids as _, StoreError, SystemIds, View, ViewExt as _};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

/// How long a session is good.
pub const SESSION: SignedDuration = SignedDuration::from_hours(14 * 24);
/// How long a right password waits for a code of the second factor.
const HALF: SignedDuration = SignedDuration::from_mins(5);
/// So many wrong passwords lock an account,
pub(crate) const FAILURES: u32 = 5;
/// for so long, doubling each time, up to a day.
const LOCK: SignedDuration = SignedDuration::from_mins(5);
const LONGEST_LOCK: SignedDuration = SignedDuration::from_hours(24);

/// From where somebody signs in.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// The address.
    pub address: Option<String>,
    /// The program, as it says.
    pub program: Option<String>,
    /// Joins the change with the server's log.
    pub request: String,
    /// The session that the caller had before, which ends with this one's beginning.
    pub before: Option<SessionId>,
}

/// By which way somebody signs in; the event of the session that begins says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// A password alone.
    Password,
    /// A password and a code of the second factor.
    Code,
    /// A passkey.
    Passkey,
    /// A program that somebody allowed who was signed in.
    Device,
    /// Another provider, by its name here.
    Provider(String),
}

impl By {
    /// As sessions and their events say it.
    fn text(&self) -> String {
        match self {
            By::Password => "password".into(),
            By::Code => "code".into(),
            By::Passkey => "passkey".into(),
            By::Device => "device".into(),
            By::Provider(name) => format!("provider {name}"),
        }
    }

    /// After a code that followed what `text` says.
    pub(super) fn and_code(text: Option<&str>) -> By {
        match text.and_then(|text| text.strip_prefix("provider ")) {
            Some(name) => By::Provider(name.to_owned()),
            None => By::Code,
        }
    }
}

/// A session that begins.
#[derive(Debug, Clone)]
pub struct Opened {
    /// What its bearer shows.
    pub secret: Hidden,
    /// The session.
    pub summary: SessionSummary,
    /// Whether it lets nobody in before a code of the second factor.
    pub half: bool,
}

/// The user of that name, as far as signing in goes: whether the account takes passwords now.
///
/// # Errors
/// When the view fails.
pub fn find_user(view: &dyn View, name: &str, now: Timestamp) -> Result<Option<(User, bool)>, StoreError> {
    let Some(user) = view.named::<UserSpec>(None, name)? else { return Ok(None) };
    let open = is_open(&user, now);
    Ok(Some((user, open)))
}

/// Whether they may sign in at all: neither disabled nor locked.
pub(super) fn is_open(user: &User, now: Timestamp) -> bool {
    !user.spec.disabled && user.status.locked_until.is_none_or(|until| until <= now)
}

/// The transaction after a right password.
///
/// # Errors
/// When the view fails, or the user changed or was locked since the password was looked at.
pub fn sign_in(
    view: &dyn View,
    seen: &User,
    origin: &Origin,
    now: Timestamp,
) -> Result<(Txn, Opened), PeopleError> {
    let user = view.find::<UserSpec>(seen.id)?.filter(|user| user.spec.password == seen.spec.password);
    let user = user.filter(|user| is_open(user, now)).ok_or_else(not_signed_in)?;
    let actor = Actor::User(user.name.clone());
    let mut txn = Txn::new(actor, "sign in", &origin.request);
    txn.expect(user.id, user.version);
    // Where a code is to follow, right passwords forgive no wrong codes.
    if user.status != Default::default() && !user.spec.has_second_factor() {
        let clean = User { status: Default::default(), ..user.clone() };
        txn.put_status(&clean);
    }
    let opened = open_half(view, &mut txn, &user, By::Password, origin, now)?;
    Ok((txn, opened))
}

/// The transaction after a wrong password; `None` when nothing is to be written.
///
/// # Errors
/// When the view fails.
pub fn refused(
    view: &dyn View,
    id: UserId,
    origin: &Origin,
    now: Timestamp,
) -> Result<Option<Txn>, StoreError> {
    let Some(mut user) = view.find::<UserSpec>(id)? else { return Ok(None) };
    if user.spec.disabled || user.status.locked_until.is_some_and(|until| now < until) {
        return Ok(None);
    }
    let actor = Actor::User("anonymous".into());
    let mut txn = Txn::new(actor, "wrong password", &origin.request);
    user.status.failures += 1;
    let data = json!({ "name": user.name, "failures": user.status.failures, "address": origin.address });
    txn.event(id, "user.sign_in_refused", data);
    if user.status.failures >= FAILURES {
        let length = LOCK.checked_mul(1 << user.status.locks.min(12)).unwrap_or(LONGEST_LOCK);
        let until = now.checked_add(length.min(LONGEST_LOCK)).unwrap_or(Timestamp::MAX);
        user.status.failures = 0;
        user.status.locks += 1;
        user.status.locked_until = Some(until);
        txn.event(id, "user.locked", json!({ "name": user.name, "until": until }));
    }
    txn.put_status(&user);
    Ok(Some(txn))
}

/// Whom an invite is for, if it is good.
///
/// # Errors
/// When the view fails.
pub fn invited(view: &dyn View, shown: &TokenHash, now: Timestamp) -> Result<Option<User>, StoreError> {
    let Some(owner) = view.claim(CREDENTIAL, &shown.hex())?.filter(|owner| owner.kind == Kind::User) else {
        return Ok(None);
    };
    let user = view.find::<UserSpec>(UserId(owner.ulid))?;
    Ok(user.filter(|user| {
        let good = |invite: &freehold_model::Invite| invite.hash == shown.hex() && now < invite.expires;
        !user.spec.disabled && user.spec.invite.as_ref().is_some_and(good)
    }))
}

/// What is wrong with a password for `user`, before it is hashed.
///
/// # Errors
/// When it is too short, too long or easily guessed.
pub fn check_password(user: &User, password: &str) -> Result<(), PeopleError> {
    acceptable(password, &user.name)
}

/// The transaction that takes an invite: the password is `hashed` from now on, every older session ends, and
/// one begins.
///
/// # Errors
/// When the invite was taken meanwhile, or the view fails.
pub fn accept_invite(
    view: &dyn View,
    shown: &TokenHash,
    hashed: &str,
    origin: &Origin,
    now: Timestamp,
) -> Result<(Txn, Opened), PeopleError> {
    let (mut txn, mut user) = take_invite(view, shown, origin, now)?;
    user.spec.password = Some(hashed.to_owned());
    txn.put_spec(&user).put_status(&user);
    txn.event(user.id, "user.password_set", json!({ "name": user.name }));
    let origin = Origin { before: None, ..origin.clone() };
    let opened = open_half(view, &mut txn, &user, By::Password, &origin, now)?;
    Ok((txn, opened))
}

/// Begins the transaction that takes an invite: every older session ends, and with them the password, what is linked and
/// every passkey. It is the way back after a theft, and whoever had a way in could have added others.
/// Whoever calls this gives the user a new way in, and puts them.
pub(crate) fn take_invite(
    view: &dyn View,
    shown: &TokenHash,
    origin: &Origin,
    now: Timestamp,
) -> Result<(Txn, User), PeopleError> {
    let Some(mut user) = invited(view, shown, now)? else { return Err(bad_invite()) };
    let mut txn = Txn::new(Actor::User(user.name.clone()), "take an invite", &origin.request);
    for session in view.all::<SessionSpec>(Some(user.id.into()))? {
        txn.delete(session.id);
    }
    user.spec.invite = None;
    user.spec.password = None;
    for linked in std::mem::take(&mut user.spec.linked) {
        txn.release(LINKED, linked_key(&linked.issuer, &linked.subject));
    }
    for passkey in std::mem::take(&mut user.spec.passkeys) {
        txn.release(PASSKEY, &passkey.hash);
        txn.event(user.id, "user.passkey_removed", json!({ "name": user.name, "passkey": passkey.name }));
    }
    // One that was begun and never proved is nobody's yet.
    user.spec.second_factor = user.spec.second_factor.filter(|factor| factor.since.is_some());
    user.status = Default::default();
    txn.release(CREDENTIAL, shown.hex());
    Ok((txn, user))
}

/// Who showed a right password and has a code of the second factor to show, by the session that waits for it.
///
/// # Errors
/// When the view fails.
pub fn half_signed_in(
    view: &dyn View,
    shown: &TokenHash,
    now: Timestamp,
) -> Result<Option<(User, SessionId)>, StoreError> {
    let owner = view.claim(CREDENTIAL, &shown.hex())?.filter(|owner| owner.kind == Kind::Session);
    let Some(owner) = owner else { return Ok(None) };
    let found = view.find::<SessionSpec>(SessionId(owner.ulid))?;
    let waits = |it: &Session| it.spec.waits == Some(Waits::SecondFactor) && now < it.spec.expires;
    let Some(session) = found.filter(waits) else { return Ok(None) };
    let Some(user) = session.parent.and_then(|parent| UserId::try_from(parent).ok()) else { return Ok(None) };
    let user = view.find::<UserSpec>(user)?.filter(|user| user.spec.has_second_factor());
    Ok(user.map(|user| (user, session.id)))
}

/// The answer to an invite that is not good (any more).
pub fn bad_invite() -> PeopleError {
    not_found(
        "This invite is not good (any more).",
        "An invite is good once, for three days: ask an admin for another, `freehold user invite NAME`.",
    )
}

/// Opens a session that lets in, or that waits for a code where there is a second factor; one waits at a time.
pub(crate) fn open_half(
    view: &dyn View,
    txn: &mut Txn,
    user: &User,
    by: By,
    origin: &Origin,
    now: Timestamp,
) -> Result<Opened, StoreError> {
    if !user.spec.has_second_factor() {
        return open(view, txn, user, by, origin, now);
    }
    for older in view.all::<SessionSpec>(Some(user.id.into()))? {
        if older.spec.waits.is_some() && Some(older.id) != origin.before {
            txn.delete(older.id);
        }
    }
    let mut half = begin(user, &by, origin, now, HALF);
    half.0.spec.waits = Some(Waits::SecondFactor);
    let (session, secret) = half;
    txn.put(&session).claim(CREDENTIAL, secret.hash().hex(), session.id);
    Ok(Opened {
        secret: Hidden::new(secret.reveal().to_owned()),
        summary: told(&session, user, true),
        half: true,
    })
}

pub(super) fn open(
    view: &dyn View,
    txn: &mut Txn,
    user: &User,
    by: By,
    origin: &Origin,
    now: Timestamp,
) -> Result<Opened, StoreError> {
    if let Some(before) = origin.before
        && view.find::<SessionSpec>(before)?.is_some()
    {
        txn.delete(before);
    }
    let (session, secret) = begin(user, &by, origin, now, SESSION);
    txn.put(&session).claim(CREDENTIAL, secret.hash().hex(), session.id);
    let data = json!({ "user": user.name, "address": origin.address, "by": session.spec.by });
    txn.event(session.id, "session.opened", data);
    let summary = told(&session, user, true);
    Ok(Opened { secret: Hidden::new(secret.reveal().to_owned()), summary, half: false })
}

fn begin(user: &User, by: &By, origin: &Origin, now: Timestamp, length: SignedDuration) -> (Session, Token) {
    let (secret, id) = (Token::generate(), SessionId(SystemIds.ulid()));
    let expires = now.checked_add(length).unwrap_or(Timestamp::MAX);
    let (address, program) = (origin.address.clone(), origin.program.clone());
    let by = Some(by.text());
    let spec = SessionSpec { hash: secret.hash().hex(), expires, address, program, by, waits: None };
    (Resource::new(id, id.to_string(), Some(user.id.into()), spec, now), secret)
}

fn told(session: &Session, user: &User, current: bool) -> SessionSummary {
    SessionSummary {
        id: session.id,
        user: user.name.clone(),
        created: session.created,
        expires: session.spec.expires,
        address: session.spec.address.clone(),
        program: session.spec.program.clone(),
        by: session.spec.by.clone(),
        current,
    }
}

/// The sessions of `user`, or of everybody.
///
/// # Errors
/// When the view fails.
pub fn session_summaries(
    view: &dyn View,
    user: Option<UserId>,
    current: Option<SessionId>,
) -> Result<Vec<SessionSummary>, StoreError> {
    let mut found = vec![];
    for session in view.all::<SessionSpec>(user.map(Into::into))? {
        if session.spec.waits.is_some() {
            continue;
        }
        let Some(owner) = session.parent.and_then(|parent| UserId::try_from(parent).ok()) else { continue };
        if let Some(owner) = view.find::<UserSpec>(owner)? {
            found.push(told(&session, &owner, current == Some(session.id)));
        }
    }
    Ok(found)
}

/// The transaction that ends a session.
pub fn end_session(session: &Session, who: &Principal, request: &str) -> Txn {
    let mut txn = Txn::new(who.actor(), "end a session", request);
    txn.event(session.id, "session.ended", json!({}));
    txn.expect(session.id, session.version).delete(session.id);
    txn
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Identity, authenticate, create_user, delete_user, hash_password, invite_user, set_role,
        testing::House, verify_password,
    };
    use freehold_model::{
        Role,
        access::NamedBinding,
        people::{CreateUser, Invited, SetRole},
    };

    fn ada(house: &House) -> Invited {
        let binding = NamedBinding { role: Role::Developer, org: None, project: None };
        let wanted = CreateUser { name: "ada".parse().unwrap(), full_name: None, bindings: vec![binding] };
        let (txn, made) = create_user(&*house.view(), &house.root(), &wanted).unwrap();
        assert!(!serde_json::to_string(&txn).unwrap().contains(&made.invite.expose()[3..]));
        house.store.commit_now(txn).unwrap();
        made
    }

    fn take(house: &House, invited: &Invited) -> Result<Opened, PeopleError> {
        let shown = TokenHash::of(invited.invite.expose());
        let hashed = hash_password("four words of ours");
        let (txn, opened) = accept_invite(&*house.view(), &shown, &hashed, &Origin::default(), house.now)?;
        house.store.commit_now(txn).unwrap();
        Ok(opened)
    }

    #[test]
    fn an_invite_is_good_once_and_leads_to_a_session_that_can_end() {
        let house = House::new();
        let invited_ada = ada(&house);
        let shown = TokenHash::of(invited_ada.invite.expose());
        assert!(authenticate(&*house.view(), &shown, house.now).unwrap().is_none(), "an invite lets in");
        let late = house.now + SignedDuration::from_hours(73);
        assert!(invited(&*house.view(), &shown, late).unwrap().is_none(), "it outlives its end");
        let opened = take(&house, &invited_ada).unwrap();
        assert!(take(&house, &invited_ada).is_err(), "an invite is good twice");
        let hash = TokenHash::of(opened.secret.expose());
        let who = authenticate(&*house.view(), &hash, house.now).unwrap().unwrap();
        assert_eq!(who.actor().to_string(), "user:ada");
        assert!(matches!(who.identity, Identity::User { .. }));
        assert!(authenticate(&*house.view(), &hash, house.now + SESSION).unwrap().is_none());
        // A new password, by another invite, ends every session.
        let (txn, again) = invite_user(&*house.view(), &house.root(), invited_ada.user.id).unwrap();
        house.store.commit_now(txn).unwrap();
        take(&house, &again).unwrap();
        assert!(authenticate(&*house.view(), &hash, house.now).unwrap().is_none());
        let (txn, ()) = delete_user(&*house.view(), &house.root(), invited_ada.user.id).unwrap();
        house.store.commit_now(txn).unwrap();
        assert!(house.view().all::<SessionSpec>(None).unwrap().is_empty());
    }

    #[test]
    fn wrong_passwords_lock_write_little_and_have_a_way_back() {
        let house = House::new();
        let id = ada(&house).user.id;
        let fail = |now| refused(&*house.view(), id, &Origin::default(), now).unwrap();
        for _ in 0..FAILURES {
            house.store.commit_now(fail(house.now).unwrap()).unwrap();
        }
        assert!(fail(house.now).is_none(), "a locked account is written to");
        let open = |now| find_user(&*house.view(), "ada", now).unwrap().unwrap().1;
        assert!(!open(house.now));
        // Whoever was tried along with the one that locked it: the right password comes too late.
        let seen = house.view().find::<UserSpec>(id).unwrap().unwrap();
        let sign_in_at = |now| sign_in(&*house.view(), &seen, &Origin::default(), now);
        assert!(sign_in_at(house.now).is_err() && sign_in_at(house.now + LOCK).is_ok());
        let after = house.now + LOCK;
        assert!(open(after), "time does not unlock it");
        for _ in 0..FAILURES {
            house.store.commit_now(fail(after).unwrap()).unwrap();
        }
        assert!(!open(after + LOCK), "the second lock is not longer");
        let (txn, told) = crate::unlock_user(&*house.view(), &house.root(), id).unwrap();
        house.store.commit_now(txn).unwrap();
        assert!(open(after) && told.locked_until.is_none());
    }

    #[test]
    fn a_sign_in_ends_the_session_before_it_and_a_changed_password_is_not_passed() {
        let house = House::new();
        let first = take(&house, &ada(&house)).unwrap();
        let (user, _) = find_user(&*house.view(), "ada", house.now).unwrap().unwrap();
        assert!(verify_password(user.spec.password.as_deref(), "four words of ours"));
        let origin = Origin { before: Some(first.summary.id), ..Origin::default() };
        let (txn, second) = sign_in(&*house.view(), &user, &origin, house.now).unwrap();
        house.store.commit_now(txn).unwrap();
        assert_ne!(first.secret.expose(), second.secret.expose());
        let hash = TokenHash::of(first.secret.expose());
        assert!(authenticate(&*house.view(), &hash, house.now).unwrap().is_none(), "fixation");
        let stale = User { spec: UserSpec { password: Some("x".into()), ..user.spec.clone() }, ..user };
        assert!(sign_in(&*house.view(), &stale, &origin, house.now).is_err());
    }

    #[test]
    fn nobody_makes_others_more_than_they_are_or_takes_over_who_is_more() {
        let house = House::new();
        let boss = ada(&house).user.id;
        let role = |user: &str, role| SetRole {
            user: user.parse().unwrap(),
            role: Some(role),
            org: Some("home".parse().unwrap()),
            project: None,
        };
        let (txn, _) = set_role(&*house.view(), &house.root(), &role("ada", Role::Owner)).unwrap();
        house.store.commit_now(txn).unwrap();
        let mut admin = house.root();
        admin.principal = Principal {
            name: "eve".into(),
            identity: Identity::Token(freehold_model::TokenId(ulid::Ulid(9))),
            bindings: vec![freehold_model::Binding { role: Role::Admin, org: house.org, project: None }],
            house: Some(house.org),
        };
        assert!(invite_user(&*house.view(), &admin, boss).is_err(), "an admin takes over an owner");
        assert!(set_role(&*house.view(), &admin, &role("ada", Role::Viewer)).is_err(), "and demotes one");
        let wanted = CreateUser { name: "bob".parse().unwrap(), full_name: None, bindings: vec![] };
        let (txn, _) = create_user(&*house.view(), &admin, &wanted).unwrap();
        house.store.commit_now(txn).unwrap();
        assert!(set_role(&*house.view(), &admin, &role("bob", Role::Owner)).is_err());
        assert!(set_role(&*house.view(), &admin, &role("bob", Role::Admin)).is_ok());
        let reserved = CreateUser { name: "admin".parse().unwrap(), ..wanted };
        assert!(create_user(&*house.view(), &admin, &reserved).is_err());
    }

    #[test]
    fn easy_passwords_are_refused() {
        for bad in ["short", "aaaaaaaaaaaaaaaa", "ada-ada-ada-is-me", &"x1y2z3w4".repeat(40)] {
            assert!(acceptable(bad, "ada").is_err(), "{bad}");
        }
        assert!(acceptable("four words of ours", "ada").is_ok());
    }
}
