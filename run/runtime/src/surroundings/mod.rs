//! What surrounds running instances on their node, and others can take away: links, addresses, routes,
//! settings of the kernel, the packet filter's table.
//!
//! The agent asks what is otherwise than it was made ([`Runtime::inspect`](crate::Runtime::inspect)) and has
//! each put back. Which differences there are is a pure function of what is wanted and what was seen.

mod holdings;
mod links;
mod notices;

pub use holdings::Lost;

pub(crate) use holdings::Holdings;
pub(crate) use links::{damages, let_forward, look, relink, up_again};
pub(crate) use notices::follow;

use crate::{Launch, network::Neighbourhood};
use freehold_model::InstanceId;
use std::{fmt, net::Ipv4Addr};

/// Everything that should be around.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The node's rules, as they were set last; `None`: none.
    pub rules: Option<Neighbourhood>,
    /// The links of instances that run.
    pub links: Vec<InstanceLink>,
    /// Whether packets may go from one instance to others: not while nothing guards that.
    pub forwards: bool,
}

/// The link of one run of one instance.
#[derive(Debug, Clone)]
pub struct InstanceLink {
    /// What runs.
    pub launch: Launch,
    /// Its first process.
    pub pid: i32,
}

/// One thing that is not as it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// The packet filter's table.
    Filter(
        /// What is wrong with it.
        String,
    ),
    /// The node does not forward any more, which some instances need.
    Forwarding,
    /// The link of an instance is gone.
    Link(InstanceId),
    /// It is there, and down.
    Down(InstanceId),
    /// The node's address on it is gone.
    Address(InstanceId),
    /// What is for the instance goes elsewhere.
    Route(
        /// Which.
        InstanceId,
        /// Its address.
        Ipv4Addr,
        /// The interface that it would leave by instead.
        Option<String>,
    ),
    /// A setting of the link was changed.
    Setting(
        /// Of which instance's.
        InstanceId,
        /// Which: the name of a file below `/proc/sys/net/ipv4/conf/LINK`.
        &'static str,
    ),
}

impl Damage {
    /// What is damaged, whatever the particulars: the same thing again has the same key.
    pub fn key(&self) -> (u8, Option<InstanceId>) {
        match self {
            Damage::Filter(_) => (0, None),
            Damage::Forwarding => (1, None),
            Damage::Link(id) => (2, Some(*id)),
            Damage::Down(id) => (3, Some(*id)),
            Damage::Address(id) => (4, Some(*id)),
            Damage::Route(id, ..) => (5, Some(*id)),
            Damage::Setting(id, name) => (if *name == "forwarding" { 6 } else { 7 }, Some(*id)),
        }
    }

    /// Whether instances are not kept apart while it is so.
    pub fn unguards(&self) -> bool {
        matches!(self, Damage::Filter(_))
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Filter(how) => write!(f, "the packet filter's table {how}"),
            Damage::Forwarding => f.write_str("net.ipv4.ip_forward was switched off"),
            Damage::Link(id) => write!(f, "the network link of {id} is gone"),
            Damage::Down(id) => write!(f, "the network link of {id} was set down"),
            Damage::Address(id) => write!(f, "the node's address on the link of {id} is gone"),
            Damage::Route(id, address, None) => write!(f, "the route to {address} ({id}) is gone"),
            Damage::Route(id, address, Some(link)) => {
                write!(f, "what is for {address} ({id}) goes to the interface {link}")
            }
            Damage::Setting(id, name) => write!(f, "the setting {name} of the link of {id} was changed"),
        }
    }
}
