//! What is under way at a provider: begun here, ended when somebody comes back.
//!
//! It is kept as a session that waits, which lets nobody in, found by the hash of a ticket that only the browser has.
//! State, nonce and verifier are all made of that ticket, so that none of them is kept, and any control plane can go
//! on. Invariants: it is taken once, by the browser that went, within [`ERRAND`]; at most [`UNDER_WAY`] are kept.

use crate::{
    Token, TokenHash,
    credential::CREDENTIAL,
    error::{PeopleError, invalid},
    people::session::Origin,
};
use freehold_model::{
    Actor, Code, Errand, IdentityProvider, IdentityProviderSpec, Kind, Problem, Resource, Session, SessionId,
    SessionSpec, Txn, Waits, secrets::Hidden,
};
use freehold_reconcile::{Ids as _, SystemIds, View, ViewExt as _};
use jiff::{SignedDuration, Timestamp};

/// How long somebody may stay at a provider.
pub const ERRAND: SignedDuration = SignedDuration::from_mins(10);
/// So many may be under way at once.
const UNDER_WAY: usize = 200;

/// What the browser keeps that went: everything secret of an errand is made of it.
#[derive(Debug, Clone)]
pub struct Ticket(Token);

impl Ticket {
    /// One that nothing is kept of.
    pub(super) fn unkept() -> Ticket {
        Ticket(Token::generate())
    }

    fn of(&self, what: &str) -> String {
        TokenHash::of(&format!("sso {what} {}", self.0.reveal())).hex()
    }

    /// As it stands in the cookie.
    pub fn text(&self) -> Hidden {
        Hidden::new(self.0.reveal().to_owned())
    }

    /// Proves that an answer belongs to what this browser began.
    pub fn state(&self) -> String {
        self.of("state")
    }

    /// Proves that an ID token was made for it.
    pub fn nonce(&self) -> String {
        self.of("nonce")
    }

    /// Proves that who shows the code is who asked for it (RFC 7636: 64 of its letters).
    pub fn verifier(&self) -> Hidden {
        Hidden::new(self.of("verifier"))
    }
}

/// The transaction that begins an errand.
///
/// # Errors
/// When too many are under way, or the view fails.
pub fn go(
    view: &dyn View,
    provider: &IdentityProvider,
    what: &Errand,
    next: &str,
    origin: &Origin,
    now: Timestamp,
) -> Result<(Txn, Ticket), PeopleError> {
    let mut txn = Txn::new(Actor::User("anonymous".into()), "go to an identity provider", &origin.request);
    let mut under_way = 0;
    for session in view.all::<SessionSpec>(None)? {
        if !matches!(session.spec.waits, Some(Waits::Provider { .. })) {
            continue;
        }
        match session.spec.expires <= now {
            true => drop(txn.delete(session.id)),
            false => under_way += 1,
        }
    }
    if under_way >= UNDER_WAY {
        let problem = Problem::new(Code::RateLimited, "Too many people are signing in at this moment.");
        return Err(problem.hint("Try again in some minutes, or sign in with your password.").into());
    }
    let (ticket, id) = (Ticket(Token::generate()), SessionId(SystemIds.ulid()));
    let spec = SessionSpec {
        hash: ticket.0.hash().hex(),
        expires: now.checked_add(ERRAND).unwrap_or(Timestamp::MAX),
        address: origin.address.clone(),
        program: origin.program.clone(),
        by: None,
        waits: Some(Waits::Provider { provider: provider.id, what: what.clone(), next: next.to_owned() }),
    };
    let session: Session = Resource::new(id, id.to_string(), None, spec, now);
    txn.put(&session).claim(CREDENTIAL, ticket.0.hash().hex(), id);
    Ok((txn, ticket))
}

/// Somebody who came back.
#[derive(Debug, Clone)]
pub struct Returned {
    /// From where.
    pub provider: IdentityProvider,
    /// What they went for.
    pub what: Errand,
    /// Where they go afterwards.
    pub next: String,
    /// What the browser kept.
    pub ticket: Ticket,
}

/// The transaction that ends an errand, whatever comes of it: nothing of it can be shown again.
///
/// # Errors
/// When this browser has begun none (any more), or another since; when it took too long.
pub fn come_back(
    view: &dyn View,
    provider: &str,
    cookie: Option<&str>,
    state: &str,
    request: &str,
    now: Timestamp,
) -> Result<(Txn, Returned), PeopleError> {
    let ticket = cookie.and_then(|text| text.parse().ok()).map(Ticket).ok_or_else(gone)?;
    // Both are hashed once more, so that neither's text is compared.
    if !TokenHash::of(state).matches(&TokenHash::of(&ticket.state())) {
        return Err(gone());
    }
    let owner = view.claim(CREDENTIAL, &ticket.0.hash().hex())?.filter(|owner| owner.kind == Kind::Session);
    let session = match owner {
        Some(owner) => view.find::<SessionSpec>(SessionId(owner.ulid))?,
        None => None,
    };
    let session = session.filter(|it| now < it.spec.expires).ok_or_else(gone)?;
    let Some(Waits::Provider { provider: id, what, next }) = session.spec.waits.clone() else {
        return Err(gone());
    };
    let found = view.find::<IdentityProviderSpec>(id)?.filter(|it| it.name == provider).ok_or_else(gone)?;
    let mut txn = Txn::new(Actor::User("anonymous".into()), "come back from an identity provider", request);
    txn.expect(session.id, session.version).delete(session.id);
    Ok((txn, Returned { provider: found, what, next, ticket }))
}

/// In the same words whatever it was.
fn gone() -> PeopleError {
    invalid(
        "This sign-in did not begin in this browser, or it is over.",
        "Each is good once, for ten minutes, and the last that was begun counts. This needs cookies. Start again.",
    )
}
