use super::*;
use freehold_model::Capacity;
use proptest::prelude::*;

const MIB: u64 = 1 << 20;

fn node(n: u64, memory: u64, used: u64) -> Candidate {
    Candidate {
        id: NodeId(u128::from(n).into()),
        name: format!("n{n}"),
        cordoned: false,
        drivers: vec![Driver::Container],
        closed: None,
        capacity: Capacity { cpu: Millicores(2000), memory: Bytes(memory * MIB) },
        used: Capacity { cpu: Millicores(0), memory: Bytes(used * MIB) },
        instances: 0,
    }
}

fn request(memory: u64) -> Request {
    Request {
        driver: Driver::Container,
        egress: false,
        cpu: Millicores(500),
        memory: Bytes(memory * MIB),
        pin: None,
    }
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
    let error = place(&[cordoned, silent, bare, full, weak], &request(64)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "node n1 is cordoned; node n2 has not said yet what it has to give; node n3 cannot run containers \
         (`freehold doctor` there says why); node n4 has 50MiB of 500MiB memory left, 64MiB are wanted; \
         node n5 has 250m of processor, 500m are wanted"
    );
    assert_eq!(place(&[], &request(1)).unwrap_err().to_string(), "there is no node");
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
fn several_instances_spread() {
    let mut nodes = [node(1, 1000, 0), node(2, 1000, 0)];
    let placed = place_all(&mut nodes, &request(100), 4).unwrap();
    let on_first = placed.iter().filter(|one| one.name == "n1").count();
    assert_eq!((placed.len(), on_first), (4, 2));
}

#[test]
fn it_says_how_many_could_be_placed() {
    let mut nodes = [node(1, 250, 0)];
    assert_eq!(place_all(&mut nodes, &request(100), 3).unwrap_err().0, 2);
}

proptest! {
    #[test]
    fn memory_is_never_promised_twice_nor_refused_while_there_is_any(
        sizes in prop::collection::vec((1u64..2000, 0u64..2000), 1..6),
        memory in 1u64..700,
        count in 1u32..30,
    ) {
        let mut nodes: Vec<_> =
            sizes.iter().enumerate().map(|(n, (size, used))| node(n as u64, *size, *used)).collect();
        let before = nodes.clone();
        let outcome = place_all(&mut nodes, &request(memory), count);
        for (node, before) in nodes.iter().zip(&before) {
            let grew = node.used.memory != before.used.memory;
            prop_assert!(!grew || node.used.memory <= node.capacity.memory);
        }
        if outcome.is_err() {
            prop_assert!(nodes.iter().all(|node| node.free_memory() < request(memory).memory));
        }
    }
}
