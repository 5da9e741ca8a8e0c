//! The house as an OpenID provider for the apps it runs: authorization code with PKCE (S256) and nothing else
//! (OpenID Connect Core 1.0; RFC 6749, 7636, 9207, 9700).
//!
//! What is decided is decided here, as transactions with their audit events; the API's routes read requests, commit
//! and answer. An app is a client as long as the release that its env runs says so (`[sign_in]`), so there is no
//! register that could say something else. Invariants: a code is exchanged once, by the client that it was made for,
//! with the verifier and the redirect URI of the request; what is shown a second time ends what came of the first;
//! and nothing outlives the session of the house that it began with.

mod authorize;
mod claims;
mod client;
mod error;
mod exchange;
mod grant;
mod jwt;
mod logout;
mod params;
mod signer;

#[cfg(test)]
mod tests;

pub use authorize::{Asked, AuthorizeRequest, Visitor, Way, ask, deny, issue_code, return_to, way};
pub use claims::{PersonClaims, TokenClaims, userinfo};
pub use client::{Client, client_id, client_summaries, find_client};
pub use error::{OidcError, Undecided};
pub use exchange::{Exchanged, Tokens, exchange};
pub use logout::{SignOut, ask_sign_out};
pub use params::OidcParams;
pub use signer::{SignError, Signer};

use jiff::SignedDuration;

/// How long a code is good: the way of a browser to the app.
pub const CODE: SignedDuration = SignedDuration::from_secs(60);
/// How long an access token and an ID token are good.
pub const TOKEN: SignedDuration = SignedDuration::from_mins(10);
/// How long a refresh token that nobody uses is good; never longer than the session.
pub const REFRESH: SignedDuration = SignedDuration::from_hours(14 * 24);
/// A key signs for so long; then a new one does.
pub const KEY: SignedDuration = SignedDuration::from_hours(30 * 24);
/// For so long after that it is published yet.
pub const OVERLAP: SignedDuration = SignedDuration::from_hours(24);
/// What can be asked for.
pub const SCOPES: [&str; 5] = ["openid", "profile", "email", "groups", "offline_access"];
