//! The order of the nodes that can take an instance, the best first.
//!
//! Lexicographic, so that it can be said in words: where its failure domains have the fewest of its process;
//! where most of its preferred labels are; where its env is at home; where fewest of its process are; where processor time is left;
//! where most memory is left; where the fewest instances are; who joined first.

use crate::{Fleet, round::Round};
use std::cmp::Ordering;

/// What one node was better by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Criterion {
    /// The failure domains of that place in the process's `spread`.
    Domain(usize),
    Preferred,
    Home,
    Own,
    Processor,
    Memory,
    Instances,
    Age,
}

/// The seat of the best node that can take one now.
pub(crate) fn best(round: &mut Round<'_>, fleet: &Fleet) -> Option<usize> {
    round.look();
    let round = &*round;
    let mut best = None;
    for seat in 0..fleet.nodes.len() {
        if round.fixed[seat].is_none()
            && round.has_room(fleet, seat)
            && best.is_none_or(|best| compare(round, fleet, seat, best).0 == Ordering::Less)
        {
            best = Some(seat);
        }
    }
    best
}

/// Which of two is better (`Less`), and by what.
pub(crate) fn compare(round: &Round<'_>, fleet: &Fleet, one: usize, other: usize) -> (Ordering, Criterion) {
    for (place, domains) in round.domains.iter().enumerate() {
        let order = domains.at(one).cmp(&domains.at(other));
        if order != Ordering::Equal {
            return (order, Criterion::Domain(place));
        }
    }
    let (a, b) = (&fleet.nodes[one], &fleet.nodes[other]);
    let full = |seat: usize| {
        let node = &fleet.nodes[seat];
        node.used.cpu.0.saturating_add(round.request.cpu.0) > node.capacity.cpu.0
    };
    // Who is to be spread is not to be together.
    let home = round.request.home.filter(|_| round.domains.is_empty());
    let away = |seat: usize| home.is_some_and(|home| fleet.nodes[seat].id != home);
    let by = |order: Ordering, criterion| (order != Ordering::Equal).then_some((order, criterion));
    by(round.preferred[other].cmp(&round.preferred[one]), Criterion::Preferred)
        .or_else(|| by(away(one).cmp(&away(other)), Criterion::Home))
        .or_else(|| by(round.own[one].cmp(&round.own[other]), Criterion::Own))
        .or_else(|| by(full(one).cmp(&full(other)), Criterion::Processor))
        .or_else(|| by(b.free_memory().cmp(&a.free_memory()), Criterion::Memory))
        .or_else(|| by(a.instances.cmp(&b.instances), Criterion::Instances))
        .unwrap_or_else(|| (a.id.cmp(&b.id), Criterion::Age))
}
