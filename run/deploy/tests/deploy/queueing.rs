//! Deploys of one env one after another: what waits, what takes its place, what is called off.

use crate::house::{House, changed, healthy, image, manifest, steps};
use freehold_deploy::plan_renewal;
use freehold_model::{
    Code, InstanceStatus, Phase, Receipt, ReceiptId, ReleaseSpec, RolloutPhase, Verdict, manifest::Driver,
};
use freehold_reconcile::ViewExt;

/// A house where v1 runs and v2 starts, with the receipt of v2.
fn midway() -> (House, ReceiptId) {
    let mut house = House::new();
    house.deploy_well(&manifest(1));
    let receipt = house.deploy(&changed(1, "two"));
    house.reconcile();
    assert_eq!(house.rollout().status.phase, RolloutPhase::Starting);
    (house, receipt)
}

fn ended(receipt: &Receipt) -> (Option<Verdict>, Option<Code>) {
    assert!(receipt.status.steps.iter().all(|step| step.finished.is_some()), "a step is open");
    assert_eq!(receipt.status.behind, None);
    (receipt.status.verdict, receipt.status.code)
}

fn releases(house: &House) -> usize {
    house.view().all::<ReleaseSpec>(None).unwrap().len()
}

#[test]
fn a_deploy_waits_for_the_one_under_way_and_is_planned_again_when_its_turn_comes() {
    let (mut house, front) = midway();
    let plan = house.plan(&changed(2, "three"), &image("one"), false).unwrap();
    assert_eq!((plan.behind, plan.supersedes), (Some(front), None));
    assert_eq!((plan.current, plan.release), (Some(2), Some(3)), "it starts from what will run then");
    let id = house.apply(&plan).unwrap();
    let waits = house.receipt(id);
    assert_eq!((waits.status.behind, waits.spec.release_number), (Some(front), None));
    assert_eq!(waits.status.steps[0].detail, format!("behind {front}"));
    let waiting = waits.status.steps[0].waiting.as_ref().unwrap();
    assert!(waiting.on.contains(&front.to_string()) && waiting.deadline.is_some());
    assert_eq!(releases(&house), 2, "it has made nothing yet");
    house.reconcile();
    assert_eq!(house.receipt(id), waits, "its turn has not come");
    let done = house.let_it_go_well(id);
    assert_eq!(house.receipt(front).status.verdict, Some(Verdict::Succeeded));
    assert_eq!(ended(&done), (Some(Verdict::Succeeded), None));
    assert_eq!((done.spec.previous_number, done.spec.release_number), (Some(2), Some(3)));
    assert_eq!((done.spec.accepted, done.spec.queued.is_none()), (waits.spec.accepted, true));
    assert_eq!(steps(&done), ["queue", "start", "shift", "drain", "stop"]);
    assert_eq!(house.instances().len(), 2);
}

#[test]
fn it_runs_after_a_failure_too_and_starts_from_what_was_restored() {
    let (mut house, front) = midway();
    let id = house.deploy(&changed(1, "three"));
    let fresh = house.instances().into_iter().find(|it| !it.spec.serving).unwrap();
    house.report(&fresh, InstanceStatus { phase: Phase::Failed, ..InstanceStatus::default() });
    let done = house.let_it_go_well(id);
    assert_eq!(house.receipt(front).status.verdict, Some(Verdict::Failed));
    assert_eq!(done.status.verdict, Some(Verdict::Succeeded));
    assert_eq!((done.spec.previous_number, done.spec.release_number), (Some(1), Some(3)));
}

#[test]
fn a_newer_one_takes_the_place_of_what_waits_and_both_say_so() {
    let (mut house, front) = midway();
    let old = house.deploy(&changed(1, "three"));
    let plan = house.plan(&changed(1, "four"), &image("one"), false).unwrap();
    assert_eq!((plan.behind, plan.supersedes), (Some(front), Some(old)));
    let new = house.apply_by("ada", &plan, false).unwrap();
    let gone = house.receipt(old);
    assert_eq!(ended(&gone), (Some(Verdict::Superseded), Some(Code::Conflict)));
    assert_eq!(gone.status.superseded_by, Some(new));
    let reason = format!("a newer deploy by user:ada took its place while it waited: {new}");
    assert_eq!(gone.status.reason, Some(reason));
    assert_eq!(house.receipt(new).status.supersedes, Some(old));
    let done = house.let_it_go_well(new);
    assert_eq!((done.status.verdict, done.spec.release_number), (Some(Verdict::Succeeded), Some(3)));
    assert_eq!(done.status.supersedes, Some(old), "it says so to the end");
    assert_eq!(house.receipt(old), gone, "a verdict is for good");
    assert_eq!(releases(&house), 3);
}

