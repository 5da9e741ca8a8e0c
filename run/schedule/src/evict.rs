//! Where an instance goes when nothing has room: to the node where making room costs least.
//!
//! Called by [`place_some`](crate::place_some) after every node has refused for want of memory alone. What is
//! leaving anyway costs nothing; what is displaced is always of lower priority, never of the same env, and never
//! one more than is needed. Costs are compared by the highest priority first, so that of what runs nothing
//! important goes to spare something unimportant: then the fewest, then the youngest.

use crate::{Fleet, fleet::Resident, round::Round};
use freehold_model::{AnyId, InstanceId, Name};
use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, HashMap},
};

/// What giving one instance up costs: its priority, and whether nobody else of its process is healthy elsewhere.
type Level = (i32, bool);

/// A node that can be made to have room.
pub(crate) struct Room {
    pub(crate) seat: usize,
    /// Who has to go, by place among the residents.
    pub(crate) victims: Vec<usize>,
    /// What each costs, the dearest first.
    levels: Vec<Level>,
    /// The oldest of them.
    oldest: Option<InstanceId>,
}

/// One that could go.
#[derive(Clone, Copy)]
struct Able {
    at: usize,
    id: InstanceId,
    memory: u64,
    level: Level,
}

/// Every node that can be made to have room, by seat; and the best of them.
pub(crate) fn rooms(round: &Round<'_>, fleet: &Fleet) -> (BTreeMap<usize, Room>, Option<usize>) {
    let priority = round.request.priority;
    let below = |it: &&Resident| it.id.is_some() && it.priority < priority && (it.stays || it.going);
    if !fleet.residents.iter().any(|it| below(&it)) {
        return (BTreeMap::new(), None);
    }
    let homes = homes(fleet);
    let mut there: HashMap<usize, Vec<usize>> = HashMap::new();
    for (at, it) in fleet.residents.iter().enumerate() {
        there.entry(it.seat).or_default().push(at);
    }
    let (mut rooms, mut best) = (BTreeMap::new(), None);
    for seat in 0..fleet.nodes.len() {
        let here = there.get(&seat).map_or(&[][..], Vec::as_slice);
        if round.fixed[seat].is_some() || !round.fits(seat) {
            continue;
        }
        let Some(room) = room(round, fleet, seat, here, &homes) else { continue };
        let better =
            best.and_then(|best| rooms.get(&best)).is_none_or(|best| is_better(round, fleet, &room, best));
        if better {
            best = Some(seat);
        }
        rooms.insert(seat, room);
    }
    (rooms, best)
}

/// How the node at `seat` can be made to have room, if it can.
fn room(
    round: &Round<'_>,
    fleet: &Fleet,
    seat: usize,
    here: &[usize],
    homes: &HashMap<(AnyId, &Name), Option<usize>>,
) -> Option<Room> {
    let (node, request) = (&fleet.nodes[seat], round.request);
    let residents = || here.iter().map(|at| (*at, &fleet.residents[*at]));
    let is_lower = |it: &Resident| it.priority < request.priority;
    let going: u64 = residents().filter(|(_, it)| it.going).map(|(_, it)| it.memory.0).sum();
    let used = node.used.memory.0.saturating_sub(going).saturating_add(request.memory.0);
    let need = used.saturating_sub(node.capacity.memory.0);
    let able: Vec<Able> = residents()
        .filter(|(_, it)| it.stays && is_lower(it) && !(it.env.is_some() && it.env == request.env))
        .filter_map(|(at, it)| {
            let elsewhere = it.env.and_then(|env| homes.get(&(env, &it.process)));
            let is_sole = it.healthy && elsewhere == Some(&Some(seat));
            Some(Able { at, id: it.id?, memory: it.memory.0, level: (it.priority, is_sole) })
        })
        .collect();
    // To wait for what leaves anyway is the right of who could have made it leave.
    if need == 0 && !residents().any(|(_, it)| it.going && is_lower(it)) {
        return None;
    }
    let victims = fewest(able, need)?;
    let mut levels: Vec<Level> = victims.iter().map(|it| it.level).collect();
    levels.sort_unstable_by_key(|level| Reverse(*level));
    let oldest = victims.iter().map(|it| it.id).min();
    Some(Room { seat, victims: victims.iter().map(|it| it.at).collect(), levels, oldest })
}

