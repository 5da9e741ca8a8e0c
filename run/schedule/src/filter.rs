//! Whether a node can take an instance at all.

use crate::{Candidate, Request};
use freehold_model::{Bytes, LabelKey, Millicores, Name, manifest::Driver};
use std::fmt;

/// Why a node cannot take an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// A volume that the instance needs is on another node.
    Elsewhere,
    /// It takes no new instances.
    Cordoned,
    /// It is being emptied.
    Draining,
    /// Nothing is heard of it.
    Away,
    /// It has not said yet what it has to give.
    NotReady,
    /// The driver does not work on it.
    Driver(Driver),
    /// It lacks a label, or has another value for it than those.
    Label {
        /// The label.
        key: LabelKey,
        /// What would do; none: anything.
        wanted: Vec<String>,
        /// What it has.
        found: Option<String>,
    },
    /// It has a taint that the process does not tolerate.
    Taint(LabelKey),
    /// It has an instance of a process that the instance is kept apart from.
    Apart(Name),
    /// Its failure domain has too many more of the process than another.
    Skew {
        /// The label.
        over: LabelKey,
        /// The domain.
        domain: String,
        /// How many more there may be.
        max: u32,
    },
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

/// Why `node` cannot take `request`, whatever else is placed.
pub(crate) fn fixed(node: &Candidate, request: &Request) -> Option<Refusal> {
    if request.pin.is_some_and(|pin| pin != node.id) {
        Some(Refusal::Elsewhere)
    } else if node.draining {
        Some(Refusal::Draining)
    } else if node.cordoned {
        Some(Refusal::Cordoned)
    } else if node.away {
        Some(Refusal::Away)
    } else if node.capacity.memory == Bytes(0) {
        Some(Refusal::NotReady)
    } else if !node.drivers.contains(&request.driver) {
        Some(Refusal::Driver(request.driver))
    } else if let Some(why) = node.closed.as_ref().filter(|_| request.egress) {
        Some(Refusal::Closed(why.clone()))
    } else {
        labelled(node, request).or_else(|| (request.cpu > node.capacity.cpu).then(|| too_weak(node, request)))
    }
}

/// Why its labels and taints keep the instance away.
fn labelled(node: &Candidate, request: &Request) -> Option<Refusal> {
    let rules = &request.rules;
    let differs = |(key, wanted): (&LabelKey, &Vec<String>)| {
        let found = node.label(key.as_str());
        let fits = found.is_some_and(|found| wanted.iter().any(|one| one == found));
        let found = found.map(str::to_owned);
        (!fits).then(|| Refusal::Label { key: key.clone(), wanted: wanted.clone(), found })
    };
    let bad = |taint: &&LabelKey| !rules.tolerate.contains(taint);
    let lacks = |over: &LabelKey| Refusal::Label { key: over.clone(), wanted: vec![], found: None };
    let mut bounded = rules.spread.iter().filter(|spread| spread.max_skew.is_some());
    rules
        .affinity
        .require
        .iter()
        .find_map(differs)
        .or_else(|| node.taints.iter().find(bad).map(|taint| Refusal::Taint(taint.clone())))
        .or_else(|| bounded.find(|it| node.label(it.over.as_str()).is_none()).map(|it| lacks(&it.over)))
}

fn too_weak(node: &Candidate, request: &Request) -> Refusal {
    Refusal::Cpu { wanted: request.cpu, total: node.capacity.cpu }
}

impl Refusal {
    /// Whether asking for less, or more room, would help.
    pub fn is_want_of_room(&self) -> bool {
        matches!(self, Refusal::Cpu { .. } | Refusal::Memory { .. })
    }

    /// The same without what differs from node to node.
    pub fn brief(&self) -> String {
        match self {
            Refusal::Cpu { wanted, .. } => format!("too little processor, {wanted} are wanted"),
            Refusal::Memory { wanted, .. } => format!("too little memory left, {wanted} are wanted"),
            Refusal::Label { key, wanted, .. } if !wanted.is_empty() => {
                format!("lacks {key}={}", wanted.join("|"))
            }
            Refusal::Skew { over, .. } => format!("would be too many in its {over}"),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Elsewhere => f.write_str("is not where its volume is"),
            Refusal::Cordoned => f.write_str("is cordoned"),
            Refusal::Draining => f.write_str("is being drained"),
            Refusal::Away => f.write_str("does not answer"),
            Refusal::NotReady => f.write_str("has not said yet what it has to give"),
            Refusal::Driver(Driver::Container) => {
                f.write_str("cannot run containers (`freehold doctor` there says why)")
            }
            Refusal::Driver(Driver::Process) => f.write_str("does not run processes without isolation"),
            Refusal::Label { key, wanted, .. } if wanted.is_empty() => write!(f, "has no label {key}"),
            Refusal::Label { key, wanted, found: Some(found) } => {
                write!(f, "has {key}={found}, {} is required", wanted.join(" or "))
            }
            Refusal::Label { key, wanted, found: None } => {
                write!(f, "has no label {key}, {} is required", wanted.join(" or "))
            }
            Refusal::Taint(taint) => write!(f, "is tainted {taint}, which the process does not tolerate"),
            Refusal::Apart(process) => write!(f, "has an instance of {process}, which it is kept apart from"),
            Refusal::Skew { over, domain, max } => write!(
                f,
                "is in {over} {domain}, which would have more than {max} more instances than another (`max_skew`)"
            ),
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
