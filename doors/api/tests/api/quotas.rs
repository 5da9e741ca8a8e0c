//! Quotas by HTTP: listed with what is used, set by whoever is above, and audited.

use crate::world::{World, json};
use axum::{body::Body, http::StatusCode};
use serde_json::{Value, json};

async fn put(world: &World, path: &str, body: &Value) -> (StatusCode, Value) {
    let request = world.request("PUT", path).header("content-type", "application/json");
    json(world.send(request.body(Body::from(body.to_string())).unwrap()).await).await
}

#[tokio::test]
async fn a_quota_is_set_listed_and_found_in_the_audit_trail() {
    let world = World::new();
    let (org, project, ..) = world.tree();
    let path = format!("/v1/quotas/{}", project.id);
    let (status, quota) = put(&world, &path, &json!({ "memory": "1GiB", "instances": 3 })).await;
    assert_eq!((status, &quota), (StatusCode::OK, &json!({ "memory": "1GiB", "instances": 3 })));
    let (_, listed) = world.get("/v1/quotas").await;
    let names: Vec<&str> = listed.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, [org.name.as_str(), project.name.as_str()]);
    assert_eq!((&listed[1]["quota"], &listed[1]["used"]["instances"]), (&quota, &json!(0)));

    for bad in [json!({ "disks": 1 }), json!({ "memory": "lots" }), json!([])] {
        let (status, problem) = put(&world, &path, &bad).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    }
    let (status, _) = put(&world, "/v1/quotas/app_00000000000000000000000000", &json!({})).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (_, events) = world.get("/v1/events?what=project.changed&actor=user:admin").await;
    assert_eq!(events.as_array().map(Vec::len), Some(1), "{events}");
    assert_eq!(events[0]["data"]["reason"], "set a quota");
}

#[tokio::test]
async fn events_are_found_by_actor_name_and_time() {
    let world = World::new();
    let (_, project, ..) = world.tree();
    let path = format!("/v1/quotas/{}", project.id);
    for instances in 0..3 {
        put(&world, &path, &json!({ "instances": instances })).await;
    }
    let count = async |query: &str| {
        let (status, events) = world.get(&format!("/v1/events?{query}")).await;
        assert_eq!(status, StatusCode::OK, "{events}");
        events.as_array().unwrap().len()
    };
    assert_eq!(count("actor=user:admin").await, 3);
    assert_eq!(count("actor=user:admin&last=2").await, 2);
    assert_eq!(count("actor=user:nobody").await, 0);
    assert_eq!(count("what=project&actor=user:admin").await, 3);
    assert_eq!(count("what=proj").await, 0, "a kind is a whole word");
    assert_eq!(count("since=2999-01-01T00:00:00Z&last=100").await, 0);
    assert_eq!(count("since=1970-01-01T00:00:00Z&actor=user:admin&limit=2").await, 2);
    let (status, problem) = world.get("/v1/events?since=yesterday").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
}
