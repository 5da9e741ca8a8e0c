//! Ports that change, and ports that can't be opened: what serves goes on until the new one is open.

use crate::house::{House, changed, healthy, manifest, name, steps};
use freehold_model::{
    Actor, Desired, Endpoint, EndpointStatus, Manifest, Node, NodeId, NodeSpec, NodeStatus, Phase, ReceiptId,
    RolloutPhase, Txn, Verdict,
};
use freehold_reconcile::Ids;

/// The same app at port 9000.
fn moved(manifest: Manifest) -> Manifest {
    let mut manifest = manifest;
    manifest.endpoint[0].listen = 9000;
    manifest
}

fn find(house: &House, port: &str) -> Option<Endpoint> {
    house.endpoints().into_iter().find(|it| it.name == port)
}

/// The edge says that `port` is another program's, and opens all others.
fn edge_lacks(house: &House, port: &str) {
    house.edge_says(|endpoint, applied| EndpointStatus {
        listening: endpoint.name != port && endpoint.deleting.is_none(),
        message: (endpoint.name == port).then(|| "port 9000 is taken by python3 (pid 7)".into()),
        applied,
        ..EndpointStatus::default()
    });
}

/// v1 serves at 8000; v2, which wants 9000, is healthy.
fn midway(house: &mut House) -> ReceiptId {
    house.deploy_well(&manifest(1));
    let receipt = house.deploy(&moved(changed(1, "debug")));
    house.reconcile();
    let new = house.instances().into_iter().find(|it| !it.spec.serving).unwrap();
    house.report(&new, healthy());
    house.reconcile();
    receipt
}

#[test]
fn a_port_that_cannot_be_opened_leaves_the_old_release_at_its_own() {
    let mut house = House::new();
    let receipt = midway(&mut house);
    edge_lacks(&house, "tcp/9000");
    house.reconcile();
    assert_eq!(house.receipt(receipt).status.verdict, None, "the port may be had in a moment");
    house.pass(9_999);
    house.reconcile();
    assert_eq!(house.rollout().status.phase, RolloutPhase::Starting);
    house.pass(1);
    house.reconcile();
    assert_eq!(house.rollout().status.phase, RolloutPhase::Restoring);
    let receipt = house.let_it_go_well(receipt);
    assert_eq!(receipt.status.verdict, Some(Verdict::Failed));
    let why = "endpoint tcp/9000 is not open: port 9000 is taken by python3 (pid 7)";
    assert_eq!(receipt.status.reason.as_deref(), Some(why));
    assert_eq!(steps(&receipt), ["start", "restore"]);
    assert_eq!(receipt.status.steps[1].detail, "stop 1 instance, close tcp/9000; v1 goes on");
    let old = house.instances();
    assert!(old.len() == 1 && old[0].spec.serving && old[0].generation == 2, "never touched: {old:#?}");
    assert!(find(&house, "tcp/9000").is_none() && find(&house, "tcp/8000").unwrap().status.listening);
    house.occupy("tcp/9000");
}

#[test]
fn an_edge_that_says_nothing_of_a_new_port_takes_nothing_down() {
    let mut house = House::new();
    let receipt = midway(&mut house);
    house.pass(299_000);
    house.reconcile();
    assert_eq!(house.rollout().status.phase, RolloutPhase::Starting);
    house.pass(1_000);
    house.reconcile();
    let receipt = house.let_it_go_well(receipt);
    let why = "endpoint tcp/9000 has not been opened yet: its edge does not answer";
    assert_eq!(receipt.status.reason.as_deref(), Some(why));
    assert!(find(&house, "tcp/8000").is_some() && find(&house, "tcp/9000").is_none());
}

#[test]
fn a_port_of_a_first_release_that_cannot_be_opened_leaves_nothing() {
    let mut house = House::new();
    let receipt = house.deploy(&moved(manifest(1)));
    house.reconcile();
    edge_lacks(&house, "tcp/9000");
    house.pass(10_000);
    house.reconcile();
    assert_eq!(house.let_it_go_well(receipt).status.verdict, Some(Verdict::Failed));
    assert!(house.instances().is_empty() && house.endpoints().is_empty());
}

#[test]
fn a_volume_is_not_taken_from_its_process_before_the_new_port_is_open() {
    let mut house = House::new();
    let with_volume = |log: &str| {
        let (mut manifest, size) = (changed(1, log), freehold_model::Bytes(1 << 20));
        let (volume, process) = (name("data"), name("web"));
        let path = "/data".into();
        manifest.volume.push(freehold_model::manifest::Volume { name: volume, process, path, size });
        manifest
    };
    house.deploy_well(&with_volume("info"));
    let receipt = house.deploy(&moved(with_volume("debug")));
    house.reconcile();
    edge_lacks(&house, "tcp/9000");
    house.pass(10_000);
    house.reconcile();
    let receipt = house.let_it_go_well(receipt);
    assert_eq!(steps(&receipt), ["open", "restore"], "the old instance was not stopped");
    assert_eq!(house.instances()[0].generation, 1 + 1, "made, and made to serve: nothing else");
}

