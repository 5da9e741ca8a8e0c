use super::*;
use freehold_model::{Affinity, Capacity, EnvId, LabelKey, Spread};

mod evicting;
mod properties;
mod rules;

pub(crate) const MIB: u64 = 1 << 20;

pub(crate) fn node(n: u64, memory: u64, used: u64) -> Candidate {
    Candidate {
        id: NodeId(u128::from(n).into()),
        name: format!("n{n}"),
        labels: Default::default(),
        taints: Default::default(),
        cordoned: false,
        draining: false,
        away: false,
        drivers: vec![Driver::Container],
        closed: None,
        capacity: Capacity { cpu: Millicores(2000), memory: Bytes(memory * MIB) },
        used: Capacity { cpu: Millicores(0), memory: Bytes(used * MIB) },
        instances: 0,
    }
}

pub(crate) fn labelled(n: u64, labels: &[(&str, &str)]) -> Candidate {
    let labels = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    Candidate { labels, ..node(n, 1000, 0) }
}

pub(crate) fn key(text: &str) -> LabelKey {
    text.parse().unwrap()
}

pub(crate) fn request(memory: u64) -> Request {
    Request {
        env: Some(EnvId(1.into()).into()),
        process: "web".parse().unwrap(),
        driver: Driver::Container,
        egress: false,
        cpu: Millicores(500),
        memory: Bytes(memory * MIB),
        rules: Rules::default(),
        pin: None,
        home: None,
        priority: 0,
    }
}

pub(crate) fn spread(over: &str, max_skew: Option<u32>) -> Request {
    let spread = vec![Spread { over: key(over), max_skew }];
    Request { rules: Rules { spread, ..Rules::default() }, ..request(100) }
}

pub(crate) fn affine(affinity: Affinity) -> Request {
    Request { rules: Rules { affinity, ..Rules::default() }, ..request(100) }
}

/// Where one would go, on a fleet of its own.
pub(crate) fn place(nodes: &[Candidate], request: &Request) -> Result<Chosen, Unplaceable> {
    let mut fleet = Fleet::of(nodes.to_vec());
    place_all(&mut fleet, request, 1).map(|mut all| all.remove(0)).map_err(|(_, why)| why)
}

pub(crate) fn names(chosen: &[Chosen]) -> Vec<&str> {
    chosen.iter().map(|one| one.name.as_str()).collect()
}

#[test]
fn what_is_pinned_goes_there_or_nowhere() {
    let nodes = [node(1, 1000, 0), node(2, 400, 300)];
    let pinned = |memory, n: u64| Request { pin: Some(NodeId(u128::from(n).into())), ..request(memory) };
    assert_eq!(place(&nodes, &pinned(100, 2)).unwrap().name, "n2");
    let error = place(&nodes, &pinned(200, 2)).unwrap_err();
    let said =
        "node n1 is not where its volume is; node n2 has 100MiB of 400MiB memory left, 200MiB are wanted";
    assert_eq!(error.to_string(), said);
    assert!(place(&nodes, &pinned(1, 3)).is_err());
}

#[test]
fn the_node_with_most_memory_left_is_chosen() {
    let nodes = [node(1, 1000, 600), node(2, 800, 100), node(3, 300, 0)];
    let chosen = place(&nodes, &request(100)).unwrap();
    assert_eq!(chosen.name, "n2");
    assert_eq!(chosen.reason, "most memory left of 3 nodes that can take it");
    let elsewhere: Vec<_> = chosen.elsewhere.iter().map(ToString::to_string).collect();
    assert_eq!(elsewhere, ["n1, n3: less memory left"]);
    assert_eq!(chosen.scores, "0 of web on it, 2000m of processor, 700MiB of memory left before it");
    assert_eq!(place(&nodes[..1], &request(100)).unwrap().reason, "the only node");
}

