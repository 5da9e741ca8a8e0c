//! Waiting for a verdict.

use crate::world::World;
use axum::http::StatusCode;
use freehold_model::{Actor, Operation, Receipt, ReceiptSpec, Txn, Verdict};
use freehold_reconcile::{Clock as _, SystemClock};
use std::time::{Duration, Instant};

fn receipt(world: &World) -> Receipt {
    let (_, _, _, env) = world.tree();
    let spec = ReceiptSpec {
        operation: Operation::Deploy,
        actor: Actor::User("admin".into()),
        app: "web".parse().unwrap(),
        env: "prod".parse().unwrap(),
        plan_hash: freehold_model::Digest::of(b"plan"),
        manifest_hash: None,
        release: None,
        release_number: None,
        previous: None,
        previous_number: None,
        images: Default::default(),
        accepted: SystemClock.now(),
        queued: None,
    };
    world.put("r1", Some(env.any_id()), spec)
}

fn decide(world: &World, receipt: &Receipt, verdict: Option<Verdict>) {
    let mut txn = Txn::new(Actor::System, "test", "req_test");
    let mut status = receipt.status.clone();
    (status.verdict, status.reason) = (verdict, Some("seen".into()));
    txn.observe::<ReceiptSpec>(receipt.id, &status);
    world.store.commit_now(txn).unwrap();
}

#[tokio::test]
async fn a_wait_ends_with_the_verdict() {
    let world = World::new();
    let receipt = receipt(&world);
    let path = format!("/v1/receipts/{}?wait_ms=20000", receipt.id);
    let started = Instant::now();
    let work = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        decide(&world, &receipt, None);
        tokio::time::sleep(Duration::from_millis(50)).await;
        decide(&world, &receipt, Some(Verdict::Failed));
    };
    let ((status, answer), ()) = tokio::join!(world.get(&path), work);
    assert_eq!((status, answer["status"]["verdict"].as_str()), (StatusCode::OK, Some("failed")));
    assert!((100..5000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_wait_that_is_over_answers_without_a_verdict() {
    let world = World::new();
    let receipt = receipt(&world);
    let (status, answer) = world.get(&format!("/v1/receipts/{}", receipt.id)).await;
    assert_eq!((status, answer["status"]["verdict"].is_null()), (StatusCode::OK, true));
    let started = Instant::now();
    let (status, answer) = world.get(&format!("/v1/receipts/{}?wait_ms=100", receipt.id)).await;
    assert_eq!((status, answer["status"]["verdict"].is_null()), (StatusCode::OK, true));
    assert!(started.elapsed() >= Duration::from_millis(100));
}

#[tokio::test]
async fn a_wait_ends_when_the_server_stops() {
    let world = World::new();
    let receipt = receipt(&world);
    let path = format!("/v1/receipts/{}?wait_ms=60000", receipt.id);
    let stop = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        world.ready.send(false).unwrap();
    };
    let ((status, _), ()) = tokio::join!(world.get(&path), stop);
    assert_eq!(status, StatusCode::OK);
}
