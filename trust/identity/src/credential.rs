//! From what was presented to who it is: credentials are kept by their hashes, as claims in the store.
//!
//! Asked by the API's guard for every request. Invariant: what was revoked or has expired by `now` lets
//! nobody in, from the commit of its revocation on.

use crate::{Identity, Principal, TokenHash, house};
use freehold_model::{Kind, SessionId, SessionSpec, TokenId, TokenSpec, UserId, UserSpec};
use freehold_reconcile::{StoreError, View, ViewExt as _};
use jiff::Timestamp;

/// The scope of claims that find a credential by its hash.
pub(crate) const CREDENTIAL: &str = "credential";

/// Who presented what has this hash; `None` if it lets nobody in.
///
/// # Errors
/// When the view fails.
pub fn authenticate(
    view: &dyn View,
    presented: &TokenHash,
    now: Timestamp,
) -> Result<Option<Principal>, StoreError> {
    let Some(owner) = view.claim(CREDENTIAL, &presented.hex())? else { return Ok(None) };
    match owner.kind {
        Kind::Token => token(view, TokenId(owner.ulid), now),
        Kind::Session => session(view, SessionId(owner.ulid), now),
        // An invite is no way in, but to choose a password with.
        _ => Ok(None),
    }
}

fn session(view: &dyn View, id: SessionId, now: Timestamp) -> Result<Option<Principal>, StoreError> {
    let session = view.find::<SessionSpec>(id)?.filter(|session| now < session.spec.expires);
    let Some(user) = session.and_then(|it| UserId::try_from(it.parent?).ok()) else { return Ok(None) };
    let Some(user) = view.find::<UserSpec>(user)?.filter(|user| !user.spec.disabled) else { return Ok(None) };
    let identity = Identity::User { user: user.id, session: id };
    Ok(Some(Principal { name: user.name, identity, bindings: user.spec.bindings, house: house(view)? }))
}

fn token(view: &dyn View, id: TokenId, now: Timestamp) -> Result<Option<Principal>, StoreError> {
    let Some(token) = view.find::<TokenSpec>(id)?.filter(|token| now < token.spec.expires) else {
        return Ok(None);
    };
    let (identity, bindings) = (Identity::Token(id), token.spec.bindings);
    Ok(Some(Principal { name: token.name, identity, bindings, house: house(view)? }))
}
