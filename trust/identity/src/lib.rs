//! Tokens and access decisions.
//!
//! Two questions are answered here and nowhere else: who is it ([`Tokens::authenticate`]), and may they
//! ([`decide`]). Doors ask both; capabilities never do.

mod access;
mod file;
mod peer;
mod token;

pub use access::{Access, Action, Principal, Role, decide, decide_peer};
pub use file::{TokenFile, TokenFileError};
pub use peer::{KeyFingerprint, KeyFingerprintError, Peer};
pub use token::{Token, TokenError, TokenHash, Tokens};
