//! What holds of every placement.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const ZONES: [&str; 3] = ["a", "b", "c"];

prop_compose! {
    fn nodes()(
        all in prop::collection::vec((1u64..2000, 0u64..2000, 0usize..4, prop::bool::weighted(0.15), prop::bool::weighted(0.2)), 1..12)
    ) -> Vec<Candidate> {
        all.iter().enumerate().map(|(n, (size, used, zone, cordoned, tainted))| {
            let mut node = node(n as u64, *size, *used);
            if let Some(zone) = ZONES.get(*zone) {
                node.labels.insert("zone".into(), (*zone).into());
            }
            node.cordoned = *cordoned;
            if *tainted {
                node.taints.insert(key("hardware/gpu"));
            }
            node
        }).collect()
    }
}

prop_compose! {
    fn requests()(
        process in 0usize..3,
        memory in 1u64..700,
        pin in prop::option::weighted(0.1, 0u64..12),
        require in prop::option::weighted(0.3, 0usize..3),
        prefer in prop::option::weighted(0.3, 0usize..3),
        apart in prop::option::weighted(0.3, 0usize..3),
        over in prop::option::weighted(0.5, prop_oneof![Just("zone"), Just("host")]),
        max_skew in prop::option::of(1u32..3),
        tolerant: bool,
    ) -> Request {
        let zone = |zone: Option<usize>| zone.map(|zone| (key("zone"), vec![ZONES[zone].to_owned()])).into_iter().collect();
        let affinity = Affinity { require: zone(require), prefer: zone(prefer), apart: apart.into_iter().map(process_of).collect() };
        let spread = over.map(|over| Spread { over: key(over), max_skew }).into_iter().collect();
        let tolerate = if tolerant { vec![key("hardware/gpu")] } else { vec![] };
        Request {
            process: process_of(process),
            rules: Rules { affinity, spread, tolerate },
            pin: pin.map(|n| NodeId(u128::from(n).into())),
            ..request(memory)
        }
    }
}

fn process_of(n: usize) -> Name {
    ["web", "db", "job"][n].parse().unwrap()
}

/// Of the request with that place: where its instances went, and why no more.
type Outcome = (usize, Vec<Chosen>, Option<Unplaceable>);

/// One instance after another: who went where.
fn run(nodes: &[Candidate], requests: &[(Request, u32)]) -> (Fleet, Vec<Outcome>) {
    let mut fleet = Fleet::of(nodes.to_vec());
    let mut outcomes = vec![];
    for (n, (request, count)) in requests.iter().enumerate() {
        let (chosen, why) = place_some(&mut fleet, request, *count);
        outcomes.push((n, chosen, why));
    }
    (fleet, outcomes)
}

