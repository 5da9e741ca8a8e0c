//! Who may speak with whom: the packet filter's rules inside each instance ([`instance`]) and on its node
//! ([`node`]), and the way into an instance's network from outside ([`within`]).
//!
//! An instance's own rules say where it may connect to; it has no right to change them. The node's rules
//! say which instances are of one env, forward for those that may leave, and let nobody in from outside.
//! Both hold while no Freehold runs. Instances have IPv4 alone: IPv6 is closed on both sides.

mod instance;
mod node;
mod users;
mod within;

pub use node::Neighbourhood;
pub use users::users_of;
pub use within::{Attempt, InstanceNetwork, Opening};

pub(crate) use instance::rules;
pub(crate) use node::{Owner, Whole, forwards, leave, rehearse, settle};
pub(crate) use within::inside;

/// The name of our table inside instances, which have a network each.
pub(crate) const TABLE: &str = "freehold";