/// The seat of every process that has healthy instances on one node alone; `None` for one that has them on more.
fn homes(fleet: &Fleet) -> HashMap<(AnyId, &Name), Option<usize>> {
    let mut homes: HashMap<(AnyId, &Name), Option<usize>> = HashMap::new();
    for it in fleet.residents.iter().filter(|it| it.stays && it.healthy) {
        let Some(env) = it.env else { continue };
        let home = homes.entry((env, &it.process)).or_insert(Some(it.seat));
        if *home != Some(it.seat) {
            *home = None;
        }
    }
    homes
}

fn is_better(round: &Round<'_>, fleet: &Fleet, one: &Room, other: &Room) -> bool {
    let cost = one.levels.cmp(&other.levels).then(other.oldest.cmp(&one.oldest));
    cost.then_with(|| crate::choose::compare(round, fleet, one.seat, other.seat).0) == Ordering::Less
}

/// The cheapest of `able` that have `need` together: of the highest level as few as can be, then of the next.
fn fewest(mut able: Vec<Able>, mut need: u64) -> Option<Vec<Able>> {
    able.sort_by_key(|it| (it.level, it.memory, it.id));
    let mut below: u64 = able.iter().map(|it| it.memory).sum();
    if below < need {
        return None;
    }
    let mut victims = vec![];
    let levels: Vec<&[Able]> = able.chunk_by(|one, other| one.level == other.level).collect();
    for level in levels.into_iter().rev() {
        below -= level.iter().map(|it| it.memory).sum::<u64>();
        let share = need.saturating_sub(below);
        if share > 0 {
            let picked = pick(level, share, below == 0);
            need = need.saturating_sub(picked.iter().map(|it| it.memory).sum());
            victims.extend(picked);
        }
    }
    Some(victims)
}

/// As few of one level as have `share` together. The largest, so that those below have to give least; where there
/// is nothing below (`last`), the youngest that do.
fn pick(level: &[Able], share: u64, last: bool) -> Vec<Able> {
    let mut largest: Vec<Able> = level.iter().rev().copied().collect();
    let (mut found, mut count) = (0, 0);
    while found < share && count < largest.len() {
        found += largest[count].memory;
        count += 1;
    }
    if !last {
        largest.truncate(count);
        return largest;
    }
    let (mut youngest, mut picked): (Vec<Able>, Vec<Able>) = (level.to_vec(), vec![]);
    youngest.sort_by_key(|it| Reverse(it.id));
    for one in youngest {
        let left = count - picked.len();
        if left == 0 {
            break;
        }
        largest.retain(|it| it.at != one.at);
        let most: u64 = largest
            .iter()
            .filter(|it| picked.iter().all(|had| had.at != it.at))
            .take(left - 1)
            .map(|it| it.memory)
            .sum();
        let had: u64 = picked.iter().map(|it| it.memory).sum();
        if had + one.memory + most >= share {
            picked.push(one);
        }
    }
    picked
}

impl Room {
    /// Tells the victims to go.
    pub(crate) fn clear(&self, fleet: &mut Fleet) {
        for at in &self.victims {
            let victim = &mut fleet.residents[*at];
            (victim.stays, victim.going) = (false, true);
        }
    }

    /// Who is displaced, and everybody who must be gone before there is room: those too who leave anyway.
    pub(crate) fn who(&self, fleet: &Fleet) -> (Vec<InstanceId>, Vec<InstanceId>) {
        let victims: Vec<InstanceId> = self.victims.iter().filter_map(|at| fleet.residents[*at].id).collect();
        let going = fleet.residents.iter().filter(|it| it.seat == self.seat && it.going);
        let all = victims.iter().copied().chain(going.filter_map(|it| it.id)).collect();
        (victims, all)
    }
}
