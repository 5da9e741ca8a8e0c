//! Who may speak with whom: the packet filter's rules inside each instance ([`instance`]) and on its node
//! ([`node`]), and the way into an instance's network from outside ([`within`]).
//!
//! An instance's own rules say where it may connect to; it has no right to change them. The node's rules
//! say which instances are of one env, forward for those that may leave, and let nobody in from outside.
//! Both hold while no Freehold runs. Instances have IPv4 alone: IPv6 is closed on both sides.

mod instance;
mod node;
mod within;

pub use node::Neighbourhood;
pub use within::{Attempt, InstanceNetwork, Opening};

pub(crate) use instance::rules;
pub(crate) use node::{leave, rehearse, settle};

/// The name of our table, inside instances and on the node. No other is ever touched.
pub(crate) const TABLE: &str = "freehold";
/// How the names of the interfaces on the node's side begin.
pub(crate) const LINKS: &str = "fh";