proptest! {
    #[test]
    fn memory_is_never_promised_twice_nor_refused_while_there_is_any(
        sizes in prop::collection::vec((1u64..2000, 0u64..2000), 1..6),
        memory in 1u64..700,
        count in 1u32..30,
    ) {
        let nodes: Vec<_> =
            sizes.iter().enumerate().map(|(n, (size, used))| node(n as u64, *size, *used)).collect();
        let mut fleet = Fleet::of(nodes.clone());
        let outcome = place_all(&mut fleet, &request(memory), count);
        for (node, before) in fleet.nodes().iter().zip(&nodes) {
            let grew = node.used.memory != before.used.memory;
            prop_assert!(!grew || node.used.memory <= node.capacity.memory);
        }
        if outcome.is_err() {
            prop_assert!(fleet.nodes().iter().all(|node| node.free_memory() < request(memory).memory));
        }
    }

    #[test]
    fn what_must_hold_holds(nodes in nodes(), requests in prop::collection::vec((requests(), 1u32..6), 1..6)) {
        let (fleet, outcomes) = run(&nodes, &requests);
        let find = |id: NodeId| nodes.iter().find(|node| node.id == id).unwrap();
        for (after, before) in fleet.nodes().iter().zip(&nodes) {
            prop_assert!(after.used == before.used || after.used.memory <= after.capacity.memory, "over capacity");
        }
        let mut there: BTreeMap<NodeId, Vec<&Request>> = BTreeMap::new();
        for (n, chosen, why) in &outcomes {
            let (request, count) = &requests[*n];
            prop_assert_eq!(chosen.len() < *count as usize, why.is_some());
            for one in chosen {
                let node = find(one.node);
                prop_assert!(request.pin.is_none_or(|pin| pin == one.node), "pins are kept");
                prop_assert!(!node.cordoned);
                prop_assert!(node.taints.iter().all(|taint| request.rules.tolerate.contains(taint)));
                for (key, values) in &request.rules.affinity.require {
                    prop_assert!(values.iter().any(|value| node.label(key.as_str()) == Some(value)));
                }
                prop_assert!(!one.reason.is_empty());
                let told: usize = one.elsewhere.iter().map(|it| it.nodes.len() + it.more as usize).sum();
                prop_assert!(told == nodes.len() - 1 || one.elsewhere.len() == explain::GROUPS, "all others are told of");
                let neighbours = there.entry(one.node).or_default();
                for other in neighbours.iter() {
                    let apart = |one: &Request, other: &Request| one.rules.affinity.apart.contains(&other.process);
                    let same = request.process == other.process;
                    prop_assert!(!apart(request, other), "{} is kept apart from {}", request.process, other.process);
                    prop_assert!(same || !apart(other, request));
                }
                neighbours.push(request);
            }
            if let Some(why) = why {
                prop_assert_eq!(why.refusals.len(), nodes.len(), "each node says why not");
            }
        }
    }

    #[test]
    fn the_same_question_has_the_same_answer(nodes in nodes(), requests in prop::collection::vec((requests(), 1u32..6), 1..6)) {
        prop_assert_eq!(run(&nodes, &requests).1, run(&nodes, &requests).1);
    }

    #[test]
    fn domains_differ_by_one_at_most_where_there_is_room(
        zones in prop::collection::vec(0usize..3, 1..9), count in 1u32..40, hard: bool
    ) {
        let nodes: Vec<_> = zones.iter().enumerate()
            .map(|(n, zone)| Candidate { capacity: Capacity { cpu: Millicores(2000), memory: Bytes(1 << 50) }, ..labelled(n as u64, &[("zone", ZONES[*zone])]) })
            .collect();
        let mut fleet = Fleet::of(nodes.clone());
        let chosen = place_all(&mut fleet, &spread("zone", hard.then_some(1)), count).unwrap();
        let mut domains: BTreeMap<usize, usize> = zones.iter().map(|zone| (*zone, 0)).collect();
        for one in &chosen {
            *domains.get_mut(&zones[nodes.iter().position(|node| node.id == one.node).unwrap()]).unwrap() += 1;
        }
        let (least, most) = (domains.values().min().unwrap(), domains.values().max().unwrap());
        prop_assert!(most - least <= 1, "{domains:?}");
    }

    #[test]
    fn a_bound_on_skew_is_never_passed(nodes in nodes(), max in 1u32..3, count in 1u32..40) {
        let request = spread("zone", Some(max));
        let mut fleet = Fleet::of(nodes.clone());
        let (chosen, _) = place_some(&mut fleet, &request, count);
        let open = |node: &&Candidate| !node.cordoned && node.taints.is_empty() && node.label("zone").is_some();
        let mut domains: BTreeMap<&str, u32> = nodes.iter().filter(open).map(|node| (node.label("zone").unwrap(), 0)).collect();
        for one in &chosen {
            let node = nodes.iter().find(|node| node.id == one.node).unwrap();
            *domains.get_mut(node.label("zone").unwrap()).unwrap() += 1;
            prop_assert!(domains.values().max().unwrap() - domains.values().min().unwrap() <= max);
        }
    }
}
