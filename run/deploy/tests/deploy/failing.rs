//! Rollouts that fail: each rule, and the sentence that explains it.

use crate::house::{House, changed, exited, healthy, ids, manifest, steps};
use freehold_model::{Exit, Instance, InstanceStatus, Phase, Receipt, ReceiptId, RolloutPhase, Verdict};

/// A house where v1 runs and v2 starts; the instance of each, and the receipt of v2.
fn midway() -> (House, Instance, Instance, ReceiptId) {
    let mut house = House::new();
    house.deploy_well(&manifest(1));
    let old = house.instances().remove(0);
    let receipt = house.deploy(&changed(1, "debug"));
    house.reconcile();
    let new = house.instances().into_iter().find(|it| it.id != old.id).unwrap();
    (house, old, new, receipt)
}

/// Checks that v2 failed for `reason` and that v1 was never touched.
fn assert_restored(mut house: House, old: &Instance, receipt: ReceiptId, reason: &str) -> Receipt {
    assert_eq!(house.rollout().status.phase, RolloutPhase::Restoring);
    assert_eq!(house.rollout().status.failure.as_deref(), Some(reason));
    let receipt = house.let_it_go_well(receipt);
    assert_eq!(receipt.status.verdict, Some(Verdict::Failed));
    assert_eq!(receipt.status.reason.as_deref(), Some(reason));
    assert_eq!(steps(&receipt), ["start", "restore"]);
    assert_eq!(ids(&house.instances()), [old.any_id()]);
    assert_eq!(house.instances()[0].generation, old.generation, "it was never touched");
    assert_eq!(house.env().spec.release, receipt.spec.previous);
    receipt
}

#[test]
fn two_exits_before_it_is_healthy_fail_it_with_the_last_lines() {
    let (mut house, old, new, receipt) = midway();
    let last_exit = exited(1, &house);
    let status = |restarts, phase| InstanceStatus {
        phase,
        restarts,
        last_exit: last_exit.clone(),
        log_tail: vec!["no such table: messages".into()],
        ..InstanceStatus::default()
    };
    for (restarts, phase) in
        [(0, Phase::Backoff), (1, Phase::Backoff), (1, Phase::Running), (1, Phase::Backoff)]
    {
        house.report(&new, status(restarts, phase));
        house.reconcile();
        assert_eq!(house.rollout().status.phase, RolloutPhase::Starting, "{restarts}, {phase:?}");
    }
    house.report(&new, status(2, Phase::Backoff));
    house.reconcile();
    let reason = format!("web: instance {} exited with code 1 twice before it became healthy", new.id);
    let receipt = assert_restored(house, &old, receipt, &reason);
    assert_eq!(receipt.status.log_tail, ["no such table: messages"]);
}

#[test]
fn a_kill_for_memory_is_told_as_such() {
    let (mut house, old, new, receipt) = midway();
    let last_exit = Some(Exit {
        code: None,
        signal: Some(9),
        oom: true,
        disk: None,
        unhealthy: None,
        at: house.clock.after(0),
    });
    let status =
        InstanceStatus { phase: Phase::Backoff, restarts: 2, last_exit, ..InstanceStatus::default() };
    house.report(&new, status);
    house.reconcile();
    let id = new.id;
    let reason = format!(
        "web: instance {id} was killed twice before it became healthy: it used more memory than its limit of 64MiB"
    );
    assert_restored(house, &old, receipt, &reason);
}

#[test]
fn what_cannot_be_started_fails_at_once() {
    let (mut house, old, new, receipt) = midway();
    let message = Some("the image has no /guestbook".into());
    house.report(&new, InstanceStatus { phase: Phase::Failed, message, ..InstanceStatus::default() });
    house.reconcile();
    let reason = format!("web: instance {} cannot be started: the image has no /guestbook", new.id);
    assert_restored(house, &old, receipt, &reason);
}

#[test]
fn a_check_that_never_passes_fails_it_after_its_grace() {
    let (mut house, old, new, receipt) = midway();
    let started = Some(house.clock.after(0));
    let message = Some("connection refused".into());
    let status = InstanceStatus { phase: Phase::Running, started, message, ..InstanceStatus::default() };
    house.report(&new, status);
    house.pass(12_999);
    house.reconcile();
    assert_eq!(house.rollout().status.phase, RolloutPhase::Starting);
    house.pass(1);
    house.reconcile();
    let reason = format!(
        "web: instance {} did not pass its check (GET /healthz on port 8080) within 13s of its start: \
         connection refused",
        new.id
    );
    assert_restored(house, &old, receipt, &reason);
}

#[test]
fn the_deadline_fails_it_and_says_what_it_waited_for() {
    let (mut house, old, new, receipt) = midway();
    house.report(&new, InstanceStatus { phase: Phase::Pulling, ..InstanceStatus::default() });
    house.pass(299_999);
    house.reconcile();
    assert_eq!(house.rollout().status.phase, RolloutPhase::Starting);
    house.pass(1);
    house.reconcile();
    let reason = format!("not healthy within 5m: web: instance {} is pulling its image", new.id);
    assert_restored(house, &old, receipt, &reason);
}

#[test]
fn a_port_taken_meanwhile_fails_it() {
    let mut house = House::new();
    let plan = house.plan(&manifest(1), &crate::house::image("one"), false).unwrap();
    house.occupy("tcp/8000");
    let receipt = house.apply(&plan).unwrap();
    house.reconcile();
    let receipt = house.let_it_go_well(receipt);
    assert_eq!(receipt.status.reason.as_deref(), Some("port tcp/8000 was taken by other/prod meanwhile"));
    assert_eq!(house.instances().len(), 1, "the other app goes on");
}

#[test]
fn an_old_instance_that_crashed_before_may_be_kept() {
    let mut house = House::new();
    house.deploy_well(&manifest(1));
    let old = house.instances().remove(0);
    house.report(&old, InstanceStatus { restarts: 7, last_exit: exited(1, &house), ..healthy() });
    let receipt = house.deploy_well(&manifest(2));
    assert_eq!(receipt.status.verdict, Some(Verdict::Succeeded));
}

#[test]
fn a_failed_first_release_leaves_nothing_running() {
    let mut house = House::new();
    let receipt = house.deploy(&manifest(2));
    house.reconcile();
    let new = house.instances().remove(0);
    house.report(&new, InstanceStatus { phase: Phase::Failed, ..InstanceStatus::default() });
    house.reconcile();
    let receipt = house.let_it_go_well(receipt);
    assert_eq!(receipt.status.verdict, Some(Verdict::Failed));
    assert_eq!(receipt.status.steps[1].detail, "stop 2 instances, close tcp/8000; nothing ran before");
    assert!(house.instances().is_empty() && house.endpoints().is_empty());
}

#[test]
fn a_node_that_does_not_answer_delays_the_verdict_by_a_minute_more_than_a_stop_may_take() {
    let (mut house, _, new, receipt) = midway();
    house.report(&new, InstanceStatus { phase: Phase::Failed, ..InstanceStatus::default() });
    house.reconcile();
    house.pass(69_999);
    house.reconcile();
    assert_eq!(house.receipt(receipt).status.verdict, None);
    house.pass(1);
    house.reconcile();
    assert_eq!(house.receipt(receipt).status.verdict, Some(Verdict::Failed));
    house.let_it_go_well(receipt);
    assert_eq!(house.instances().len(), 1, "the leftover went when the node was back");
}