#[test]
fn each_refusal_says_why_with_figures() {
    let cordoned = Candidate { cordoned: true, ..node(1, 500, 0) };
    let silent = node(2, 0, 0);
    let bare = Candidate { drivers: vec![Driver::Process], ..node(3, 500, 0) };
    let full = node(4, 500, 450);
    let weak = Candidate {
        capacity: Capacity { cpu: Millicores(250), memory: Bytes(500 * MIB) },
        ..node(5, 500, 0)
    };
    let draining = Candidate { draining: true, cordoned: true, ..node(6, 500, 0) };
    let away = Candidate { away: true, ..node(7, 500, 0) };
    let error = place(&[cordoned, silent, bare, full, weak, draining, away], &request(64)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "node n1 is cordoned; node n2 has not said yet what it has to give; node n3 cannot run containers \
         (`freehold doctor` there says why); node n4 has 50MiB of 500MiB memory left, 64MiB are wanted; \
         node n5 has 250m of processor, 500m are wanted; node n6 is being drained; node n7 does not answer"
    );
    assert_eq!(place(&[], &request(1)).unwrap_err().to_string(), "there is no node");
}

#[test]
fn many_nodes_of_one_reason_are_told_together() {
    let nodes: Vec<_> = (0..500).map(|n| node(n, 100 + n % 2, 90)).collect();
    let error = place(&nodes, &request(64)).unwrap_err();
    assert_eq!(error.to_string(), "node n0, n1, n2 and 497 more: too little memory left, 64MiB are wanted");
    assert!(error.is_want_of_room());
}

#[test]
fn egress_goes_where_there_is_a_way_out() {
    let closed = |n| Candidate { closed: Some("no root".into()), ..node(n, 1000, 0) };
    let nodes = [closed(1), node(2, 400, 0)];
    let reaching = Request { egress: true, ..request(100) };
    assert_eq!(place(&nodes, &request(100)).unwrap().name, "n1");
    assert_eq!(place(&nodes, &reaching).unwrap().name, "n2");
    let error = place(&nodes[..1], &reaching).unwrap_err().to_string();
    assert!(error.contains("no root") && error.contains("remove `egress`"), "{error}");
}

#[test]
fn several_instances_go_to_several_nodes_even_to_smaller_ones() {
    let mut fleet = Fleet::of(vec![node(1, 9000, 0), node(2, 1000, 0)]);
    let placed = place_all(&mut fleet, &request(100), 4).unwrap();
    assert_eq!(names(&placed), ["n1", "n2", "n1", "n2"]);
    assert_eq!(placed[1].reason, "of 2 nodes that can take it: fewest of web on it");
}

#[test]
fn an_env_stays_together_unless_the_manifest_says_otherwise() {
    let nodes = vec![node(1, 9000, 0), node(2, 1000, 800)];
    let home = |request: Request| Request { home: Some(NodeId(2.into())), ..request };
    let placed = place_all(&mut Fleet::of(nodes.clone()), &home(request(100)), 3).unwrap();
    assert_eq!(names(&placed), ["n2", "n2", "n1"], "where there is room");
    assert_eq!(placed[0].reason, "of 2 nodes that can take it: together with its env");
    assert_eq!(placed[0].elsewhere[0].to_string(), "n1: not where the rest of its env is");
    let placed = place_all(&mut Fleet::of(nodes), &home(spread("host", None)), 2).unwrap();
    assert_eq!(names(&placed), ["n1", "n2"]);
}

#[test]
fn a_node_whose_processor_is_promised_comes_after_one_with_some_left() {
    let mut busy = node(1, 9000, 0);
    busy.used.cpu = Millicores(1800);
    let chosen = place(&[busy, node(2, 1000, 0)], &request(100)).unwrap();
    assert_eq!(
        (chosen.name.as_str(), chosen.elsewhere[0].why.as_str()),
        ("n2", "its processor is promised already")
    );
}

#[test]
fn it_says_how_many_could_be_placed() {
    let mut fleet = Fleet::of(vec![node(1, 250, 0)]);
    assert_eq!(place_all(&mut fleet.clone(), &request(100), 3).unwrap_err().0, 2);
    let (placed, why) = place_some(&mut fleet, &request(100), 3);
    assert_eq!((placed.len(), why.unwrap().refusals.len()), (2, 1));
}
