//! Logs: whose, merged, followed.

use crate::world::{World, bytes};
use axum::{body::Body, http::StatusCode};
use freehold_api::LogLines;
use freehold_model::{
    InstanceId, Problem,
    logs::{LogLine, LogStream},
};
use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use std::time::Duration;
use tokio::time::timeout;

fn line(second: i64, text: &str) -> Result<LogLine, Problem> {
    Ok(LogLine {
        time: Timestamp::from_second(second).unwrap(),
        stream: LogStream::Stdout,
        instance: InstanceId(Default::default()),
        process: "web".parse().unwrap(),
        text: text.into(),
    })
}

fn lines(of: &[(i64, &str)]) -> LogLines {
    stream::iter(of.iter().map(|(second, text)| line(*second, text)).collect::<Vec<_>>()).boxed()
}

#[tokio::test]
async fn the_lines_of_an_env_come_merged_as_lines_of_json() {
    let world = World::new();
    let (_, _, _, env) = world.tree();
    *world.node.logs.lock().unwrap() = vec![lines(&[(1, "a"), (3, "c")]), lines(&[(2, "b\n\"")])];
    let path = "/v1/logs?app=web&process=web&tail=10&since=1970-01-01T00:00:01Z";
    let response = world.send(world.request("GET", path).body(Body::empty()).unwrap()).await;
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let text = String::from_utf8(bytes(response).await).unwrap();
    let texts: Vec<String> =
        text.lines().map(|line| serde_json::from_str::<LogLine>(line).unwrap().text).collect();
    assert_eq!(texts, ["a", "b\n\"", "c"]);

    let (selection, query) = world.node.asked.lock().unwrap().take().unwrap();
    assert_eq!((selection.env, selection.instance), (Some(env.id), None));
    assert_eq!((query.tail, query.follow), (Some(10), false));
    assert_eq!(query.since, Some(Timestamp::from_second(1).unwrap()));
}

#[tokio::test]
async fn an_instance_that_is_gone_still_has_logs() {
    let world = World::new();
    let id = "ins_00000000000000000000000001";
    let (status, _) = world.get(&format!("/v1/logs?instance={id}")).await;
    assert_eq!(status, StatusCode::OK);
    let (selection, _) = world.node.asked.lock().unwrap().take().unwrap();
    assert_eq!((selection.env, selection.instance.unwrap().to_string().as_str()), (None, id));
}

#[tokio::test]
async fn names_that_nothing_has_are_not_found() {
    let world = World::new();
    world.tree();
    for path in ["/v1/logs?app=other", "/v1/logs?app=web&env=staging", "/v1/logs?app=web&project=x"] {
        assert_eq!(world.get(path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn followed_logs_flow_at_once_and_end_when_the_server_stops() {
    let world = World::new();
    world.tree();
    let endless = lines(&[(1, "now")]).chain(stream::pending()).boxed();
    *world.node.logs.lock().unwrap() = vec![endless, stream::pending().boxed()];
    let request = world.request("GET", "/v1/logs?app=web&follow=true").body(Body::empty()).unwrap();
    let mut body = world.send(request).await.into_body().into_data_stream();
    let first = timeout(Duration::from_secs(5), body.next()).await.unwrap().unwrap().unwrap();
    assert!(first.ends_with(b"\n"));
    world.ready.send(false).unwrap();
    assert!(timeout(Duration::from_secs(5), body.next()).await.unwrap().is_none());
}

#[tokio::test]
async fn logs_that_break_off_do_not_look_complete() {
    let world = World::new();
    world.tree();
    let broken =
        stream::iter([line(1, "a"), Err(Problem::new(freehold_model::Code::Internal, "the disk failed"))]);
    *world.node.logs.lock().unwrap() = vec![broken.boxed()];
    let request = world.request("GET", "/v1/logs?app=web").body(Body::empty()).unwrap();
    let body = world.send(request).await.into_body();
    assert!(axum::body::to_bytes(body, usize::MAX).await.is_err());
}
