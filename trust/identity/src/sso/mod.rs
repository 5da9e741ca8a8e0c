//! Signing in to this house with other OpenID providers: the house as their client (OpenID Connect Core 1.0; RFC 6749,
//! 7636, 9207, 9700).
//!
//! Who comes back from a provider is an issuer and a subject, and is whoever linked that pair, and nobody else: never
//! matched by a name or an address. What is decided is decided here, as transactions with their audit events; what
//! is fetched is fetched by [`Relying`]; the pages begin and end it. Invariants: what comes back is taken once, by the
//! browser that went, within [`ERRAND`]; what strangers can have kept is bounded; nobody is made by it; and nobody
//! gives up their last way in by accident.

mod check;
mod enter;
mod errand;
mod http;
mod link;
mod provider;
mod relying;
mod token;

#[cfg(test)]
mod tests;

pub use enter::{Entered, accept_invite_with, sign_in_with};
pub use errand::{ERRAND, Returned, Ticket, come_back, go};
pub use http::{Fetch, FetchError, Web};
pub use link::{link, linked_key, unlink};
pub use provider::{providers, remove_provider, set_provider, summaries, summary, title};
pub use relying::{Answered, Client, Proved, Relying, RelyingError};

pub(crate) use link::{LINKED, keep_a_way};
