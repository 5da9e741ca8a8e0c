//! Codes and tokens: the id of their grant and 256 random bits, kept as hashes; and who is behind a grant now.
//!
//! Invariant: a grant counts only while its session lasts, its user may sign in and has a role at the app's project.

use super::client::Client;
use crate::{Identity, Principal, TokenHash, counting, house};
use freehold_model::{
    Grant, GrantId, GrantSpec, Role, Session, SessionId, SessionSpec, Shown, User, UserSpec, secrets::Hidden,
};
use freehold_reconcile::{StoreError, View, ViewExt as _};
use jiff::{SignedDuration, Timestamp};
use rand::Rng as _;

/// Somebody as a grant shows them.
pub(super) struct Person {
    pub(super) user: User,
    pub(super) session: Session,
    /// What they are at the app's project, the least first.
    pub(super) roles: Vec<Role>,
}

/// A new code or token for `grant`, good until `until`.
pub(super) fn make(grant: GrantId, until: Timestamp) -> (Hidden, Shown) {
    let secret: [u8; 32] = rand::rng().random();
    let text = format!("{}.{}", &grant.to_string()[4..], hex::encode(secret));
    let hash = TokenHash::of(&text).hex();
    (Hidden::new(text), Shown { hash, expires: until })
}

/// The grant that a code or token names. Whether it is the right one is another question: [`fits`].
pub(super) fn named(view: &dyn View, shown: &str) -> Result<Option<Grant>, StoreError> {
    let Some((id, secret)) = shown.split_once('.') else { return Ok(None) };
    let Some(id) = format!("grt_{id}").parse::<GrantId>().ok().filter(|_| secret.len() == 64) else {
        return Ok(None);
    };
    view.find::<GrantSpec>(id)
}

/// Whether `shown` is what `kept` was made for. Takes the same time wherever it differs.
pub(super) fn fits(kept: Option<&Shown>, shown: &str) -> bool {
    let Some(kept) = kept else { return false };
    // Both are hashed once more, so that neither's text is compared.
    TokenHash::of(&kept.hash).matches(&TokenHash::of(&TokenHash::of(shown).hex()))
}

/// Who is behind a grant now; `None` when it counts no more.
pub(super) fn person(
    view: &dyn View,
    grant: &Grant,
    client: &Client,
    now: Timestamp,
) -> Result<Option<Person>, StoreError> {
    let Some(session) = grant.parent.and_then(|parent| SessionId::try_from(parent).ok()) else {
        return Ok(None);
    };
    let session = view.find::<SessionSpec>(session)?.filter(|session| now < session.spec.expires);
    let Some(session) = session.filter(|it| it.parent == Some(grant.spec.user.into())) else {
        return Ok(None);
    };
    let user = view.find::<UserSpec>(grant.spec.user)?.filter(|user| !user.spec.disabled);
    let Some(user) = user.filter(|_| grant.spec.env == client.env.id && grant.spec.client == client.id)
    else {
        return Ok(None);
    };
    let principal = Principal {
        name: user.name.clone(),
        identity: Identity::User { user: user.id, session: session.id },
        bindings: counting(view, &user)?.0,
        house: house(view)?,
    };
    let roles = roles(&principal, client);
    Ok((!roles.is_empty()).then_some(Person { user, session, roles }))
}

/// What somebody is at the app's project, the least first.
pub(super) fn roles(principal: &Principal, client: &Client) -> Vec<Role> {
    let each = principal.bindings.iter().filter_map(|binding| {
        Principal { bindings: vec![*binding], ..principal.clone() }.role_at(client.place)
    });
    let mut roles: Vec<Role> = each.collect();
    roles.sort();
    roles.dedup();
    roles
}

/// The end of something that begins now, not later than the session's.
pub(super) fn until(now: Timestamp, length: SignedDuration, session: &Session) -> Timestamp {
    now.checked_add(length).unwrap_or(Timestamp::MAX).min(session.spec.expires)
}

/// Whether nothing can come of a grant any more, so that it can be forgotten.
pub(super) fn is_over(view: &dyn View, grant: &Grant, now: Timestamp) -> Result<bool, StoreError> {
    let GrantSpec { code, .. } = &grant.spec;
    let status = &grant.status;
    let last = [Some(code).filter(|_| !status.used), status.access.as_ref(), status.refresh.as_ref()];
    if last.iter().flatten().all(|shown| shown.expires <= now) {
        return Ok(true);
    }
    let session = grant.parent.and_then(|parent| SessionId::try_from(parent).ok());
    Ok(match session {
        Some(session) => view.find::<SessionSpec>(session)?.is_none(),
        None => true,
    })
}
