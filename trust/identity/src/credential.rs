//! From what was presented to who it is: credentials are kept by their hashes, as claims in the store.
//!
//! Asked by the API's guard for every request. Invariant: what was revoked or has expired by `now` lets
//! nobody in, from the commit of its revocation on.

use crate::{Identity, Principal, TokenHash, house};
use freehold_model::{Kind, TokenId, TokenSpec};
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
        _ => Ok(None),
    }
}

fn token(view: &dyn View, id: TokenId, now: Timestamp) -> Result<Option<Principal>, StoreError> {
    let Some(token) = view.find::<TokenSpec>(id)?.filter(|token| now < token.spec.expires) else {
        return Ok(None);
    };
    let (identity, bindings) = (Identity::Token(id), token.spec.bindings);
    Ok(Some(Principal { name: token.name, identity, bindings, house: house(view)? }))
}
