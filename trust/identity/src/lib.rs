//! Certificate authority, enrolment, tokens and access decisions.
//!
//! Two questions are answered here and nowhere else: who is it ([`Tokens::authenticate`], [`Presented`]), and
//! may they ([`decide`]). Doors ask both; capabilities never do. The [`Authority`] lets machines into the
//! house and certifies them.

mod access;
mod ca;
mod file;
mod join;
mod membership;
mod peer;
pub mod tls;
mod token;

pub use access::{Access, Action, Principal, Role, decide, decide_peer};
pub use ca::{
    Authority,
    error::AuthorityError,
    issue::CONTROL_NAME,
    live::Live,
    request::{RequestError, request},
};
pub use file::{TokenFile, TokenFileError};
pub use freehold_model::{KeyFingerprint, KeyFingerprintError};
pub use join::{
    Refusal, revoke_into,
    token::{JoinTokenError, JoinTokenText},
};
pub use membership::{About, MachineKey, Membership, MembershipError};
pub use peer::{NotANode, Peer, Presented};
pub use token::{Token, TokenError, TokenHash, Tokens};
