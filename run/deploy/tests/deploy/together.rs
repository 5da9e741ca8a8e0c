//! Until instances of different nodes reach each other, the processes of an env share a node.

use crate::house::{House, image, manifest, name};
use freehold_model::{Bytes, Capacity, Manifest, Millicores, NodeId, Spread, manifest::Volume};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// `web` after `db`, with the memory of each in MiB.
fn pair(web: u32, db: u64, count: u32) -> Manifest {
    let mut manifest = manifest(count);
    let mut store = manifest.process["web"].clone();
    (store.count, store.memory) = (1, Bytes(db << 20));
    manifest.process.insert(name("db"), store);
    let front = manifest.process.get_mut("web").unwrap();
    front.memory = Bytes(u64::from(web) << 20);
    front.after = vec![name("db")];
    manifest
}

fn nodes(house: &House) -> BTreeSet<NodeId> {
    house.instances().iter().map(|it| it.spec.node).collect()
}

#[test]
fn an_env_is_not_split_and_stays_where_it_is() {
    let mut house = House::new();
    let attic = house.join("attic", "a");
    house.deploy_well(&pair(64, 64, 2));
    assert_eq!(nodes(&house).len(), 1);
    let at = *nodes(&house).first().unwrap();
    let roomier = if at == attic { house.node } else { attic };
    house.change_node(roomier, |node| node.status.capacity.memory = Bytes(64 << 30));
    let plan = house.plan(&pair(64, 64, 2), &image("two"), true).unwrap();
    assert!(plan.notes.is_empty(), "{:?}", plan.notes);
    assert!(plan.placement.iter().all(|it| it.node == at && it.reason.contains("together with its env")));
    let receipt = house.apply(&plan).unwrap();
    house.let_it_go_well(receipt);
    assert_eq!(nodes(&house), [at].into(), "a redeploy of all of it");
}

#[test]
fn where_the_bytes_are_is_home() {
    let mut house = House::new();
    let attic = house.join("attic", "a");
    house.change_node(house.node, |node| node.spec.cordoned = true);
    let mut kept = pair(64, 64, 1);
    kept.process.get_mut("web").unwrap().after.clear();
    let (volume, path, size) = (name("data"), "/data".into(), Bytes(1 << 20));
    kept.volume.push(Volume { name: volume, process: name("web"), path, size });
    house.deploy_well(&kept);
    assert_eq!(nodes(&house), [attic].into());
    house.change_node(house.node, |node| {
        node.spec.cordoned = false;
        node.status.capacity.memory = Bytes(64 << 30);
    });
    house.remove();
    for _ in 0..4 {
        house.reconcile();
        house.instances().iter().for_each(|it| house.report(it, crate::house::ideal(it)));
    }
    house.deploy_well(&kept);
    assert_eq!(nodes(&house), [attic].into(), "`db` is placed first, and follows the volume of `web`");
}

#[test]
fn what_does_not_fit_together_is_placed_and_warned_of() {
    let mut house = House::new();
    house.join("attic", "a");
    let plan = house.plan(&pair(700, 700, 1), &image("one"), false).unwrap();
    assert!(plan.blockers.is_empty());
    let [note] = &plan.notes[..] else { panic!("{:?}", plan.notes) };
    assert!(note.starts_with("web comes after db and would be on "), "{note}");
    assert!(note.contains("instances of different nodes do not reach each other yet"), "{note}");
    let mut spread = pair(64, 64, 2);
    spread.process.get_mut("web").unwrap().spread =
        vec![Spread { over: "host".parse().unwrap(), max_skew: None }];
    let plan = house.plan(&spread, &image("one"), false).unwrap();
    assert_eq!(
        plan.placement.iter().filter(|it| it.process == name("web")).count(),
        2,
        "as the manifest says"
    );
    assert_eq!(plan.notes.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whenever one node holds all of an env without rules of its own, all of it is on one node.
    #[test]
    fn an_env_that_fits_on_a_node_is_on_one(
        sizes in prop::collection::vec(100u64..2000, 1..5),
        (web, db, count) in (10u32..400, 10u64..400, 1u32..4),
    ) {
        let mut house = House::new();
        let capacity = |memory: u64| Capacity { cpu: Millicores(4000), memory: Bytes(memory << 20) };
        for (n, size) in sizes.iter().enumerate() {
            let id = if n == 0 { house.node } else { house.join(&format!("n{n}"), "a") };
            house.change_node(id, |node| node.status.capacity = capacity(*size));
        }
        let plan = house.plan(&pair(web, db, count), &image("one"), false).unwrap();
        let all = u64::from(web) * u64::from(count) + db;
        let used: BTreeSet<NodeId> = plan.placement.iter().map(|it| it.node).collect();
        if sizes.iter().any(|size| *size >= all) {
            prop_assert_eq!(used.len(), 1, "{:?}", plan.placement);
            prop_assert!(plan.notes.is_empty());
        } else if plan.blockers.is_empty() && used.len() > 1 {
            prop_assert!(!plan.notes.is_empty(), "{:?}", plan.placement);
        }
        if used.len() == 1 && plan.blockers.is_empty() {
            let receipt = house.apply(&plan).unwrap();
            house.let_it_go_well(receipt);
            prop_assert_eq!(nodes(&house), used, "the rollout does as planned");
        }
    }
}
