//! People: users and their invites, passwords, passkeys, sessions, programs that ask, and how often somebody may try.
//!
//! All of it is decided here as transactions with their audit events; the API's routes commit them.

pub(crate) mod attempts;
pub(crate) mod device;
pub(crate) mod passkey;
pub(crate) mod password;
pub(crate) mod requirement;
pub(crate) mod second_factor;
pub(crate) mod session;
pub(crate) mod user;