#[test]
fn a_pinned_plan_that_holds_when_its_turn_comes_is_done_and_one_that_does_not_is_stale() {
    for (front_fails, expected) in
        [(false, (Some(Verdict::Succeeded), None)), (true, (Some(Verdict::Failed), Some(Code::StalePlan)))]
    {
        let (mut house, _) = midway();
        let plan = house.plan(&changed(1, "three"), &image("one"), false).unwrap();
        let id = house.apply_by("admin", &plan, true).unwrap();
        if front_fails {
            let fresh = house.instances().into_iter().find(|it| !it.spec.serving).unwrap();
            house.report(&fresh, InstanceStatus { phase: Phase::Failed, ..InstanceStatus::default() });
        }
        let done = house.let_it_go_well(id);
        assert_eq!(ended(&done), expected, "{:?}", done.status.reason);
        assert_eq!(releases(&house), if front_fails { 2 } else { 3 });
    }
}

#[test]
fn what_waits_and_would_change_nothing_succeeds_at_its_turn() {
    let (mut house, _) = midway();
    let id = house.deploy(&changed(1, "two"));
    assert_eq!(house.receipt(id).status.verdict, None, "what it is equal to may fail yet");
    let done = house.let_it_go_well(id);
    assert_eq!(done.status.reason.as_deref(), Some("nothing to change"));
    assert_eq!((ended(&done).0, done.spec.release_number), (Some(Verdict::Succeeded), Some(2)));
}

#[test]
fn what_no_longer_fits_when_its_turn_comes_fails_with_its_code() {
    let (mut house, _) = midway();
    let mut moved = changed(1, "three");
    moved.endpoint[0].listen = 9000;
    let id = house.deploy(&moved);
    house.occupy("tcp/9000");
    let done = house.let_it_go_well(id);
    assert_eq!(ended(&done), (Some(Verdict::Failed), Some(Code::Conflict)));
    assert!(done.status.reason.unwrap().contains("port tcp/9000 is taken by other/prod"));
}

#[test]
fn a_rollback_while_a_rollout_is_under_way_goes_to_what_ran_before_it() {
    let (mut house, front) = midway();
    let waits = house.deploy(&changed(1, "three"));
    let plan = house.plan_rollback(None).unwrap();
    assert_eq!((plan.current, plan.release, plan.behind), (Some(2), Some(1), Some(front)));
    let id = house.apply(&plan).unwrap();
    assert_eq!(house.receipt(waits).status.verdict, Some(Verdict::Superseded));
    let done = house.let_it_go_well(id);
    assert_eq!((done.status.verdict, done.spec.release_number), (Some(Verdict::Succeeded), Some(1)));
    assert_eq!(house.receipt(front).status.verdict, Some(Verdict::Succeeded));
}

#[test]
fn what_waits_too_long_is_given_up_and_says_so() {
    let (mut house, front) = midway();
    let id = house.deploy(&changed(1, "three"));
    // Nothing reconciles for an hour: as when the control plane was away.
    house.pass(3_600_000);
    house.reconcile();
    let receipt = house.receipt(id);
    assert_eq!(ended(&receipt), (Some(Verdict::Failed), Some(Code::Timeout)));
    assert_eq!(receipt.status.reason.as_deref(), Some("its turn did not come within 1h"));
    assert_eq!(house.let_it_go_well(front).status.verdict, Some(Verdict::Failed), "its deadline passed too");
}

#[test]
fn cancelling_what_waits_ends_it_at_once() {
    let (mut house, front) = midway();
    let id = house.deploy(&changed(1, "three"));
    house.cancel(id).unwrap();
    let receipt = house.receipt(id);
    assert_eq!(ended(&receipt), (Some(Verdict::Cancelled), Some(Code::Conflict)));
    assert_eq!(receipt.status.reason.as_deref(), Some("cancelled by user:admin"));
    assert_eq!(house.cancel(id).unwrap_err(), format!("{id} has ended already: cancelled by user:admin"));
    assert_eq!(house.let_it_go_well(front).status.verdict, Some(Verdict::Succeeded));
    assert_eq!(releases(&house), 2);
}