/// Seen: connections at the old port were cut as soon as the old instance had stopped.
#[test]
fn connections_at_a_port_that_goes_are_waited_for() {
    let mut house = House::new();
    let receipt = midway(&mut house);
    let old = house.instances().into_iter().find(|it| it.spec.serving).unwrap();
    house.edge_applies();
    house.reconcile();
    assert_eq!(house.rollout().status.phase, RolloutPhase::Draining);
    let draining = |house: &House, open: u32| {
        house.edge_says(|endpoint, applied| EndpointStatus {
            listening: endpoint.deleting.is_none(),
            applied,
            draining: (endpoint.name == "tcp/8000").then_some((old.id, open)).into_iter().collect(),
            ..EndpointStatus::default()
        });
    };
    draining(&house, 2);
    house.pass(9_000);
    house.reconcile();
    assert!(find(&house, "tcp/8000").is_some_and(|it| it.deleting.is_some()), "it takes no new ones");
    let still = |house: &House| house.instances().into_iter().find(|it| it.id == old.id).unwrap();
    assert_eq!(still(&house).spec.desired, Desired::Running);
    draining(&house, 0);
    house.reconcile();
    assert_eq!(still(&house).spec.desired, Desired::Stopped);
    assert!(find(&house, "tcp/8000").is_none());
    assert_eq!(house.let_it_go_well(receipt).status.verdict, Some(Verdict::Succeeded));
}

/// The instance stays, only its port changes: who is connected through the old one is waited for as well.
#[test]
fn a_port_drains_even_where_its_instance_stays() {
    let mut house = House::new();
    house.deploy_well(&manifest(1));
    let stays = house.instances().remove(0);
    let receipt = house.deploy(&moved(manifest(1)));
    house.reconcile();
    house.edge_applies();
    house.reconcile();
    house.edge_says(|endpoint, applied| EndpointStatus {
        listening: endpoint.deleting.is_none(),
        applied,
        draining: endpoint.deleting.map(|_| (stays.id, 1)).into_iter().collect(),
        ..EndpointStatus::default()
    });
    house.pass(9_999);
    house.reconcile();
    assert_eq!(house.rollout().status.phase, RolloutPhase::Draining);
    house.pass(1);
    house.reconcile();
    let receipt = house.let_it_go_well(receipt);
    let drain = receipt.status.steps.iter().find(|step| step.name == "drain").unwrap();
    assert_eq!(drain.detail, "nothing to leave; 1 connection cut after 10s");
    assert_eq!(house.endpoints().len(), 1);
    assert_eq!(house.instances()[0].id, stays.id);
}

/// Every node with instances that are to serve must have the port open, not only those that have spoken.
#[test]
fn a_node_whose_edge_has_not_spoken_keeps_the_old_ones_serving() {
    let mut house = House::new();
    let far = NodeId(house.ids.ulid());
    house.deploy_well(&manifest(1));
    let (near, capacity) = (house.node, house.node().status.capacity);
    let mut node = Node::new(far, "attic", None, NodeSpec::default(), house.clock.after(0));
    node.status = NodeStatus { capacity, remote: true, ..NodeStatus::default() };
    node.status.drivers = vec![freehold_model::manifest::Driver::Container];
    let mut txn = Txn::new(Actor::System, "another node", "test");
    let mut here = house.node();
    here.spec.cordoned = true;
    txn.put(&node).put_spec(&here);
    house.store.commit_now(txn).unwrap();
    let receipt = house.deploy(&changed(1, "debug"));
    house.reconcile();
    let new = house.instances().into_iter().find(|it| it.spec.node == far).unwrap();
    house.report(&new, healthy());
    let part = |listening| EndpointStatus { listening, ..EndpointStatus::default() };
    let parts = |house: &mut House, nodes: &[NodeId]| {
        house.edge_says(|_, applied| EndpointStatus {
            listening: true,
            applied,
            nodes: nodes.iter().map(|node| (*node, part(true))).collect(),
            ..EndpointStatus::default()
        });
        house.reconcile();
    };
    parts(&mut house, &[near]);
    assert_eq!(house.rollout().status.phase, RolloutPhase::Starting, "attic has not said anything");
    parts(&mut house, &[near, far]);
    assert_eq!(house.rollout().status.phase, RolloutPhase::Draining);
    parts(&mut house, &[near]);
    assert_eq!(house.rollout().status.phase, RolloutPhase::Draining, "attic was away and is back");
    parts(&mut house, &[near, far]);
    assert_eq!(house.rollout().status.phase, RolloutPhase::Stopping);
    assert_ne!(new.status.phase, Phase::Stopped);
    assert_eq!(house.let_it_go_well(receipt).status.verdict, Some(Verdict::Succeeded));
}
