//! The egress drill: whom it drills, and what it answers.

use crate::world::World;
use axum::http::StatusCode;
use serde_json::json;

#[tokio::test]
async fn nothing_runs_so_there_is_nothing_to_drill() {
    let world = World::new();
    world.tree();
    let (status, drill) = world.post("/v1/drills/egress?app=web", &json!({})).await;
    assert_eq!((status, drill), (StatusCode::OK, json!({ "ok": true, "tries": [] })));
    let (status, problem) = world.post("/v1/drills/egress?app=nobody", &json!({})).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{problem}");
}
