//! Refusals in the words of the protocol (RFC 6749, 4.1.2.1 and 5.2; OpenID Connect Core, 3.1.2.6).
//!
//! Invariant: a description is ours, in printable ASCII without quotes, and repeats nothing of what was sent.

use freehold_reconcile::StoreError;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {description}")]
pub struct OidcError {
    /// One of the protocol's words.
    pub code: &'static str,
    /// For whoever writes the app.
    pub description: String,
}

impl OidcError {
    /// A refusal.
    pub fn new(code: &'static str, description: impl Into<String>) -> OidcError {
        OidcError { code, description: description.into() }
    }

    pub(super) fn request(description: impl Into<String>) -> OidcError {
        OidcError::new("invalid_request", description)
    }

    pub(super) fn grant(description: impl Into<String>) -> OidcError {
        OidcError::new("invalid_grant", description)
    }

    /// A client that did not prove itself: in the same words whatever was wrong.
    pub fn client() -> OidcError {
        OidcError::new("invalid_client", "There is no such client, or its secret is another.")
    }
}

/// Why something was not decided.
#[derive(Debug, thiserror::Error)]
pub enum Undecided {
    /// As the client shall see it.
    #[error(transparent)]
    Refused(#[from] OidcError),
    /// The view failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
