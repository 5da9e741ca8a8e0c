//! Waiting for a verdict, searching and exporting.

use crate::world::World;
use axum::http::StatusCode;
use freehold_model::{Actor, Operation, Receipt, ReceiptId, ReceiptSpec, Txn, Verdict};
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
        secrets: Default::default(),
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
    assert!(started.elapsed() >= Duration::from_millis(100));
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
async fn receipts_are_searched_by_what_is_in_them_a_page_at_a_time() {
    let world = World::new();
    let first = receipt(&world);
    decide(&world, &first, Some(Verdict::Failed));
    let mut spec = first.spec.clone();
    spec.actor = Actor::User("ada".into());
    spec.release_number = Some(70_007);
    // Later than any other, whatever the clock says.
    let id: ReceiptId = "rcp_7zzzzzzzzzzzzzzzzzzzzzzzzz".parse().unwrap();
    let second = Receipt::new(id, "r2", first.parent, spec, SystemClock.now());
    world.put_resource(&second);
    let found = async |query: &str| {
        let (status, page) = world.get(&format!("/v1/receipts?{query}")).await;
        assert_eq!(status, StatusCode::OK, "{query}: {page}");
        let ids: Vec<String> =
            page["items"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().into()).collect();
        ids
    };
    let (one, two) = (first.id.to_string(), second.id.to_string());
    for (query, wanted) in [
        ("", vec![&two, &one]),
        ("app=web&env=prod", vec![&two, &one]),
        ("app=shop", vec![]),
        ("verdict=failed", vec![&one]),
        ("verdict=running", vec![&two]),
        ("actor=ada", vec![&two]),
        ("actor=user:admin", vec![&one]),
        ("search=SEEN", vec![&one]),
        ("search=v70007", vec![&two]),
        (&format!("search={one}"), vec![&one]),
        ("since=2100-01-01T00:00:00Z", vec![]),
        ("until=2100-01-01T00:00:00Z&limit=1", vec![&two]),
        (&format!("after={two}"), vec![&one]),
    ] {
        assert_eq!(found(query).await.iter().collect::<Vec<_>>(), wanted, "{query}");
    }
    let (_, page) = world.get("/v1/receipts?limit=1").await;
    assert_eq!(page["next"], serde_json::json!(two));
    let (status, problem) = world.get("/v1/receipts?verdict=good").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(problem["detail"].as_str().unwrap().contains("or running or queued"), "{problem}");
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
