//! What is said of an env: what is wanted against what is there, and never that something is well that is not heard.

use crate::house::{House, changed, exited, healthy, manifest, name};
use freehold_deploy::{Standing, Surroundings, standing};
use freehold_model::{
    Condition, Env, Exit, Instance, InstanceStatus, NodeStatus, Phase, TaskState, Verdict, VolumeAction,
    VolumeSpec, VolumeTask, kinds::TaskStatus,
};
use freehold_reconcile::ViewExt;

fn found(house: &House, env: &Env) -> Standing {
    let view = house.view();
    standing(&view, env, &Surroundings::load(&view, house.clock.after(0)).unwrap()).unwrap()
}

fn now(house: &House) -> Standing {
    found(house, &house.env())
}

fn counts(house: &House) -> (u32, u32) {
    now(house).counts()
}

/// Why the only instance is not well.
fn why(house: &House) -> String {
    now(house).instances[0].1.clone().expect("it is said to be well")
}

fn running(house: &mut House) -> Instance {
    house.deploy_well(&manifest(1));
    assert_eq!(counts(house), (1, 1));
    house.instances().remove(0)
}

#[test]
fn what_is_wanted_counts_even_when_nothing_of_it_is_there() {
    let mut house = House::new();
    let one = running(&mut house);
    let mut txn = freehold_model::Txn::new(freehold_model::Actor::System, "lost", "test");
    txn.delete(one.id);
    house.store.commit_now(txn).unwrap();
    assert_eq!(counts(&house), (1, 0));
    let found = now(&house);
    assert_eq!(found.processes[0].missing.as_deref(), Some("1 of 1 web is not there"));
    assert_eq!(found.serves(), "v1 should run and does not: web 0 of 1 healthy");
}

#[test]
fn what_starts_is_there_and_does_not_serve_yet() {
    let mut house = House::new();
    house.deploy(&manifest(2));
    house.reconcile();
    assert_eq!(house.instances().len(), 2);
    assert_eq!(now(&house).processes[0].missing.as_deref(), Some("2 of 2 web do not serve yet"));
}

#[test]
fn nothing_on_a_silent_node_is_well() {
    let mut house = House::new();
    running(&mut house);
    let since = house.clock.after(0);
    house.change_node(house.node, |node| {
        let (kind, reason, message) = (NodeStatus::READY.into(), "Silent".into(), "nothing is heard".into());
        node.status.conditions = vec![Condition { kind, state: false, reason, message, since }];
    });
    house.pass(80_000);
    assert_eq!(counts(&house), (1, 0));
    assert!(why(&house).starts_with("Nothing has been heard of node tower for 1m 20s"), "{}", why(&house));
    let view = house.view();
    let hidden = Surroundings::load(&view, house.clock.after(0)).unwrap().naming(false);
    let said = standing(&view, &house.env(), &hidden).unwrap().instances.remove(0).1.unwrap();
    assert!(!said.contains("tower"), "{said}");
}

#[test]
fn a_crash_loop_without_a_check_is_not_well() {
    let mut house = House::new();
    let mut bare = manifest(1);
    bare.process.get_mut("web").unwrap().check = None;
    house.deploy_well(&bare);
    let one = house.instances().remove(0);
    let ends = |house: &House, failures| InstanceStatus {
        restarts: failures,
        failures,
        last_exit: exited(1, house),
        started: Some(house.clock.after(0)),
        ..healthy()
    };
    house.report(&one, ends(&house, 1));
    assert_eq!(counts(&house), (1, 1), "a stumble");
    house.report(&one, ends(&house, 4));
    house.pass(3_000);
    assert_eq!(counts(&house), (1, 0));
    assert_eq!(why(&house), "It exited with code 1, 4 times in a row; it has run again for 3s.");
    let unseen = exited(1, &house).map(|exit| Exit { code: None, ..exit });
    house.report(&one, InstanceStatus { last_exit: unseen, ..ends(&house, 4) });
    assert_eq!(counts(&house), (1, 1), "the machine was cut off from power, again and again");
    house.report(&one, ends(&house, 4));
    house.pass(60_000);
    assert_eq!(counts(&house), (1, 1), "it has run for a minute");
    house.report(&one, InstanceStatus { phase: Phase::Running, healthy: false, ..ends(&house, 0) });
    assert!(!why(&house).contains("check yet"), "it has none: {}", why(&house));
}

