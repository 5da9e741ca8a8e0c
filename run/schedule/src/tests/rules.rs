//! Labels, taints, keeping apart and spreading, one rule at a time.

use super::*;

fn selector(key_text: &str, values: &[&str]) -> freehold_model::Selector {
    [(key(key_text), values.iter().map(|it| (*it).into()).collect())].into()
}

#[test]
fn a_required_label_is_a_must_and_a_preferred_one_a_wish() {
    let nodes = [
        labelled(1, &[("zone", "attic")]),
        labelled(2, &[("zone", "cellar"), ("disk", "ssd")]),
        node(3, 5000, 0),
    ];
    let require = |values| affine(Affinity { require: selector("zone", values), ..Affinity::default() });
    assert_eq!(place(&nodes, &require(&["cellar"])).unwrap().name, "n2");
    assert_eq!(place(&nodes, &require(&["attic", "cellar"])).unwrap().name, "n1");
    let error = place(&nodes, &require(&["garage"])).unwrap_err().to_string();
    assert_eq!(
        error,
        "node n1 has zone=attic, garage is required; node n2 has zone=cellar, garage is required; \
         node n3 has no label zone, garage is required"
    );
    let prefer = |values| affine(Affinity { prefer: selector("disk", values), ..Affinity::default() });
    let chosen = place(&nodes, &prefer(&["ssd"])).unwrap();
    assert_eq!(chosen.name, "n2");
    assert_eq!(chosen.reason, "of 3 nodes that can take it: most of the preferred labels");
    assert_eq!(place(&nodes, &prefer(&["tape"])).unwrap().name, "n3", "a wish is no must");
}

#[test]
fn every_node_is_its_own_host() {
    let nodes = [node(1, 5000, 0), node(2, 1000, 0)];
    let there = affine(Affinity { require: selector("host", &["n2"]), ..Affinity::default() });
    assert_eq!(place(&nodes, &there).unwrap().name, "n2");
}

#[test]
fn a_taint_keeps_away_whoever_does_not_tolerate_it() {
    let tainted = Candidate { taints: [key("hardware/gpu")].into(), ..node(1, 9000, 0) };
    let nodes = [tainted, node(2, 500, 0)];
    assert_eq!(place(&nodes, &request(100)).unwrap().name, "n2");
    let tolerant =
        Request { rules: Rules { tolerate: vec![key("hardware/gpu")], ..Rules::default() }, ..request(100) };
    assert_eq!(place(&nodes, &tolerant).unwrap().name, "n1");
    let error = place(&nodes[..1], &request(100)).unwrap_err().to_string();
    assert_eq!(error, "node n1 is tainted hardware/gpu, which the process does not tolerate");
}

#[test]
fn apart_works_both_ways_and_within_one_env() {
    let apart = |process: &str, from: &str| Request {
        process: process.parse().unwrap(),
        ..affine(Affinity { apart: vec![from.parse().unwrap()], ..Affinity::default() })
    };
    let mut fleet = Fleet::of(vec![node(1, 1000, 0), node(2, 900, 0)]);
    place_all(&mut fleet, &apart("db", "web"), 1).unwrap();
    // Memory speaks for n1 still, and web says nothing of db; db does.
    let (placed, why) = place_some(&mut fleet, &request(100), 2);
    assert_eq!(names(&placed), ["n2", "n2"]);
    assert_eq!(why, None);
    assert_eq!(placed[0].elsewhere[0].to_string(), "n1: has an instance of db, which it is kept apart from");
    let mut other = request(100);
    other.env = Some(EnvId(2.into()).into());
    assert_eq!(names(&place_all(&mut fleet, &other, 1).unwrap()), ["n1"]);
    // With its own name: one to a node.
    let mut fleet = Fleet::of(vec![node(1, 1000, 0), node(2, 900, 0)]);
    let (count, why) = place_all(&mut fleet, &apart("web", "web"), 3).unwrap_err();
    assert_eq!(count, 2);
    assert!(why.to_string().contains("node n1 has an instance of web, which it is kept apart from"), "{why}");
}

#[test]
fn a_process_is_spread_over_domains_before_anything_else() {
    let zone = |n, zone, memory| Candidate {
        labels: [("zone".into(), String::from(zone))].into(),
        ..node(n, memory, 0)
    };
    let nodes = vec![zone(1, "a", 9000), zone(2, "a", 9000), zone(3, "b", 500), node(4, 8000, 0)];
    let mut fleet = Fleet::of(nodes.clone());
    let placed = place_all(&mut fleet, &spread("zone", None), 6).unwrap();
    assert_eq!(names(&placed), ["n1", "n4", "n3", "n2", "n4", "n3"]);
    assert_eq!(placed[2].reason, "of 4 nodes that can take it: zone b has the fewest of web");
    assert!(placed[3].scores.starts_with("1 of web in zone a, 0 of web on it"), "{}", placed[3].scores);
    // The soft rule fills what is left; the hard one rather does not place.
    assert!(place_all(&mut Fleet::of(nodes.clone()), &spread("zone", None), 20).is_ok());
    let (count, why) = place_all(&mut Fleet::of(nodes), &spread("zone", Some(1)), 20).unwrap_err();
    assert_eq!(count, 11, "five in b, six in a");
    let why = why.to_string();
    assert!(
        why.contains("node n1 is in zone a, which would have more than 1 more")
            && why.contains("node n4 has no label zone"),
        "{why}"
    );
}

#[test]
fn what_leaves_is_neither_spread_among_nor_kept_apart_from() {
    // Start before stop: where one instance runs on each node and one to a node is the rule, the next
    // release finds room only if the present one does not count.
    let nodes = stored();
    let (mut old, env) = (vec![], EnvId(1.into()));
    for (n, node) in nodes.iter().enumerate() {
        old.push(instance(n as u64, env, node.id));
    }
    let request = affine(Affinity { apart: vec!["web".parse().unwrap()], ..Affinity::default() });
    assert!(place_all(&mut Fleet::new(&nodes, &old, |_| false), &request, 2).is_err());
    let mut fleet = Fleet::new(&nodes, &old, |_| true);
    assert_eq!(names(&place_all(&mut fleet, &request, 2).unwrap()), ["n0", "n1"]);
    assert_eq!(fleet.nodes()[0].used.memory, Bytes(164 * MIB), "but its memory is in use until it is gone");
}

fn stored() -> Vec<freehold_model::Node> {
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let one = |n: u64| {
        let id = NodeId(u128::from(n).into());
        let mut node = freehold_model::Node::new(id, format!("n{n}"), None, Default::default(), now);
        node.status.capacity = Capacity { cpu: Millicores(2000), memory: Bytes(1000 * MIB) };
        node.status.drivers = vec![Driver::Container];
        node
    };
    vec![one(0), one(1)]
}

fn instance(n: u64, env: EnvId, node: NodeId) -> freehold_model::Instance {
    let spec = serde_json::json!({
        "node": node, "process": "web", "release": "rel_00000000000000000000000001",
        "template": {
            "image": {"reference": "web:1", "digest": freehold_model::Digest::of(b"")}, "driver": "container",
            "cpu": "100m", "memory": "64MiB", "stop_timeout": "10s",
        },
        "template_hash": freehold_model::Digest::of(b""), "address": "10.210.0.2", "desired": "running",
        "serving": true,
    });
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let id = freehold_model::InstanceId(u128::from(n).into());
    freehold_model::Instance::new(id, "i", Some(env.into()), serde_json::from_value(spec).unwrap(), now)
}
