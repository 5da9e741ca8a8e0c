//! Several nodes: instances go where the manifest says, and say why.

use crate::house::{House, changed, manifest, name};
use freehold_model::{
    Affinity, Bytes, Capacity, Code, InstanceSpec, Manifest, Millicores, Node, NodeId, NodeSpec, Spread, Txn,
    manifest::Driver,
};
use freehold_reconcile::{Ids, View, ViewExt};
use std::collections::BTreeMap;

impl House {
    /// One more node of a GiB, in `zone`.
    pub(crate) fn join(&mut self, node: &str, zone: &str) -> NodeId {
        let now = self.clock.after(0);
        let mut node = Node::new(NodeId(self.ids.ulid()), node, None, NodeSpec::default(), now);
        node.labels = BTreeMap::from([("zone".into(), zone.into())]);
        node.status.capacity = Capacity { cpu: Millicores(2000), memory: Bytes(1 << 30) };
        node.status.drivers = vec![Driver::Container];
        let mut txn = Txn::new(freehold_model::Actor::System, "join", "test");
        txn.put(&node);
        self.store.commit_now(txn).unwrap();
        node.id
    }

    pub(crate) fn change_node(&self, id: NodeId, change: impl FnOnce(&mut Node)) {
        let mut node = self.view().find::<NodeSpec>(id).unwrap().unwrap();
        change(&mut node);
        let mut txn = Txn::new(freehold_model::Actor::System, "change", "test");
        txn.put(&node);
        self.store.commit_now(txn).unwrap();
    }

    /// How many instances are on each node, told to stop or not.
    pub(crate) fn spread(&self) -> BTreeMap<String, usize> {
        let mut all = BTreeMap::new();
        for instance in self.instances() {
            let node = self.view().find::<NodeSpec>(instance.spec.node).unwrap().unwrap();
            *all.entry(node.name).or_insert(0) += 1;
        }
        all
    }
}

fn spread(count: u32, max_skew: Option<u32>) -> Manifest {
    let mut manifest = manifest(count);
    let over = "zone".parse().unwrap();
    manifest.process.get_mut("web").unwrap().spread = vec![Spread { over, max_skew }];
    manifest
}

fn by_node(counts: &[(&str, usize)]) -> BTreeMap<String, usize> {
    counts.iter().map(|(node, count)| ((*node).to_owned(), *count)).collect()
}

#[test]
fn a_release_is_spread_and_each_instance_keeps_why() {
    let mut house = House::new();
    house.change_node(house.node, |node| drop(node.labels.insert("zone".into(), "a".into())));
    house.join("attic", "a");
    house.join("cellar", "b");
    let receipt = house.deploy_well(&spread(4, None));
    assert_eq!(receipt.status.reason.as_deref(), Some("v1 runs: web 4 of 4 healthy"));
    assert_eq!(house.spread(), by_node(&[("tower", 1), ("attic", 1), ("cellar", 2)]));
    let instances = house.instances();
    let placed = &instances[1].spec.placed;
    assert_eq!(placed.reason, "of 3 nodes that can take it: zone b has the fewest of web");
    let elsewhere: Vec<_> = placed.elsewhere.iter().map(ToString::to_string).collect();
    assert_eq!(elsewhere, ["tower, attic: more of web in its zone"]);
    // The next release is spread by itself, whatever is still there of the one before.
    let mut next = spread(4, Some(1));
    next.process.get_mut("web").unwrap().env.insert("LOG".into(), "debug".into());
    let receipt = house.deploy_well(&next);
    assert_eq!(receipt.status.reason.as_deref(), Some("v2 runs: web 4 of 4 healthy"));
    assert_eq!(house.spread(), by_node(&[("tower", 1), ("attic", 1), ("cellar", 2)]));
}

#[test]
fn one_to_a_node_can_be_replaced_and_not_exceeded() {
    let mut house = House::new();
    house.join("attic", "a");
    let alone = |mut manifest: Manifest| {
        let affinity = Affinity { apart: vec![name("web")], ..Affinity::default() };
        manifest.process.get_mut("web").unwrap().affinity = affinity;
        manifest
    };
    house.deploy_well(&alone(manifest(2)));
    assert_eq!(house.spread(), by_node(&[("tower", 1), ("attic", 1)]));
    house.deploy_well(&alone(changed(2, "debug")));
    assert_eq!(house.spread(), by_node(&[("tower", 1), ("attic", 1)]));
    let plan = house.plan(&alone(changed(3, "debug")), &crate::house::image("one"), false).unwrap();
    let [problem] = &plan.blockers[..] else { panic!("{:?}", plan.blockers) };
    assert_eq!(
        (problem.code, problem.title.as_str()),
        (Code::Unplaceable, "web: 0 of 1 new instances can be placed")
    );
    let detail = problem.detail.as_deref().unwrap();
    assert!(detail.contains("node attic has an instance of web, which it is kept apart from"), "{detail}");
}

#[test]
fn a_plan_says_why_not_elsewhere_and_its_hash_does_not_depend_on_it() {
    let mut house = House::new();
    let attic = house.join("attic", "a");
    house.change_node(attic, |node| {
        node.spec.taints.insert("hardware/gpu".parse().unwrap());
    });
    let plan = |house: &House| house.plan(&manifest(1), &crate::house::image("one"), false).unwrap();
    let before = plan(&house);
    let place = &before.placement[0];
    assert_eq!(
        (place.node_name.as_str(), place.reason.as_str()),
        ("tower", "the only one of 2 nodes that can take it")
    );
    assert_eq!(
        place.elsewhere[0].to_string(),
        "attic: is tainted hardware/gpu, which the process does not tolerate"
    );
    house.change_node(attic, |node| {
        node.spec.taints.clear();
        node.spec.cordoned = true;
    });
    let after = plan(&house);
    assert_eq!(after.placement[0].elsewhere[0].to_string(), "attic: is cordoned");
    assert_eq!(before.hash, after.hash);
}

#[test]
fn priority_alone_replaces_nothing_and_is_told() {
    let mut house = House::new();
    crate::preempting::allow(&house, 100);
    house.deploy_well(&manifest(1));
    let before = crate::house::ids(&house.instances());
    let mut first = manifest(1);
    first.process.get_mut("web").unwrap().priority = 100;
    let plan = house.plan(&first, &crate::house::image("one"), false).unwrap();
    let change = plan.changes.iter().find(|change| change.kind == "process").unwrap();
    assert_eq!((change.keep, change.fields[0].path.as_str()), (1, "priority"));
    house.deploy_well(&first);
    assert_eq!(crate::house::ids(&house.instances()), before);
    let view = house.view();
    assert_eq!(view.all::<InstanceSpec>(None).unwrap()[0].spec.placed.priority, 100);
    assert!(view.version().unwrap() > 0);
}