#[test]
fn what_waits_for_a_restore_is_not_well() {
    let mut house = House::new();
    let mut with_volume = manifest(1);
    let (volume, process, path) = (name("data"), name("web"), "/data".into());
    let size = freehold_model::Bytes(1 << 20);
    with_volume.volume.push(freehold_model::manifest::Volume { name: volume, process, path, size });
    house.deploy_well(&with_volume);
    assert_eq!(counts(&house), (1, 1));
    let mut volume = house.view().all::<VolumeSpec>(None).unwrap().remove(0);
    let action = VolumeAction::Restore(name("before"));
    volume.spec.task =
        Some(VolumeTask { id: "7".into(), action, asked: house.clock.after(0), cancelled: false });
    let mut txn = freehold_model::Txn::new(freehold_model::Actor::System, "restore", "test");
    txn.put_spec(&volume);
    house.store.commit_now(txn).unwrap();
    let state = |house: &House, state: Option<TaskState>| {
        let mut status = volume.status.clone();
        status.task = state.map(|state| TaskStatus { id: "7".into(), state, message: String::new() });
        let mut txn = freehold_model::Txn::new(freehold_model::Actor::System, "restore", "test");
        txn.observe::<VolumeSpec>(volume.id, &status);
        house.store.commit_now(txn).unwrap();
    };
    for under_way in [None, Some(TaskState::Running)] {
        state(&house, under_way);
        assert_eq!(counts(&house), (1, 0), "{under_way:?}");
        assert_eq!(why(&house), "Its volume guestbook/prod/data is being restored from before.");
    }
    state(&house, Some(TaskState::Failed));
    assert_eq!(counts(&house), (1, 1), "it is as before");
}

#[test]
fn a_receipt_says_what_serves_by_looking() {
    let mut house = House::new();
    let first = house.deploy_well(&manifest(1));
    assert_eq!(first.status.serves.as_deref(), Some("v1 serves: web 1 of 1 healthy"));
    let receipt = house.deploy(&changed(1, "debug"));
    house.reconcile();
    let all = house.instances();
    let new = all.iter().find(|it| !it.spec.serving).unwrap();
    let old = all.iter().find(|it| it.spec.serving).unwrap();
    house.report(new, InstanceStatus { phase: Phase::Failed, ..InstanceStatus::default() });
    house.reconcile();
    // Meanwhile the old one fell ill as well: it is not said to serve.
    house.report(old, InstanceStatus { phase: Phase::Backoff, ..InstanceStatus::default() });
    let new = house.instances().into_iter().find(|it| it.id == new.id).unwrap();
    house.report(&new, crate::house::ideal(&new));
    house.reconcile();
    let receipt = house.receipt(receipt);
    assert_eq!(receipt.status.verdict, Some(Verdict::Failed));
    let serves = receipt.status.serves.unwrap();
    assert_eq!(serves, "v1 should run and does not: web 0 of 1 healthy");
}

#[test]
fn after_a_failed_first_release_nothing_runs() {
    let mut house = House::new();
    let receipt = house.deploy(&manifest(1));
    house.reconcile();
    let new = house.instances().remove(0);
    house.report(&new, InstanceStatus { phase: Phase::Failed, ..InstanceStatus::default() });
    house.reconcile();
    let receipt = house.let_it_go_well(receipt);
    assert_eq!(receipt.status.serves.as_deref(), Some("nothing runs"));
}
