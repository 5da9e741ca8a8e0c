//! Volumes by name: made, copied, asked to do something, deleted; and each refusal.

use crate::world::{World, json};
use axum::{body::Body, http::StatusCode};
use freehold_model::{
    Actor, NodeSpec, Txn, Volume, VolumeId, VolumeSpec, VolumeStatus,
    kinds::{Snapshot, TaskState, TaskStatus},
};
use freehold_reconcile::ViewExt as _;
use serde_json::{Value, json as value};

fn house() -> World {
    let world = World::new();
    world.tree();
    world.put("tower", None, NodeSpec::default());
    world
}

async fn made(world: &World) -> Volume {
    let wanted = value!({ "app": "web", "env": "prod", "volume": "data", "size": "5GiB" });
    let (status, volume) = world.post("/v1/volumes", &wanted).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{volume:#}");
    find(world, &volume)
}

fn find(world: &World, volume: &Value) -> Volume {
    let id: VolumeId = volume["id"].as_str().unwrap().parse().unwrap();
    world.store.view_now().find::<VolumeSpec>(id).unwrap().unwrap()
}

/// What its node says.
fn observe(world: &World, volume: &Volume, status: &VolumeStatus) {
    let mut txn = Txn::new(Actor::Node("n".into()), "observed", "agent");
    txn.observe::<VolumeSpec>(volume.id, status);
    world.store.commit_now(txn).unwrap();
}

fn ready() -> VolumeStatus {
    let snapshot = Snapshot {
        name: "old".parse().unwrap(),
        taken: "2026-01-01T00:00:00Z".parse().unwrap(),
        size: Default::default(),
    };
    VolumeStatus { ready: true, snapshots: vec![snapshot], ..VolumeStatus::default() }
}

async fn task(world: &World, volume: &Volume, action: Value) -> (StatusCode, Value) {
    world.post(&format!("/v1/volumes/{}/tasks", volume.id), &action).await
}

async fn cancel(world: &World, volume: &Volume) -> (StatusCode, Value) {
    world.post(&format!("/v1/volumes/{}/cancel", volume.id), &value!({})).await
}

async fn delete(world: &World, volume: &Volume) -> (StatusCode, Value) {
    let request = world.request("DELETE", &format!("/v1/volumes/{}", volume.id));
    json(world.send(request.body(Body::empty()).unwrap()).await).await
}

#[tokio::test]
async fn a_volume_is_made_once_and_asked_for_one_thing_at_a_time() {
    let world = house();
    let volume = made(&world).await;
    assert_eq!((volume.name.as_str(), volume.spec.size.to_string().as_str()), ("web/prod/data", "5GiB"));
    let again = value!({ "app": "web", "env": "prod", "volume": "data" });
    assert_eq!(world.post("/v1/volumes", &again).await.0, StatusCode::CONFLICT);

    let (status, problem) = task(&world, &volume, value!({ "snapshot": "one" })).await;
    assert_eq!(status, StatusCode::CONFLICT, "it is not there yet: {problem:#}");
    observe(&world, &volume, &ready());
    assert_eq!(task(&world, &volume, value!({ "restore": "none" })).await.0, StatusCode::NOT_FOUND);
    assert_eq!(task(&world, &volume, value!({ "snapshot": "old" })).await.0, StatusCode::CONFLICT);
    assert_eq!(task(&world, &volume, value!({ "snapshot": "A b" })).await.0.as_u16(), 422);
    let (status, asked) = task(&world, &volume, value!({ "snapshot": "new" })).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{asked:#}");
    let (status, problem) = task(&world, &volume, value!({ "restore": "old" })).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(problem["title"].as_str().unwrap().contains("the snapshot new is under way"), "{problem:#}");
    assert_eq!(delete(&world, &volume).await.0, StatusCode::CONFLICT);

    // It is called off, once or twice, and stays under way until its node says how that ended.
    for _ in 0..2 {
        let (status, cancelled) = cancel(&world, &volume).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{cancelled:#}");
        assert!(find(&world, &asked).spec.task.unwrap().cancelled);
    }
    let (_, problem) = task(&world, &volume, value!({ "restore": "old" })).await;
    assert!(
        problem["hint"].as_str().unwrap().contains("freehold volume cancel web/prod/data"),
        "{problem:#}"
    );

    let id = find(&world, &asked).spec.task.unwrap().id;
    let task_status = Some(TaskStatus { id, state: TaskState::Done, message: "taken".into() });
    observe(&world, &volume, &VolumeStatus { task: task_status, ..ready() });
    let (status, problem) = cancel(&world, &volume).await;
    assert_eq!(status, StatusCode::CONFLICT, "it has ended: {problem:#}");
    assert_eq!(task(&world, &volume, value!({ "restore": "old" })).await.0, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn what_somebody_has_is_not_deleted_and_what_is_deleted_nobody_gets() {
    let world = house();
    let volume = made(&world).await;
    let (status, deleted) = delete(&world, &volume).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{deleted:#}");
    let holder =
        freehold_reconcile::View::claim(&world.store.view_now(), "volume", &volume.id.to_string()).unwrap();
    assert_eq!(holder, Some(volume.any_id()), "no instance can get it any more");
    assert_eq!(delete(&world, &volume).await.0, StatusCode::CONFLICT);
}

#[tokio::test]
async fn what_is_being_copied_stays() {
    let world = house();
    let volume = made(&world).await;
    let copy = |from: Value| value!({ "app": "web", "env": "test", "volume": "data", "from": from });
    let wanted = copy(value!({ "volume": volume.id.to_string() }));
    assert_eq!(world.post("/v1/volumes", &wanted).await.0, StatusCode::CONFLICT, "it is not there yet");
    observe(&world, &volume, &ready());
    let missing = copy(value!({ "volume": volume.id.to_string(), "snapshot": "none" }));
    assert_eq!(world.post("/v1/volumes", &missing).await.0, StatusCode::NOT_FOUND);
    let (status, clone) = world.post("/v1/volumes", &wanted).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{clone:#}");
    assert_eq!(clone["spec"]["size"], "5GiB", "as its source");
    let (status, problem) = delete(&world, &volume).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(problem["title"].as_str().unwrap().contains("being copied to web/test/data"), "{problem:#}");
    observe(&world, &find(&world, &clone), &ready());
    assert_eq!(delete(&world, &volume).await.0, StatusCode::ACCEPTED);
}
