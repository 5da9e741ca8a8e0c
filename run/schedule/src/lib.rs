//! Decides placement; pure.
//!
//! [`place`] is asked by plans (where would it run?) and again by rollouts (where does it run?). Memory
//! is promised once and never twice; processor time is shared, so only a single instance that wants
//! more than a whole node is refused for it. Invariant: a chosen node can take the request.

mod filter;
mod nodes;

pub use filter::Refusal;
pub use nodes::{Candidate, candidates};

use freehold_model::{Bytes, Millicores, NodeId, manifest::Driver};
use std::fmt;

/// What one instance needs of its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// How it is isolated.
    pub driver: Driver,
    /// Whether it reaches something outside.
    pub egress: bool,
    /// At most this much processor time.
    pub cpu: Millicores,
    /// At most this much memory.
    pub memory: Bytes,
    /// Only this node will do: its volume is there.
    pub pin: Option<NodeId>,
}

/// The node for one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Which.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Why this one, in a phrase. Holds no figures, so that it stays the same while others come and go.
    pub reason: String,
}

/// No node can take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unplaceable {
    /// What each node said.
    pub refusals: Vec<(String, Refusal)>,
}

/// Where one instance goes: of the nodes that can take it, the one with most memory left; of equal ones,
/// that with the fewest instances, then the one that joined first.
///
/// # Errors
/// When no node can take it, with the reason of each.
pub fn place(nodes: &[Candidate], request: &Request) -> Result<Chosen, Unplaceable> {
    let fits = nodes.iter().filter(|node| filter::refusal(node, request).is_none());
    let best = fits.clone().min_by_key(|node| (u64::MAX - node.free_memory().0, node.instances, node.id));
    let Some(best) = best else {
        let refused = |node| filter::refusal(node, request).map(|why| (node.name.clone(), why));
        return Err(Unplaceable { refusals: nodes.iter().filter_map(refused).collect() });
    };
    let reason = match (nodes.len(), fits.count()) {
        (1, _) => "the only node".into(),
        (all, 1) => format!("the only one of {all} nodes that can take it"),
        (_, fitting) => format!("most memory left of {fitting} nodes that can take it"),
    };
    Ok(Chosen { node: best.id, name: best.name.clone(), reason })
}

/// Where `count` instances go, each placed with the ones before it in place.
///
/// # Errors
/// At the first that no node can take: how many were placed before it, and why it was not.
pub fn place_all(
    nodes: &mut [Candidate],
    request: &Request,
    count: u32,
) -> Result<Vec<Chosen>, (u32, Unplaceable)> {
    let mut chosen = vec![];
    for placed in 0..count {
        let one = place(nodes, request).map_err(|why| (placed, why))?;
        if let Some(node) = nodes.iter_mut().find(|node| node.id == one.node) {
            node.take(request);
        }
        chosen.push(one);
    }
    Ok(chosen)
}

impl fmt::Display for Unplaceable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.refusals.is_empty() {
            return f.write_str("there is no node");
        }
        for (n, (name, refusal)) in self.refusals.iter().enumerate() {
            write!(f, "{}node {name} {refusal}", if n == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for Unplaceable {}

#[cfg(test)]
mod tests;
