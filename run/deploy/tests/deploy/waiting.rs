//! What takes long says what it waits for, since when and until when; and ends when its time is up.

use crate::house::{House, changed, healthy, ideal, manifest};
use freehold_model::{
    EndpointStatus, Instance, InstanceStatus, Millis, Phase, ReceiptId, RolloutPhase, Verdict, Waiting,
};
use jiff::SignedDuration;

/// A house where v1 runs and v2 starts; the instance of each, and the receipt of v2.
fn midway() -> (House, Instance, Instance, ReceiptId) {
    let mut house = House::new();
    house.deploy_well(&manifest(1));
    let old = house.instances().remove(0);
    let mut wanted = changed(1, "debug");
    wanted.deploy.timeout = Millis(60_000);
    wanted.deploy.drain_timeout = Millis(30_000);
    let receipt = house.deploy(&wanted);
    house.reconcile();
    let new = house.instances().into_iter().find(|it| it.id != old.id).unwrap();
    (house, old, new, receipt)
}

fn waiting(house: &House, receipt: ReceiptId) -> Option<Waiting> {
    house.receipt(receipt).status.steps.last().unwrap().waiting.clone()
}

#[test]
fn a_start_says_what_it_waits_for_once_that_takes_a_moment() {
    let (mut house, _, new, receipt) = midway();
    let begun = house.clock.after(0);
    house.report(&new, InstanceStatus { phase: Phase::Pulling, ..InstanceStatus::default() });
    house.pass(999);
    house.reconcile();
    assert_eq!(waiting(&house, receipt), None, "most waits are over by then");
    house.pass(1);
    house.reconcile();
    let said = waiting(&house, receipt).unwrap();
    assert_eq!(said.on, format!("web: instance {} is pulling its image", new.id));
    let until = begun + SignedDuration::from_secs(60);
    assert_eq!((said.since, said.deadline), (begun, Some(until)), "the manifest's own deadline");

    let message = Some("connection refused".into());
    let started = Some(house.clock.after(0));
    let status = InstanceStatus { phase: Phase::Running, started, message, ..InstanceStatus::default() };
    house.report(&new, status);
    house.pass(1_000);
    house.reconcile();
    let said = waiting(&house, receipt).unwrap();
    assert_eq!(said.on, format!("web: instance {} does not pass its check yet: connection refused", new.id));
    assert_eq!(said.since, begun + SignedDuration::from_secs(2));
    let before = house.store.version();
    house.pass(5_000);
    house.reconcile();
    assert_eq!(house.store.version(), before, "the same cause is written once");
}

#[test]
fn the_manifest_says_how_long_a_deploy_may_take() {
    let (mut house, _, new, receipt) = midway();
    house.report(&new, InstanceStatus { phase: Phase::Pulling, ..InstanceStatus::default() });
    house.pass(60_000);
    house.reconcile();
    let receipt = house.let_it_go_well(receipt);
    let reason = format!("not healthy within 1m: web: instance {} is pulling its image", new.id);
    assert_eq!((receipt.status.verdict, receipt.status.reason), (Some(Verdict::Failed), Some(reason)));
}

#[test]
fn a_drain_names_who_has_connections_and_counts_what_it_cuts() {
    let (mut house, old, new, receipt) = midway();
    house.report(&new, healthy());
    house.reconcile();
    let shifted = house.clock.after(0);
    house.pass(1_000);
    house.reconcile();
    assert_eq!(
        waiting(&house, receipt).unwrap().on,
        "endpoint tcp/8000 has not taken the new instances up yet"
    );
    house.edge_says(|_, applied| EndpointStatus {
        applied,
        listening: true,
        draining: [(old.id, 3)].into(),
        ..EndpointStatus::default()
    });
    house.pass(1_000);
    house.reconcile();
    let said = waiting(&house, receipt).unwrap();
    assert_eq!(said.on, format!("3 connections to {} of web to end", old.id));
    assert_eq!(said.deadline, Some(shifted + SignedDuration::from_secs(30)));
    house.pass(27_999);
    house.reconcile();
    assert_eq!(house.rollout().status.phase, RolloutPhase::Draining);
    house.pass(1);
    house.reconcile();
    assert_eq!(house.rollout().status.phase, RolloutPhase::Stopping);
    let steps = house.receipt(receipt).status.steps;
    assert_eq!(steps[2].detail, "1 instance to leave; 3 connections cut after 30s");
}

#[test]
fn a_stop_is_given_as_long_as_the_instance_may_take_and_its_node_is_named() {
    let mut house = House::new();
    let mut patient = manifest(1);
    patient.process.values_mut().for_each(|web| web.stop_timeout = Millis(300_000));
    house.deploy_well(&patient);
    let old = house.instances().remove(0);
    let receipt = house.deploy(&changed(1, "debug"));
    house.reconcile();
    let new = house.instances().into_iter().find(|it| it.id != old.id).unwrap();
    house.report(&new, ideal(&new));
    house.reconcile();
    house.edge_applies();
    house.reconcile();
    assert_eq!(house.rollout().status.phase, RolloutPhase::Stopping);
    house.pass(359_999);
    house.reconcile();
    assert_eq!(waiting(&house, receipt).unwrap().on, format!("{} of web on node tower is stopping", old.id));
    assert_eq!(house.receipt(receipt).status.verdict, None);
    house.pass(1);
    house.reconcile();
    let ended = house.receipt(receipt).status;
    assert_eq!(ended.verdict, Some(Verdict::Succeeded));
    assert!(ended.reason.unwrap().ends_with("1 old not stopped yet: their node does not answer"));
}
