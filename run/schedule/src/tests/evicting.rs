//! Making room: who goes, who never does, and that it comes to an end.

use super::*;
use freehold_model::InstanceId;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Somebody who is there.
#[derive(Debug, Clone)]
struct Guest {
    id: u64,
    env: u64,
    process: &'static str,
    node: usize,
    priority: i32,
    memory: u64,
    healthy: bool,
    going: bool,
}

fn guest(id: u64, node: usize, priority: i32, memory: u64) -> Guest {
    Guest { id, env: id + 100, process: "old", node, priority, memory, healthy: false, going: false }
}

fn instance(n: u64) -> InstanceId {
    InstanceId(u128::from(n).into())
}

fn fleet(nodes: &[Candidate], guests: &[Guest]) -> Fleet {
    let mut fleet = Fleet::of(nodes.to_vec());
    for guest in guests {
        fleet.nodes[guest.node].used.memory.0 += guest.memory * MIB;
        fleet.nodes[guest.node].instances += 1;
        fleet.residents.push(crate::fleet::Resident {
            id: Some(instance(guest.id)),
            env: Some(EnvId(u128::from(guest.env).into()).into()),
            process: guest.process.parse().unwrap(),
            seat: guest.node,
            stays: !guest.going,
            going: guest.going,
            priority: guest.priority,
            memory: Bytes(guest.memory * MIB),
            healthy: guest.healthy,
            apart: vec![],
        });
    }
    fleet
}

fn important(memory: u64) -> Request {
    Request { priority: 100, ..request(memory) }
}

fn one(nodes: &[Candidate], guests: &[Guest], request: &Request) -> Result<Chosen, Unplaceable> {
    let mut fleet = fleet(nodes, guests);
    place_all(&mut fleet, request, 1).map(|mut all| all.remove(0)).map_err(|(_, why)| why)
}

fn displaced(nodes: &[Candidate], guests: &[Guest], request: &Request) -> Vec<u64> {
    let chosen = one(nodes, guests, request).unwrap();
    let mut ids: Vec<u64> = chosen.displaces.iter().map(|id| id.0.0 as u64).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn nobody_goes_while_there_is_room() {
    let nodes = [node(1, 1000, 0), node(2, 300, 0)];
    let chosen = one(&nodes, &[guest(1, 0, -5, 900)], &important(200)).unwrap();
    assert_eq!((chosen.name.as_str(), chosen.displaces.len(), chosen.room_of.len()), ("n2", 0, 0));
}

#[test]
fn lower_priority_goes_and_equal_or_higher_never() {
    let nodes = [node(1, 1000, 0)];
    assert_eq!(displaced(&nodes, &[guest(1, 0, 99, 900)], &important(200)), [1]);
    for priority in [100, 101, 1000] {
        assert!(one(&nodes, &[guest(1, 0, priority, 900)], &important(200)).is_err());
    }
    // Without a priority nobody makes anybody go but what asks for less than nothing.
    assert!(one(&nodes, &[guest(1, 0, 0, 900)], &request(200)).is_err());
    assert_eq!(displaced(&nodes, &[guest(1, 0, -1, 900)], &request(200)), [1]);
}

#[test]
fn the_lowest_then_the_fewest_then_the_youngest() {
    let nodes = [node(1, 1000, 0)];
    let lowest = [guest(1, 0, 10, 500), guest(2, 0, 5, 100), guest(3, 0, 5, 100), guest(4, 0, 0, 300)];
    assert_eq!(displaced(&nodes, &lowest, &important(300)), [4]);
    assert_eq!(displaced(&nodes, &lowest, &important(350)), [3, 4], "the younger of two alike");
    assert_eq!(
        displaced(&nodes, &lowest, &important(600)),
        [1, 4],
        "what is spared stays: 2 and 3 would not do"
    );
    let fewest = [guest(1, 0, 0, 400), guest(2, 0, 0, 200), guest(3, 0, 0, 200), guest(4, 0, 0, 200)];
    assert_eq!(displaced(&nodes, &fewest, &important(400)), [1]);
    assert_eq!(
        displaced(&nodes, &fewest, &important(150)),
        [4],
        "not the largest where a younger one will do"
    );
    assert_eq!(displaced(&nodes, &fewest, &important(600)), [1, 4]);
}

#[test]
fn the_node_where_it_costs_least() {
    let nodes = [node(1, 1000, 0), node(2, 1000, 0), node(3, 1000, 0)];
    let guests = [guest(1, 0, 50, 900), guest(2, 1, 0, 500), guest(3, 1, 0, 500), guest(4, 2, 0, 900)];
    let chosen = one(&nodes, &guests, &important(600)).unwrap();
    assert_eq!(chosen.name, "n3");
    assert_eq!(
        chosen.reason,
        "no node has room, and here what is of lower priority makes it at the least cost"
    );
    assert_eq!(
        chosen.elsewhere[0].to_string(),
        "n1, n2: would cost more: by priority, then number, then age of what is displaced"
    );
    let small = [node(1, 1000, 0), node(2, 100, 0), Candidate { cordoned: true, ..node(3, 1000, 0) }];
    let chosen = one(&small, &[guest(1, 0, 0, 900), guest(2, 1, 0, 100)], &important(600)).unwrap();
    let told: Vec<String> = chosen.elsewhere.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["n2: what is of lower priority there would not make enough room", "n3: is cordoned"]);
}

