//! Removing an app: all of it goes, receipts stay.

use crate::house::{House, changed, manifest, steps};
use freehold_deploy::PlanError;
use freehold_model::{Desired, Kind, Verdict};

#[test]
fn everything_goes_but_the_receipts() {
    let mut house = House::new();
    house.deploy_well(&manifest(2));
    let receipt = house.remove();
    house.reconcile();
    assert!(house.endpoints().is_empty(), "endpoints go at once");
    let told = house.instances();
    assert!(told.len() == 2 && told.iter().all(|it| it.spec.desired == Desired::Stopped && !it.spec.serving));
    assert_eq!(house.receipt(receipt).status.verdict, None, "they are not gone yet");
    let receipt = house.let_it_go_well(receipt);
    assert_eq!(receipt.status.verdict, Some(Verdict::Succeeded));
    assert_eq!(steps(&receipt), ["stop", "delete"]);
    let expected = [Kind::Org, Kind::Project, Kind::Receipt, Kind::Receipt, Kind::Node];
    assert_eq!(house.left(), expected);
    assert_eq!(house.deploy_well(&manifest(1)).spec.release_number, Some(1), "the name is free again");
}

#[test]
fn a_rollout_under_way_fails_because_the_app_was_removed() {
    let mut house = House::new();
    house.deploy_well(&manifest(1));
    let rollout = house.deploy(&changed(2, "debug"));
    house.reconcile();
    let removal = house.remove();
    assert_eq!(house.let_it_go_well(removal).status.verdict, Some(Verdict::Succeeded));
    let receipt = house.receipt(rollout);
    assert_eq!(receipt.status.verdict, Some(Verdict::Failed));
    assert_eq!(receipt.status.reason.as_deref(), Some("the app was removed"));
    assert!(receipt.status.steps.iter().all(|step| step.finished.is_some()));
}

#[test]
fn what_is_being_removed_takes_no_deploy() {
    let mut house = House::new();
    house.deploy_well(&manifest(1));
    house.remove();
    let error = house.plan(&manifest(2), &crate::house::image("one"), false).unwrap_err();
    assert!(matches!(error, PlanError::Removing { .. }), "{error}");
}

#[test]
fn an_app_that_never_ran_can_be_removed() {
    let mut house = House::new();
    house.deploy(&manifest(1));
    let receipt = house.remove();
    assert_eq!(house.let_it_go_well(receipt).status.verdict, Some(Verdict::Succeeded));
    assert!(!house.left().contains(&Kind::App));
}
