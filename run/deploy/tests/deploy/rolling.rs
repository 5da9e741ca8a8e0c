//! A rollout that goes well, phase by phase.

use crate::house::{House, changed, healthy, ideal, ids, manifest, steps};
use freehold_model::{Desired, EndpointStatus, InstanceStatus, Phase, RolloutPhase, Verdict};

#[test]
fn a_first_release_starts_shifts_and_succeeds() {
    let mut house = House::new();
    let receipt = house.deploy(&manifest(2));
    house.reconcile();
    let instances = house.instances();
    let said: Vec<_> = instances.iter().map(|it| (it.spec.address.to_string(), it.spec.serving)).collect();
    assert_eq!(said, [("10.210.0.2".to_owned(), false), ("10.210.0.3".to_owned(), false)]);
    house.report(&instances[0], healthy());
    house.reconcile();
    assert!(house.instances().iter().all(|it| !it.spec.serving), "one of two is healthy: not yet");
    house.report(&instances[1], healthy());
    house.reconcile();
    assert_eq!(house.rollout().status.phase, RolloutPhase::Starting, "until its port is open");
    house.edge_applies();
    house.reconcile();
    assert!(house.instances().iter().all(|it| it.spec.serving));
    assert_eq!(house.rollout().status.phase, RolloutPhase::Draining, "until the edge has applied it");
    house.edge_applies();
    house.reconcile();
    let receipt = house.receipt(receipt);
    assert_eq!(receipt.status.verdict, Some(Verdict::Succeeded));
    assert_eq!(receipt.status.reason.as_deref(), Some("v1 runs: web 2 of 2 healthy"));
    assert_eq!(steps(&receipt), ["start", "shift", "drain", "stop"]);
    assert!(receipt.status.steps.iter().all(|step| step.finished.is_some()));
    assert_eq!(receipt.status.instances.len(), 2);
    assert!(house.env().spec.release.is_some());
}

#[test]
fn the_old_ones_stop_only_when_shifted_applied_and_drained() {
    let mut house = House::new();
    house.deploy_well(&manifest(1));
    let old = house.instances().remove(0);
    let receipt = house.deploy(&changed(1, "debug"));
    house.reconcile();
    let new = house.instances().into_iter().find(|it| it.id != old.id).unwrap();
    let find = |house: &House| house.instances().into_iter().find(|it| it.id == old.id).unwrap();
    assert!(find(&house).spec.serving, "the old one serves while the new one starts");
    house.report(&new, healthy());
    house.reconcile();
    assert_eq!((find(&house).spec.serving, find(&house).spec.desired), (false, Desired::Running));
    house.edge_says(|endpoint, version| EndpointStatus {
        applied: version,
        draining: [(old.id, 3)].into(),
        ..endpoint.status.clone()
    });
    house.reconcile();
    assert_eq!(find(&house).spec.desired, Desired::Running, "three connections are open");
    house.edge_applies();
    house.edge_says(|endpoint, _| EndpointStatus { draining: [].into(), ..endpoint.status.clone() });
    house.reconcile();
    assert_eq!(find(&house).spec.desired, Desired::Stopped);
    assert_eq!(house.receipt(receipt).status.verdict, None, "it is not gone yet");
    house.report(&old, ideal(&find(&house)));
    house.reconcile();
    assert_eq!(ids(&house.instances()), [new.any_id()]);
    assert_eq!(house.receipt(receipt).status.verdict, Some(Verdict::Succeeded));
}

#[test]
fn connections_that_never_end_are_cut_after_ten_seconds() {
    let mut house = House::new();
    house.deploy_well(&manifest(1));
    let old = house.instances().remove(0);
    house.deploy(&changed(1, "debug"));
    house.reconcile();
    let new = house.instances().into_iter().find(|it| it.id != old.id).unwrap();
    house.report(&new, healthy());
    house.reconcile();
    let desired = |house: &House| house.instances().iter().find(|it| it.id == old.id).unwrap().spec.desired;
    house.pass(9_999);
    house.reconcile();
    assert_eq!(desired(&house), Desired::Running);
    house.pass(1);
    house.reconcile();
    assert_eq!(desired(&house), Desired::Stopped);
}

#[test]
fn the_old_ones_wait_while_the_new_ones_are_ill() {
    let mut house = House::new();
    house.deploy_well(&manifest(1));
    let old = house.instances().remove(0);
    house.deploy(&changed(1, "debug"));
    house.reconcile();
    let new = house.instances().into_iter().find(|it| it.id != old.id).unwrap();
    house.report(&new, healthy());
    house.reconcile();
    house.report(&new, InstanceStatus { healthy: false, ..healthy() });
    house.edge_applies();
    house.pass(20_000);
    house.reconcile();
    assert!(house.instances().iter().all(|it| it.spec.desired == Desired::Running));
    house.report(&new, healthy());
    house.reconcile();
    assert_eq!(house.rollout().status.phase, RolloutPhase::Stopping);
}

#[test]
fn scaling_up_restarts_nothing() {
    let mut house = House::new();
    house.deploy_well(&manifest(1));
    let before = house.instances();
    house.deploy_well(&manifest(3));
    let after = house.instances();
    assert_eq!((after.len(), after[0].id), (3, before[0].id));
    let release = house.env().spec.release;
    assert!(after.iter().all(|it| Some(it.spec.release) == release && it.spec.serving), "it is adopted");
}

#[test]
fn scaling_down_keeps_the_healthy() {
    let mut house = House::new();
    house.deploy_well(&manifest(2));
    let [ill, well] = house.instances().try_into().unwrap();
    house.report(&ill, InstanceStatus { healthy: false, phase: Phase::Backoff, ..healthy() });
    let receipt = house.deploy(&manifest(1));
    house.reconcile();
    house.edge_applies();
    house.reconcile();
    let stopped: Vec<_> =
        house.instances().iter().filter(|it| it.spec.desired == Desired::Stopped).map(|it| it.id).collect();
    assert_eq!(stopped, [ill.id]);
    house.let_it_go_well(receipt);
    assert_eq!(ids(&house.instances()), [well.any_id()]);
}

#[test]
fn an_endpoint_that_leaves_the_manifest_gives_its_port_back() {
    let mut house = House::new();
    house.deploy_well(&manifest(1));
    let mut moved = manifest(1);
    moved.endpoint[0].listen = 9000;
    house.deploy_well(&moved);
    let names: Vec<_> = house.endpoints().into_iter().map(|endpoint| endpoint.name).collect();
    assert_eq!(names, ["tcp/9000"]);
    house.occupy("tcp/8000");
    assert_eq!(house.endpoints().len(), 2);
}

#[test]
fn what_is_missing_is_made_again() {
    let mut house = House::new();
    house.deploy_well(&manifest(2));
    let lost = house.instances().remove(0);
    let mut txn = freehold_model::Txn::new(freehold_model::Actor::System, "lost", "test");
    txn.delete(lost.id);
    house.store.commit_now(txn).unwrap();
    house.reconcile();
    let instances = house.instances();
    assert_eq!(instances.len(), 2);
    assert!(instances.iter().all(|it| it.spec.serving), "the edge uses it once it is healthy");
    assert_eq!(instances[1].spec.address, lost.spec.address, "its address was free again");
}
