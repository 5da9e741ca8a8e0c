//! Whether a node can take an instance at all.

use crate::{Candidate, Request};
use freehold_model::{Bytes, Millicores, manifest::Driver};
use std::fmt;

/// Why a node cannot take an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// A volume that the instance needs is on another node.
    Elsewhere,
    /// It takes no new instances.
    Cordoned,
    /// It has not said yet what it has to give.
    NotReady,
    /// The driver does not work on it.
    Driver(Driver),
    /// One instance wants more processor time than the whole node has.
    Cpu {
        /// What is wanted.
        wanted: Millicores,
        /// What the node has.
        total: Millicores,
    },
    /// It wants to reach something outside, and nothing there can; why.
    Closed(String),
    /// Not enough memory is left.
    Memory {
        /// What is wanted.
        wanted: Bytes,
        /// What is left.
        free: Bytes,
        /// What the node has.
        total: Bytes,
    },
}

/// Why `node` cannot take `request`, if it cannot.
pub(crate) fn refusal(node: &Candidate, request: &Request) -> Option<Refusal> {
    let (free, total) = (node.free_memory(), node.capacity.memory);
    if request.pin.is_some_and(|pin| pin != node.id) {
        Some(Refusal::Elsewhere)
    } else if node.cordoned {
        Some(Refusal::Cordoned)
    } else if total == Bytes(0) {
        Some(Refusal::NotReady)
    } else if !node.drivers.contains(&request.driver) {
        Some(Refusal::Driver(request.driver))
    } else if let Some(why) = node.closed.as_ref().filter(|_| request.egress) {
        Some(Refusal::Closed(why.clone()))
    } else if request.cpu > node.capacity.cpu {
        Some(Refusal::Cpu { wanted: request.cpu, total: node.capacity.cpu })
    } else if request.memory > free {
        Some(Refusal::Memory { wanted: request.memory, free, total })
    } else {
        None
    }
}

impl Refusal {
    /// Whether asking for less, or more room, would help.
    pub fn is_want_of_room(&self) -> bool {
        matches!(self, Refusal::Cpu { .. } | Refusal::Memory { .. })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Elsewhere => f.write_str("is not where its volume is"),
            Refusal::Cordoned => f.write_str("is cordoned"),
            Refusal::NotReady => f.write_str("has not said yet what it has to give"),
            Refusal::Driver(Driver::Container) => {
                f.write_str("cannot run containers (`freehold doctor` there says why)")
            }
            Refusal::Driver(Driver::Process) => f.write_str("does not run processes without isolation"),
            Refusal::Closed(why) => {
                write!(
                    f,
                    "opens no egress ({why}): remove `egress` from the manifest, or run Freehold as root"
                )
            }
            Refusal::Cpu { wanted, total } => write!(f, "has {total} of processor, {wanted} are wanted"),
            Refusal::Memory { wanted, free, total } => {
                write!(f, "has {free} of {total} memory left, {wanted} are wanted")
            }
        }
    }
}