#[test]
fn the_last_healthy_one_of_a_process_goes_after_others() {
    let nodes = [node(1, 1000, 0), node(2, 1000, 0)];
    let healthy = |id, node, env, priority| Guest { env, healthy: true, ..guest(id, node, priority, 900) };
    // The process of 3 and 4 goes on elsewhere, that of 2 does not, though it is as young.
    let guests =
        [healthy(3, 0, 7, 0), healthy(4, 1, 8, 0), Guest { node: 1, memory: 50, ..healthy(5, 1, 7, 0) }];
    assert_eq!(displaced(&nodes, &guests, &important(600)), [3], "8 has nobody else, 7 has");
    // It goes all the same before anything of higher priority.
    let guests = [healthy(3, 0, 7, 1), healthy(4, 1, 8, 0), Guest { memory: 50, ..healthy(5, 1, 7, 1) }];
    assert_eq!(displaced(&nodes, &guests, &important(600)), [4]);
}

#[test]
fn rules_are_kept_and_its_own_env_is_spared() {
    let full = |n: u64| node(n, 1000, 0);
    let guests = [guest(1, 0, 0, 900), guest(2, 1, 0, 900)];
    let cordoned = [Candidate { cordoned: true, ..full(1) }, full(2)];
    assert_eq!(displaced(&cordoned, &guests, &important(600)), [2]);
    let tainted = [full(1), Candidate { taints: [key("hardware/gpu")].into(), ..full(2) }];
    assert_eq!(displaced(&tainted, &guests, &important(600)), [1]);
    let pinned = Request { pin: Some(NodeId(1.into())), ..important(600) };
    assert_eq!(displaced(&[full(1), full(2)], &guests, &pinned), [1]);
    let apart = Request {
        priority: 100,
        ..affine(Affinity { apart: vec!["db".parse().unwrap()], ..Default::default() })
    };
    let apart = Request { memory: Bytes(600 * MIB), ..apart };
    let family = [
        guest(1, 0, 0, 900),
        Guest { env: 1, process: "db", memory: 100, ..guest(3, 1, 0, 100) },
        guest(2, 1, 0, 900),
    ];
    assert_eq!(displaced(&[full(1), full(2)], &family, &apart), [1], "2 is younger, but db is beside it");
    let own = [Guest { env: 1, ..guest(1, 0, 0, 900) }];
    assert!(one(&[full(1)], &own, &important(600)).is_err());
}

#[test]
fn what_leaves_anyway_is_waited_for_rather_than_others_displaced() {
    let nodes = [node(1, 1000, 0), node(2, 1000, 0)];
    let going = Guest { going: true, ..guest(1, 0, 0, 900) };
    let chosen = one(&nodes, &[going.clone(), guest(2, 1, -9, 900)], &important(600)).unwrap();
    assert_eq!((chosen.name.as_str(), chosen.displaces.len()), ("n1", 0));
    assert_eq!(chosen.room_of, [instance(1)]);
    assert_eq!(chosen.reason, "no node has room yet, and here it is being made");
    // Who could not have made it leave waits its turn as before.
    assert!(one(&nodes[..1], &[going], &request(600)).is_err());
}

#[test]
fn two_of_one_request_do_not_displace_twice_for_one_room() {
    let nodes = [node(1, 1000, 0)];
    let guests = [guest(1, 0, 0, 500), guest(2, 0, 0, 500)];
    let placed = place_all(&mut fleet(&nodes, &guests), &important(250), 2).unwrap();
    assert_eq!((placed[0].displaces.len(), placed[1].displaces.len()), (1, 0));
    assert_eq!(placed[1].room_of, placed[0].room_of, "both wait for the same one");
    assert!(place_all(&mut fleet(&nodes, &guests), &important(251), 4).is_err());
}

/// What running guests are worth: the highest priorities first.
fn worth(guests: &[Guest]) -> Vec<i32> {
    let mut all: Vec<i32> = guests.iter().map(|it| it.priority).collect();
    all.sort_unstable_by_key(|it| std::cmp::Reverse(*it));
    all
}

prop_compose! {
    fn guests()(all in prop::collection::vec((0usize..3, -2i32..4, 1u64..6, any::<bool>(), 0u64..4), 0..9)) -> Vec<Guest> {
        let one = |(n, (node, priority, memory, healthy, env)): (usize, &(usize, i32, u64, bool, u64))| Guest {
            id: n as u64 + 1, env: env + 50, process: "old", node: *node, priority: *priority, memory: memory * 100,
            healthy: *healthy, going: false,
        };
        all.iter().enumerate().map(one).collect()
    }
}

