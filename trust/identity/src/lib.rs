//! Tokens and access decisions.
//!
//! Two questions are answered here and nowhere else: who is it ([`Tokens::authenticate`]), and may they
//! ([`decide`]). Doors ask both; capabilities never do.

mod access;
mod file;
mod token;

pub use access::{Access, Action, Principal, Role, decide};
pub use file::{TokenFile, TokenFileError};
pub use token::{Token, TokenError, TokenHash, Tokens};
