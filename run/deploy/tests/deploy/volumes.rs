//! Volumes through plans and rollouts: one writer, the old one first, and the old one again.

use crate::house::{House, healthy, ideal, manifest, name, steps};
use freehold_model::{
    Bytes, Desired, Instance, InstanceStatus, Manifest, NodeSpec, Phase, Txn, Verdict, Volume, VolumeSpec,
    manifest, plan::Action,
};
use freehold_reconcile::ViewExt;

/// One instance of `web` with a volume at /data.
fn with_volume(log: &str) -> Manifest {
    let mut wanted = manifest(1);
    wanted.process.get_mut("web").unwrap().env.insert("LOG".into(), log.into());
    let (path, size) = ("/data".into(), Bytes(1 << 30));
    wanted.volume = vec![manifest::Volume { name: name("data"), process: name("web"), path, size }];
    wanted
}

fn volumes(house: &House) -> Vec<Volume> {
    house.view().all::<VolumeSpec>(None).unwrap()
}

fn holder(house: &House) -> Option<freehold_model::AnyId> {
    freehold_reconcile::View::claim(&house.view(), "volume", &volumes(house)[0].id.to_string()).unwrap()
}

fn the_other(house: &House, old: &Instance) -> Option<Instance> {
    house.instances().into_iter().find(|it| it.id != old.id)
}

#[test]
fn the_old_one_is_gone_before_the_new_one_is_made() {
    let mut house = House::new();
    house.deploy_well(&with_volume("a"));
    let old = house.instances().remove(0);
    let volume = volumes(&house).remove(0);
    assert_eq!(volume.name, "guestbook/prod/data");
    assert_eq!((old.spec.volumes[&name("data")], holder(&house)), (volume.id, Some(old.any_id())));

    let receipt = house.deploy(&with_volume("b"));
    house.reconcile();
    assert_eq!(house.instances().len(), 1, "nobody else while the old one has it");
    assert_eq!(house.instances()[0].spec.desired, Desired::Stopped);
    house.report(&old, InstanceStatus { phase: Phase::Stopping, ..healthy() });
    house.reconcile();
    assert_eq!(house.instances().len(), 1, "it has not stopped yet");
    house.report(&old, ideal(&house.instances()[0]));
    house.reconcile();
    let new = the_other(&house, &old).expect("the volume is free");
    assert_eq!((new.spec.volumes[&name("data")], holder(&house)), (volume.id, Some(new.any_id())));
    let receipt = house.let_it_go_well(receipt);
    assert_eq!(receipt.status.verdict, Some(Verdict::Succeeded));
    assert_eq!(steps(&receipt), ["replace", "start", "shift", "drain", "stop"]);
}

#[test]
fn when_the_new_one_fails_the_old_release_gets_its_volume_back() {
    let mut house = House::new();
    house.deploy_well(&with_volume("a"));
    let old = house.instances().remove(0);
    let receipt = house.deploy(&with_volume("b"));
    house.reconcile();
    house.report(&old, ideal(&house.instances()[0]));
    house.reconcile();
    let new = the_other(&house, &old).unwrap();
    let message = Some("no such program".into());
    house.report(&new, InstanceStatus { phase: Phase::Failed, message, ..InstanceStatus::default() });
    house.reconcile();
    assert_eq!(house.receipt(receipt).status.verdict, None, "the old release does not run yet");
    let receipt = house.let_it_go_well(receipt);
    assert_eq!(receipt.status.verdict, Some(Verdict::Failed));
    assert_eq!(steps(&receipt), ["replace", "start", "restore", "start again"]);
    let again = house.instances().remove(0);
    assert_eq!(again.spec.template_hash, old.spec.template_hash);
    assert_eq!((again.spec.serving, holder(&house)), (true, Some(again.any_id())));
}

#[test]
fn an_app_that_goes_keeps_its_volume_and_finds_it_again() {
    let mut house = House::new();
    house.deploy_well(&with_volume("a"));
    let volume = volumes(&house).remove(0);
    let receipt = house.remove();
    let receipt = house.let_it_go_well(receipt);
    let reason = receipt.status.reason.unwrap();
    assert!(
        reason.contains("kept: volume guestbook/prod/data") && reason.contains("volume delete"),
        "{reason}"
    );
    assert_eq!((volumes(&house).len(), holder(&house)), (1, None));
    let plan = house.plan(&with_volume("a"), &crate::house::image("one"), false).unwrap();
    let change = plan.changes.iter().find(|change| change.kind == "volume").unwrap();
    assert_eq!(
        (change.action, change.fields[0].before.as_deref()),
        (Action::Change, Some("no, it was kept"))
    );
    house.deploy_well(&with_volume("a"));
    assert_eq!(house.instances()[0].spec.volumes[&name("data")], volume.id);
}

#[test]
fn the_plan_says_what_happens_and_what_stops_it() {
    let mut house = House::new();
    house.deploy_well(&with_volume("a"));
    let plan =
        |house: &House, wanted: &Manifest| house.plan(wanted, &crate::house::image("one"), false).unwrap();
    let replaced = plan(&house, &with_volume("b"));
    assert!(replaced.changes[0].fields.iter().any(|field| field.path == "replaced"), "{replaced:#?}");
    assert_eq!(replaced.placement[0].reason, "volume guestbook/prod/data is there");
    let left = plan(&house, &manifest(1));
    let change = left.changes.iter().find(|change| change.kind == "volume").unwrap();
    assert!(change.fields[0].after.as_ref().unwrap().contains("kept"), "{change:#?}");

    // A larger one restarts nothing.
    let mut larger = with_volume("a");
    larger.volume[0].size = Bytes(2 << 30);
    let before = house.instances();
    house.deploy_well(&larger);
    assert_eq!((house.instances()[0].id, volumes(&house)[0].spec.size), (before[0].id, Bytes(2 << 30)));

    // Where it is, nothing can be placed.
    let mut node = house.view().find::<NodeSpec>(house.node).unwrap().unwrap();
    node.spec.cordoned = true;
    let mut txn = Txn::new(freehold_model::Actor::System, "test", "test");
    txn.put_spec(&node);
    house.store.commit_now(txn).unwrap();
    let blocked = plan(&house, &with_volume("b"));
    assert_eq!(blocked.blockers[0].code, freehold_model::Code::Unplaceable);
    assert!(blocked.blockers[0].detail.as_ref().unwrap().contains("is cordoned"), "{:?}", blocked.blockers);
}