/// Keeps of `guests` what the nodes hold.
fn fitting(nodes: &[Candidate], guests: Vec<Guest>) -> Vec<Guest> {
    let mut left: Vec<u64> = nodes.iter().map(|node| node.capacity.memory.0 / MIB).collect();
    let mut kept = vec![];
    for guest in guests {
        if left[guest.node] >= guest.memory {
            left[guest.node] -= guest.memory;
            kept.push(guest);
        }
    }
    kept
}

fn three() -> [Candidate; 3] {
    [node(1, 1000, 0), node(2, 700, 0), node(3, 500, 0)]
}

proptest! {
    /// Against every set of victims on every node.
    #[test]
    fn no_other_choice_costs_less(guests in guests(), memory in 1u64..11, priority in -1i32..4) {
        let nodes = three();
        let guests = fitting(&nodes, guests);
        let request = Request { priority, ..request(memory * 100) };
        let outcome = one(&nodes, &guests, &request);
        let sole = |guest: &Guest| guest.healthy
            && !guests.iter().any(|it| it.healthy && it.env == guest.env && it.node != guest.node);
        let cost = |set: &[&Guest]| {
            let mut levels: Vec<_> = set.iter().map(|it| (it.priority, sole(it))).collect();
            levels.sort_unstable_by_key(|it| std::cmp::Reverse(*it));
            levels
        };
        let mut least = None;
        for (seat, node) in nodes.iter().enumerate() {
            let here: Vec<&Guest> = guests.iter().filter(|it| it.node == seat).collect();
            let used: u64 = here.iter().map(|it| it.memory).sum();
            for choice in 0u32..1 << here.len() {
                let set: Vec<&Guest> = here.iter().enumerate().filter(|(n, _)| choice & (1 << n) != 0).map(|(_, it)| *it).collect();
                let freed: u64 = set.iter().map(|it| it.memory).sum();
                let fits = used - freed + memory * 100 <= node.capacity.memory.0 / MIB;
                if fits && set.iter().all(|it| it.priority < priority) {
                    let cost = cost(&set);
                    least = Some(least.map_or(cost.clone(), |least: Vec<_>| least.min(cost)));
                }
            }
        }
        match (outcome, least) {
            (Ok(chosen), Some(least)) => {
                let set: Vec<&Guest> = guests.iter().filter(|it| chosen.displaces.contains(&instance(it.id))).collect();
                prop_assert_eq!(set.len(), chosen.displaces.len());
                prop_assert!(set.iter().all(|it| nodes[it.node].id == chosen.node && it.priority < priority));
                prop_assert_eq!(cost(&set), least);
            }
            (Err(_), None) => {}
            (outcome, least) => prop_assert!(false, "{:?}, but {:?} would do", outcome, least),
        }
    }

    /// Everybody who is displaced asks again, until nobody is placed any more: it ends, nothing is promised
    /// twice, and of what runs the most important only becomes more.
    #[test]
    fn a_mixed_queue_comes_to_rest(wanted in prop::collection::vec((-2i32..4, 1u64..8), 1..14)) {
        let nodes = three();
        let mut queue: Vec<(i32, u64)> = wanted.clone();
        let (mut guests, mut rounds, mut ids) = (Vec::<Guest>::new(), 0, 0);
        let mut missed = 0;
        while missed < queue.len() {
            rounds += 1;
            prop_assert!(rounds < 5_000, "they displace each other for ever");
            let (priority, memory) = queue.remove(0);
            let before = worth(&guests);
            let Ok(chosen) = one(&nodes, &guests, &Request { priority, ..request(memory * 100) }) else {
                queue.push((priority, memory));
                missed += 1;
                continue;
            };
            missed = 0;
            let displaced: Vec<Guest> = guests.iter().filter(|it| chosen.displaces.contains(&instance(it.id))).cloned().collect();
            guests.retain(|it| !chosen.displaces.contains(&instance(it.id)));
            ids += 1;
            let seat = nodes.iter().position(|node| node.id == chosen.node).unwrap();
            guests.push(guest(ids, seat, priority, memory * 100));
            queue.extend(displaced.iter().map(|it| (it.priority, it.memory / 100)));
            prop_assert!(worth(&guests) > before, "{:?} was better than {:?}", before, worth(&guests));
            let mut used: BTreeMap<usize, u64> = BTreeMap::new();
            guests.iter().for_each(|it| *used.entry(it.node).or_default() += it.memory);
            prop_assert!(used.iter().all(|(seat, used)| used * MIB <= nodes[*seat].capacity.memory.0));
        }
        prop_assert_eq!(guests.len() + queue.len(), wanted.len(), "nobody is forgotten");
    }
}
