//! Says why: of a chosen node, why this one, and of the others, why not them.
//!
//! Invariant: an explanation is small, however many nodes there are: nodes with the same reason are named
//! together, the first few by name.

use crate::{
    Chosen, Fleet, Refusal, Unplaceable,
    choose::{Criterion, compare},
    evict::Room,
    round::Round,
};
use freehold_model::Elsewhere;
use std::collections::{BTreeMap, BTreeSet};

/// At most so many reasons are told of a choice, and so many nodes one by one of a refusal.
pub(crate) const GROUPS: usize = 8;
/// So many nodes of one reason are named.
const NAMED: usize = 3;

/// What is worked out once for all choices of a round.
#[derive(Default)]
pub(crate) struct Explanation {
    /// The nodes that are out for good, by reason.
    fixed: Option<Vec<Group>>,
}

/// Nodes that are not chosen for the same reason.
struct Group {
    why: Why,
    first: Vec<usize>,
    count: u32,
}

#[derive(PartialEq, Eq, Clone)]
enum Why {
    Refused(String),
    Memory,
    Apart,
    Skew(usize),
    Worse(Criterion),
}

impl Explanation {
    /// Explains the choice of the node at `best`, which was not taken yet.
    pub(crate) fn of(&mut self, round: &Round<'_>, fleet: &Fleet, best: usize) -> Chosen {
        let fixed = self.fixed.get_or_insert_with(|| refused(round));
        let mut others: Vec<Group> = vec![];
        let (mut fitting, mut criteria) = (1, BTreeSet::new());
        for seat in (0..fleet.nodes.len()).filter(|seat| *seat != best && round.fixed[*seat].is_none()) {
            let why = if round.has_room(fleet, seat) {
                let criterion = compare(round, fleet, best, seat).1;
                criteria.insert(criterion);
                fitting += 1;
                Why::Worse(criterion)
            } else {
                full(round, fleet, seat)
            };
            add(&mut others, why, seat);
        }
        let node = &fleet.nodes[best];
        let told = others.iter().chain(fixed.iter()).take(GROUPS);
        Chosen {
            node: node.id,
            name: node.name.clone(),
            reason: reason(round, fleet, best, fitting, &criteria),
            scores: scores(round, fleet, best),
            elsewhere: told.map(|group| group.told(round, fleet)).collect(),
            displaces: vec![],
            room_of: vec![],
        }
    }
}

/// Explains the choice of a node that has to be made to have room.
pub(crate) fn displacing(
    round: &Round<'_>,
    fleet: &Fleet,
    rooms: &BTreeMap<usize, Room>,
    room: &Room,
) -> Chosen {
    let (node, (displaces, room_of)) = (&fleet.nodes[room.seat], room.who(fleet));
    let others = (0..fleet.nodes.len()).filter(|seat| *seat != room.seat);
    let mut said: Vec<(bool, String, String)> = others
        .map(|seat| {
            let refusal = round.refusal(fleet, seat);
            let why = match (rooms.contains_key(&seat), refusal) {
                (true, _) => {
                    "would cost more: by priority, then number, then age of what is displaced".into()
                }
                (_, Some(Refusal::Memory { .. })) => {
                    "what is of lower priority there would not make enough room".into()
                }
                (_, refusal) => refusal.map(|it| it.brief()).unwrap_or_default(),
            };
            (round.fixed[seat].is_some(), fleet.nodes[seat].name.clone(), why)
        })
        .collect();
    said.sort_by_key(|(fixed, ..)| *fixed);
    let mut elsewhere = together(said.into_iter().map(|(_, name, why)| (name, why)));
    elsewhere.truncate(GROUPS);
    let reason = match displaces.is_empty() {
        true => "no node has room yet, and here it is being made",
        false => "no node has room, and here what is of lower priority makes it at the least cost",
    };
    Chosen {
        node: node.id,
        name: node.name.clone(),
        reason: reason.into(),
        scores: scores(round, fleet, room.seat),
        elsewhere,
        displaces,
        room_of,
    }
}

/// What each node says when none can take it.
pub(crate) fn refusals(round: &Round<'_>, fleet: &Fleet) -> Unplaceable {
    let each = fleet.nodes.iter().enumerate();
    let refusals = each.filter_map(|(seat, node)| Some((node.name.clone(), round.refusal(fleet, seat)?)));
    Unplaceable { refusals: refusals.collect() }
}

/// Nodes of the same refusal together.
pub(crate) fn grouped(refusals: &[(String, Refusal)]) -> Vec<Elsewhere> {
    together(refusals.iter().map(|(name, refusal)| (name.clone(), refusal.brief())))
}

fn together(all: impl Iterator<Item = (String, String)>) -> Vec<Elsewhere> {
    let mut groups: Vec<Elsewhere> = vec![];
    for (name, why) in all {
        match groups.iter_mut().find(|group| group.why == why) {
            Some(group) if group.nodes.len() < NAMED => group.nodes.push(name),
            Some(group) => group.more += 1,
            None => groups.push(Elsewhere { nodes: vec![name], more: 0, why }),
        }
    }
    groups
}

