//! One request against a fleet: what does not change from instance to instance is worked out once, so
//! that placing one more costs a few comparisons of integers a node.
//!
//! Invariant: the counts are those of the fleet, as long as instances are placed by [`Round::take`].

use crate::{Candidate, Fleet, Refusal, Request, filter};
use freehold_model::Spread;
use std::collections::HashMap;

pub(crate) struct Round<'a> {
    pub(crate) request: &'a Request,
    /// What keeps each node out for good.
    pub(crate) fixed: Vec<Option<Refusal>>,
    /// How many of the process each node has.
    pub(crate) own: Vec<u32>,
    /// How many of the preferred labels each node has.
    pub(crate) preferred: Vec<u32>,
    pub(crate) domains: Vec<Domains<'a>>,
    /// One instance of the process to a node.
    alone: bool,
}

/// The failure domains of one label.
pub(crate) struct Domains<'a> {
    pub(crate) spread: &'a Spread,
    /// The domain of each node; nodes without the label are one together.
    pub(crate) of: Vec<u32>,
    /// How many of the process each domain has.
    pub(crate) count: Vec<u32>,
    /// Whether any node of the domain may be chosen.
    eligible: Vec<bool>,
    /// What the domain that has fewest has, as of the last look.
    least: u32,
}

impl<'a> Round<'a> {
    pub(crate) fn new(fleet: &Fleet, request: &'a Request) -> Round<'a> {
        let apart = &request.rules.affinity.apart;
        let mut own = vec![0; fleet.nodes.len()];
        let mut fixed: Vec<_> = fleet.nodes.iter().map(|node| filter::fixed(node, request)).collect();
        for it in fleet.family(request) {
            if it.process == request.process {
                own[it.seat] += 1;
            } else if apart.contains(&it.process) || it.apart.contains(&request.process) {
                fixed[it.seat].get_or_insert_with(|| Refusal::Apart(it.process.clone()));
            }
        }
        let prefer = &request.rules.affinity.prefer;
        let liked = |node: &Candidate| {
            let has = |wanted: &Vec<String>, found: &str| wanted.iter().any(|one| one == found);
            let met = prefer
                .iter()
                .filter(|(key, wanted)| node.label(key.as_str()).is_some_and(|found| has(wanted, found)));
            met.count() as u32
        };
        let preferred = match prefer.is_empty() {
            true => vec![0; own.len()],
            false => fleet.nodes.iter().map(liked).collect(),
        };
        let domains = request.rules.spread.iter().map(|spread| Domains::new(spread, fleet, &own, &fixed));
        let domains = domains.collect();
        Round { request, fixed, own, preferred, domains, alone: apart.contains(&request.process) }
    }

    /// Looks at the counts as they are now; before each choice.
    pub(crate) fn look(&mut self) {
        self.domains.iter_mut().filter(|it| it.spread.max_skew.is_some()).for_each(Domains::look);
    }

    /// Whether the node at `seat` can take one now, if it may take any.
    pub(crate) fn has_room(&self, fleet: &Fleet, seat: usize) -> bool {
        self.request.memory <= fleet.nodes[seat].free_memory() && self.fits(seat)
    }

    /// Whether who else is there lets it be at `seat`, room aside.
    pub(crate) fn fits(&self, seat: usize) -> bool {
        !(self.alone && self.own[seat] > 0) && self.domains.iter().all(|domains| domains.allows(seat))
    }

    /// Why the node at `seat` cannot take one now, if it cannot.
    pub(crate) fn refusal(&self, fleet: &Fleet, seat: usize) -> Option<Refusal> {
        if let Some(fixed) = &self.fixed[seat] {
            return Some(fixed.clone());
        }
        let node = &fleet.nodes[seat];
        let (free, total) = (node.free_memory(), node.capacity.memory);
        if self.alone && self.own[seat] > 0 {
            Some(Refusal::Apart(self.request.process.clone()))
        } else if let Some(domains) = self.domains.iter().find(|domains| !domains.allows(seat)) {
            let over = domains.spread.over.clone();
            let domain = node.label(over.as_str()).unwrap_or_default().to_owned();
            Some(Refusal::Skew { over, domain, max: domains.spread.max_skew.unwrap_or_default() })
        } else if self.request.memory > free {
            Some(Refusal::Memory { wanted: self.request.memory, free, total })
        } else {
            None
        }
    }

    /// Places one at `seat`.
    pub(crate) fn take(&mut self, fleet: &mut Fleet, seat: usize) {
        fleet.take(seat, self.request);
        self.own[seat] += 1;
        for domains in &mut self.domains {
            domains.count[domains.of[seat] as usize] += 1;
        }
    }
}

impl<'a> Domains<'a> {
    fn new(spread: &'a Spread, fleet: &Fleet, own: &[u32], fixed: &[Option<Refusal>]) -> Domains<'a> {
        let mut known: HashMap<Option<&str>, u32> = HashMap::new();
        let (mut of, mut count, mut eligible) = (vec![], vec![], vec![]);
        for (seat, node) in fleet.nodes.iter().enumerate() {
            let domain = *known.entry(node.label(spread.over.as_str())).or_insert_with(|| {
                count.push(0);
                eligible.push(false);
                count.len() as u32 - 1
            });
            of.push(domain);
            count[domain as usize] += own[seat];
            eligible[domain as usize] |= fixed[seat].is_none();
        }
        Domains { spread, of, count, eligible, least: 0 }
    }

    pub(crate) fn at(&self, seat: usize) -> u32 {
        self.count[self.of[seat] as usize]
    }

    fn look(&mut self) {
        let counts = self.count.iter().zip(&self.eligible).filter(|(_, eligible)| **eligible);
        self.least = counts.map(|(count, _)| *count).min().unwrap_or_default();
    }

    fn allows(&self, seat: usize) -> bool {
        self.spread.max_skew.is_none_or(|max| self.at(seat) < self.least.saturating_add(max))
    }
}