#[test]
fn cancelling_what_starts_takes_it_back() {
    let (mut house, id) = midway();
    house.cancel(id).unwrap();
    house.cancel(id).unwrap();
    house.reconcile();
    assert_eq!(house.rollout().status.phase, RolloutPhase::Restoring);
    house.cancel(id).expect("it is being cancelled: asking again changes nothing");
    let receipt = house.let_it_go_well(id);
    assert_eq!(ended(&receipt), (Some(Verdict::Cancelled), Some(Code::Conflict)));
    assert_eq!(receipt.status.reason.as_deref(), Some("cancelled by user:admin"));
    assert_eq!(steps(&receipt), ["start", "restore"]);
    assert_eq!(house.instances().len(), 1);
    assert_eq!(house.plan(&manifest(1), &image("one"), false).unwrap().current, Some(1));
}

#[test]
fn what_serves_or_failed_already_cannot_be_cancelled() {
    let (mut house, id) = midway();
    let fresh = house.instances().into_iter().find(|it| !it.spec.serving).unwrap();
    house.report(&fresh, healthy());
    house.reconcile();
    assert_eq!(house.rollout().status.phase, RolloutPhase::Draining);
    let refused = house.cancel(id).unwrap_err();
    assert_eq!(refused, format!("it is too late to cancel {id}: the new release serves already"));

    let (mut house, id) = midway();
    let fresh = house.instances().into_iter().find(|it| !it.spec.serving).unwrap();
    house.report(&fresh, InstanceStatus { phase: Phase::Failed, ..InstanceStatus::default() });
    house.reconcile();
    let refused = house.cancel(id).unwrap_err();
    assert!(refused.ends_with("it failed, and is being taken back already"), "{refused}");
    assert_eq!(house.let_it_go_well(id).status.verdict, Some(Verdict::Failed));
}

#[test]
fn a_removal_cancels_what_waits() {
    let (mut house, front) = midway();
    let id = house.deploy(&changed(1, "three"));
    let removal = house.remove();
    assert_eq!(house.let_it_go_well(removal).status.verdict, Some(Verdict::Succeeded));
    assert!(house.cancel(removal).unwrap_err().contains("has ended already"));
    for (receipt, verdict) in [(front, Verdict::Failed), (id, Verdict::Cancelled)] {
        let receipt = house.receipt(receipt);
        assert_eq!(ended(&receipt).0, Some(verdict));
        assert_eq!(receipt.status.reason.as_deref(), Some("the app was removed"));
    }
}

#[test]
fn the_release_says_how_it_went() {
    let (mut house, id) = midway();
    house.cancel(id).unwrap();
    house.let_it_go_well(id);
    let said: Vec<_> =
        house.view().all::<ReleaseSpec>(None).unwrap().iter().map(|it| it.status.verdict).collect();
    assert_eq!(said, [Some(Verdict::Succeeded), Some(Verdict::Cancelled)]);
}

/// Who asks for a renewal is asked for the rights that what runs then needs: if that fails, another release runs,
/// whose rights nobody asked for.
#[test]
fn a_waiting_renewal_runs_nothing_that_needs_rights_nobody_was_asked_for() {
    for (driver, expected) in [
        (Driver::Process, (Some(Verdict::Failed), Some(Code::NotAllowed))),
        (Driver::Container, (Some(Verdict::Succeeded), None)),
    ] {
        let mut house = House::new();
        let mut first = manifest(1);
        first.process.values_mut().for_each(|process| process.driver = driver);
        house.deploy_well(&first);
        house.deploy(&changed(1, "two"));
        house.reconcile();
        let names = ["default", "guestbook", "prod"].map(|name| name.parse().unwrap());
        let plan = plan_renewal(&house.view(), &names[0], &names[1], &names[2]).unwrap();
        let id = house.apply(&plan).unwrap();
        assert!(house.receipt(id).status.behind.is_some());
        let fresh = house.instances().into_iter().find(|it| !it.spec.serving).unwrap();
        house.report(&fresh, InstanceStatus { phase: Phase::Failed, ..InstanceStatus::default() });
        let done = house.let_it_go_well(id);
        assert_eq!(ended(&done), expected, "{driver:?}: {:?}", done.status.reason);
    }
}
