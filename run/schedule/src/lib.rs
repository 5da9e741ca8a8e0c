//! Decides placement; pure.
//!
//! [`place_all`] is asked by plans (where would it run?) and again by rollouts (where does it run?). Memory
//! is promised once and never twice; processor time is shared, so only a single instance that wants
//! more than a whole node is refused for it. Of the nodes that can take an instance, the best is that where
//! its failure domains hold the fewest of its process, then the one with most preferred labels, then its env's home, then as
//! [`choose`] says. Where none has room, what is of lower priority makes it ([`evict`]), and the instance starts
//! when that is gone. Invariants: a chosen node can take the request, then; the same question has the same answer.

mod choose;
mod evict;
mod explain;
mod filter;
mod fleet;
mod round;

pub use filter::Refusal;
pub use fleet::{Candidate, Fleet};

use explain::Explanation;
use freehold_model::{
    AnyId, Bytes, Elsewhere, InstanceId, Millicores, Name, NodeId, Rules, Template, manifest::Driver,
};
use round::Round;
use std::fmt;

/// What one instance needs of its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its env, if there is one yet.
    pub env: Option<AnyId>,
    /// Its process.
    pub process: Name,
    /// How it is isolated.
    pub driver: Driver,
    /// Whether it reaches something outside.
    pub egress: bool,
    /// At most this much processor time.
    pub cpu: Millicores,
    /// At most this much memory.
    pub memory: Bytes,
    /// Where it may be, and would rather.
    pub rules: Rules,
    /// Only this node will do: its volume is there.
    pub pin: Option<NodeId>,
    /// Rather this node, if the manifest says nothing else: the rest of its env is there.
    pub home: Option<NodeId>,
    /// Where there is no room, instances of lower priority make room for it.
    pub priority: i32,
}

impl Request {
    /// What an instance of `process` needs that is made of `template`.
    pub fn new(env: Option<AnyId>, process: &Name, template: &Template, priority: i32) -> Request {
        Request {
            env,
            process: process.clone(),
            driver: template.driver,
            egress: !template.egress.is_empty(),
            cpu: template.cpu,
            memory: template.memory,
            rules: template.rules.clone(),
            pin: None,
            home: None,
            priority,
        }
    }
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
    /// How it compares, in words and figures.
    pub scores: String,
    /// Why none of the others.
    pub elsewhere: Vec<Elsewhere>,
    /// Who has to leave, to make room for it.
    pub displaces: Vec<InstanceId>,
    /// Who must be gone from the node before it starts: those, and others who leave anyway.
    pub room_of: Vec<InstanceId>,
}

/// No node can take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unplaceable {
    /// What each node said.
    pub refusals: Vec<(String, Refusal)>,
}

/// Where `count` instances go, each placed with the ones before it in place: as many as can be, and why
/// no more.
pub fn place_some(fleet: &mut Fleet, request: &Request, count: u32) -> (Vec<Chosen>, Option<Unplaceable>) {
    let mut round = Round::new(fleet, request);
    let mut chosen = vec![];
    let mut explanation = Explanation::default();
    for _ in 0..count {
        if let Some(best) = choose::best(&mut round, fleet) {
            chosen.push(explanation.of(&round, fleet, best));
            round.take(fleet, best);
            continue;
        }
        let (rooms, best) = evict::rooms(&round, fleet);
        let Some(room) = best.and_then(|seat| rooms.get(&seat)) else {
            return (chosen, Some(explain::refusals(&round, fleet)));
        };
        chosen.push(explain::displacing(&round, fleet, &rooms, room));
        room.clear(fleet);
        round.take(fleet, room.seat);
    }
    (chosen, None)
}

/// Where `count` instances go.
///
/// # Errors
/// At the first that no node can take: how many were placed before it, and why it was not.
pub fn place_all(
    fleet: &mut Fleet,
    request: &Request,
    count: u32,
) -> Result<Vec<Chosen>, (u32, Unplaceable)> {
    match place_some(fleet, request, count) {
        (chosen, None) => Ok(chosen),
        (chosen, Some(why)) => Err((chosen.len() as u32, why)),
    }
}

impl Unplaceable {
    /// Whether asking for less, or more room, would help.
    pub fn is_want_of_room(&self) -> bool {
        self.refusals.iter().any(|(_, refusal)| refusal.is_want_of_room())
    }
}

impl fmt::Display for Unplaceable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.refusals.is_empty() {
            return f.write_str("there is no node");
        }
        if self.refusals.len() > explain::GROUPS {
            let all: Vec<String> =
                explain::grouped(&self.refusals).iter().map(|one| format!("node {one}")).collect();
            return f.write_str(&all.join("; "));
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
