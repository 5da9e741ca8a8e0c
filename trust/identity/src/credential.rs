//! From what was presented to who it is: credentials are kept by their hashes, as claims in the store.
//!
//! Asked by the API's guard for every request. Invariant: what was revoked or has expired by `now` lets
//! nobody in, from the commit of its revocation on.

use crate::{
    Identity, Principal, TokenHash,
    maker::{Worth, worth},
    people::requirement::counting,
    place::HOUSE,
};
use freehold_model::{
    Kind, OrgId, OrgSpec, Rate, SessionId, SessionSpec, TokenId, TokenSpec, UserId, UserSpec,
};
use freehold_reconcile::{StoreError, View, ViewExt as _};
use jiff::Timestamp;

/// The scope of claims that find a credential by its hash.
pub(crate) const CREDENTIAL: &str = "credential";

/// Somebody who may come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// Who.
    pub principal: Principal,
    /// Until when at most, if nothing changes.
    pub until: Timestamp,
    /// How many requests they may make.
    pub rate: Rate,
    /// The orgs, by name, whose roles of theirs do not count before they have a second factor or a passkey.
    pub withheld: Vec<String>,
}

/// Who presented what has this hash; `None` if it lets nobody in.
///
/// # Errors
/// When the view fails.
pub fn authenticate(
    view: &dyn View,
    presented: &TokenHash,
    now: Timestamp,
) -> Result<Option<Principal>, StoreError> {
    Ok(admit(view, presented, now)?.map(|admitted| admitted.principal))
}

/// The same, with what else is known of them from the same few reads.
///
/// # Errors
/// When the view fails.
pub fn admit(view: &dyn View, presented: &TokenHash, now: Timestamp) -> Result<Option<Admitted>, StoreError> {
    let Some(owner) = view.claim(CREDENTIAL, &presented.hex())? else { return Ok(None) };
    match owner.kind {
        Kind::Token => token(view, TokenId(owner.ulid), now),
        Kind::Session => session(view, SessionId(owner.ulid), now),
        // An invite is no way in, but to choose a password with.
        _ => Ok(None),
    }
}

fn session(view: &dyn View, id: SessionId, now: Timestamp) -> Result<Option<Admitted>, StoreError> {
    let Some(session) =
        view.find::<SessionSpec>(id)?.filter(|it| now < it.spec.expires && it.spec.waits.is_none())
    else {
        return Ok(None);
    };
    let Some(user) = session.parent.and_then(|parent| UserId::try_from(parent).ok()) else { return Ok(None) };
    let Some(user) = view.find::<UserSpec>(user)?.filter(|user| !user.spec.disabled) else { return Ok(None) };
    let identity = Identity::User { user: user.id, session: id };
    let (house, usual) = house_of(view)?;
    let (bindings, withheld) = counting(view, &user)?;
    let principal = Principal { name: user.name, identity, bindings, house };
    Ok(Some(Admitted { principal, until: session.spec.expires, rate: usual, withheld }))
}

fn token(view: &dyn View, id: TokenId, now: Timestamp) -> Result<Option<Admitted>, StoreError> {
    let Some(token) = view.find::<TokenSpec>(id)? else { return Ok(None) };
    let Worth::Good { bindings, until } = worth(view, &token, now)? else { return Ok(None) };
    let (house, usual) = house_of(view)?;
    let principal = Principal { name: token.name, identity: Identity::Token(id), bindings, house };
    Ok(Some(Admitted { principal, until, rate: token.spec.rate.unwrap_or(usual), withheld: vec![] }))
}

/// The house's org, and what it gives callers.
fn house_of(view: &dyn View) -> Result<(Option<OrgId>, Rate), StoreError> {
    let org = view.named::<OrgSpec>(None, HOUSE)?;
    let rate = org.as_ref().and_then(|org| org.spec.quota.rate).unwrap_or(Rate::OF_CALLERS);
    Ok((org.map(|org| org.id), rate))
}