fn refused(round: &Round<'_>) -> Vec<Group> {
    let mut groups = vec![];
    for (seat, refusal) in round.fixed.iter().enumerate() {
        if let Some(refusal) = refusal {
            add(&mut groups, Why::Refused(refusal.brief()), seat);
        }
    }
    groups
}

fn full(round: &Round<'_>, fleet: &Fleet, seat: usize) -> Why {
    match round.refusal(fleet, seat) {
        Some(Refusal::Apart(_)) => Why::Apart,
        Some(Refusal::Skew { over, .. }) => {
            let place = round.domains.iter().position(|domains| domains.spread.over == over);
            Why::Skew(place.unwrap_or_default())
        }
        _ => Why::Memory,
    }
}

fn add(groups: &mut Vec<Group>, why: Why, seat: usize) {
    match groups.iter_mut().find(|group| group.why == why) {
        Some(group) => {
            group.count += 1;
            if group.first.len() < NAMED {
                group.first.push(seat);
            }
        }
        None => groups.push(Group { why, first: vec![seat], count: 1 }),
    }
}

impl Group {
    fn told(&self, round: &Round<'_>, fleet: &Fleet) -> Elsewhere {
        let refusal = self.first.first().and_then(|seat| round.refusal(fleet, *seat));
        let why = match (&self.why, refusal) {
            (Why::Worse(criterion), _) => worse(round, *criterion),
            (_, Some(refusal)) if self.count == 1 => refusal.to_string(),
            (_, Some(refusal)) => refusal.brief(),
            (_, None) => "cannot take it".into(),
        };
        let nodes = self.first.iter().map(|seat| fleet.nodes[*seat].name.clone()).collect();
        Elsewhere { nodes, more: self.count - self.first.len() as u32, why }
    }
}

/// Why one that could take it is not the best.
fn worse(round: &Round<'_>, criterion: Criterion) -> String {
    let process = &round.request.process;
    match criterion {
        Criterion::Domain(place) => format!("more of {process} in its {}", round.domains[place].spread.over),
        Criterion::Preferred => "fewer of the preferred labels".into(),
        Criterion::Home => "not where the rest of its env is".into(),
        Criterion::Own => format!("more of {process} on it"),
        Criterion::Processor => "its processor is promised already".into(),
        Criterion::Memory => "less memory left".into(),
        Criterion::Instances => "as good, with more instances".into(),
        Criterion::Age => "as good, and joined later".into(),
    }
}

fn reason(
    round: &Round<'_>,
    fleet: &Fleet,
    best: usize,
    fitting: usize,
    criteria: &BTreeSet<Criterion>,
) -> String {
    let all = fleet.nodes.len();
    if all == 1 {
        return "the only node".into();
    }
    if fitting == 1 {
        return format!("the only one of {all} nodes that can take it");
    }
    let only_memory = criteria.iter().all(|it| *it >= Criterion::Memory);
    if only_memory && criteria.contains(&Criterion::Memory) {
        return format!("most memory left of {fitting} nodes that can take it");
    }
    let by: Vec<String> = criteria.iter().map(|it| better(round, fleet, best, *it)).collect();
    format!("of {fitting} nodes that can take it: {}", by.join(", then "))
}

fn better(round: &Round<'_>, fleet: &Fleet, best: usize, criterion: Criterion) -> String {
    let process = &round.request.process;
    match criterion {
        Criterion::Domain(place) => {
            let over = &round.domains[place].spread.over;
            match fleet.nodes[best].label(over.as_str()) {
                Some(domain) => format!("{over} {domain} has the fewest of {process}"),
                None => format!("the nodes without {over} have the fewest of {process}"),
            }
        }
        Criterion::Preferred => "most of the preferred labels".into(),
        Criterion::Home => "together with its env".into(),
        Criterion::Own => format!("fewest of {process} on it"),
        Criterion::Processor => "processor left".into(),
        Criterion::Memory => "most memory left".into(),
        Criterion::Instances => "fewest instances".into(),
        Criterion::Age => "joined first".into(),
    }
}

/// `0 of web in zone cellar, 1 of 2 preferred labels, 3.1GiB memory left`.
fn scores(round: &Round<'_>, fleet: &Fleet, best: usize) -> String {
    let (node, request) = (&fleet.nodes[best], round.request);
    let mut scores: Vec<String> = round
        .domains
        .iter()
        .map(|domains| {
            let over = &domains.spread.over;
            let domain = node.label(over.as_str()).unwrap_or("none");
            format!("{} of {} in {over} {domain}", domains.at(best), request.process)
        })
        .collect();
    let preferred = request.rules.affinity.prefer.len();
    if preferred > 0 {
        scores.push(format!("{} of {preferred} preferred labels", round.preferred[best]));
    }
    scores.push(format!("{} of {} on it", round.own[best], request.process));
    let left = node.capacity.cpu.0.saturating_sub(node.used.cpu.0);
    scores.push(format!("{} of processor", freehold_model::Millicores(left)));
    scores.push(format!("{} of memory left before it", node.free_memory().rounded()));
    scores.join(", ")
}
