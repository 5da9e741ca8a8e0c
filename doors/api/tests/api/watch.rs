//! Server-sent events: order, resumption, selection, and the end.

use crate::world::World;
use axum::body::{Body, BodyDataStream};
use freehold_model::AppSpec;
use futures::StreamExt as _;
use std::time::Duration;
use tokio::time::timeout;

/// The events that come within a moment: (id, what).
async fn next(body: &mut BodyDataStream, count: usize) -> Vec<(u64, String)> {
    let mut text = String::new();
    while text.matches("\n\n").count() < count {
        let chunk = timeout(Duration::from_secs(5), body.next()).await.expect("an event in time");
        text.push_str(std::str::from_utf8(&chunk.expect("the stream goes on").unwrap()).unwrap());
    }
    let field = |event: &str, name: &str| {
        event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
    };
    let parse = |event: &str| {
        let data: serde_json::Value = serde_json::from_str(&field(event, "data:")).unwrap();
        assert_eq!(data["seq"].to_string(), field(event, "id:"));
        (data["seq"].as_u64().unwrap(), data["what"].as_str().unwrap().to_owned())
    };
    text.split_terminator("\n\n").map(parse).collect()
}

async fn watch(world: &World, query: &str, last: Option<&str>) -> BodyDataStream {
    let mut request = world.request("GET", &format!("/v1/watch{query}"));
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let response = world.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    response.into_body().into_data_stream()
}

#[tokio::test]
async fn a_watch_tells_the_past_and_then_the_present() {
    let world = World::new();
    let (_, project, _, _) = world.tree();
    let mut body = watch(&world, "?from=0", None).await;
    let past = next(&mut body, 4).await;
    assert_eq!(past.iter().map(|event| event.0).collect::<Vec<_>>(), [1, 2, 3, 4]);
    world.put("new", Some(project.any_id()), AppSpec {});
    assert_eq!(next(&mut body, 1).await, [(5, "app.created".to_owned())]);
}

#[tokio::test]
async fn a_watch_resumes_after_the_last_event_that_was_seen() {
    let world = World::new();
    let (_, project, _, env) = world.tree();
    let mut body = watch(&world, "?from=0", Some("3")).await;
    assert_eq!(next(&mut body, 1).await[0].0, 4);

    let mut only_new = watch(&world, "", None).await;
    let mut about_env = watch(&world, &format!("?from=0&subject={}", env.id), None).await;
    world.put("new", Some(project.any_id()), AppSpec {});
    assert_eq!(next(&mut only_new, 1).await[0].0, 5);
    assert_eq!(next(&mut about_env, 1).await, [(4, "env.created".to_owned())]);

    let request = world.request("GET", "/v1/watch").header("last-event-id", "last");
    let response = world.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status().as_u16(), 422);
}

#[tokio::test]
async fn a_watch_ends_when_the_server_stops() {
    let world = World::new();
    let mut body = watch(&world, "", None).await;
    world.ready.send(false).unwrap();
    let end = timeout(Duration::from_secs(5), body.next()).await.expect("it ends in time");
    assert!(end.is_none(), "{end:?}");
}
