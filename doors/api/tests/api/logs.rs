//! Logs: whose, merged, followed.

use crate::world::{World, bytes};
use axum::{body::Body, http::StatusCode};
use freehold_api::{LogLines, LogTrail};
use freehold_model::{
    InstanceId, Problem,
    logs::{LogLine, LogPlace, LogStream},
};
use freehold_runtime::logs::LogBatch;
use futures::{Stream, StreamExt as _, stream};
use jiff::Timestamp;
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

fn line(second: i64, text: &str) -> LogLine {
    LogLine {
        time: Timestamp::from_second(second).unwrap(),
        stream: LogStream::Stdout,
        instance: InstanceId(Default::default()),
        process: "web".parse().unwrap(),
        next: LogPlace { file: 1, offset: 20 },
        text: text.into(),
    }
}

fn batch(lines: &[(i64, &str)]) -> Result<LogBatch, Problem> {
    Ok(LogBatch { lines: lines.iter().map(|(second, text)| line(*second, text)).collect(), caught_up: true })
}

fn trail(lines: impl Stream<Item = Result<LogBatch, Problem>> + Send + 'static) -> LogTrail {
    let lines: LogLines = lines.boxed();
    LogTrail { starts: None, lines }
}

fn lines(of: &[(i64, &str)]) -> LogTrail {
    trail(stream::iter([batch(of)]))
}

#[tokio::test]
async fn the_lines_of_an_env_come_merged_as_lines_of_json() {
    let world = World::new();
    let (_, _, _, env) = world.tree();
    *world.node.logs.lock().unwrap() = vec![lines(&[(1, "a"), (3, "c")]), lines(&[(2, "b\n\"")])];
    let path = "/v1/logs?app=web&process=web&process=db&tail=10&since=1970-01-01T00:00:01Z&grep=a%7Cb&grep=c\
                &after=ins_00000000000000000000000001:3.1024";
    let response = world.send(world.request("GET", path).body(Body::empty()).unwrap()).await;
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let text = String::from_utf8(bytes(response).await).unwrap();
    let texts: Vec<String> =
        text.lines().map(|line| serde_json::from_str::<LogLine>(line).unwrap().text).collect();
    assert_eq!(texts, ["a", "b\n\"", "c"]);

    let (selection, query) = world.node.asked.lock().unwrap().take().unwrap();
    assert_eq!((selection.env, selection.instances.len()), (Some(env.id), 0));
    assert_eq!(selection.processes, ["web".parse().unwrap(), "db".parse().unwrap()]);
    assert_eq!((query.tail, query.follow), (Some(10), false));
    assert_eq!(query.since, Some(Timestamp::from_second(1).unwrap()));
    assert_eq!(query.grep, ["a|b", "c"]);
    let after: Vec<_> = query.after.into_values().collect();
    assert_eq!(after, [LogPlace { file: 3, offset: 1024 }]);
}

#[tokio::test]
async fn an_instance_that_is_gone_still_has_logs() {
    let world = World::new();
    let id = "ins_00000000000000000000000001";
    let (status, _) = world.get(&format!("/v1/logs?instance={id}")).await;
    assert_eq!(status, StatusCode::OK);
    let (selection, _) = world.node.asked.lock().unwrap().take().unwrap();
    assert_eq!((selection.env, selection.instances), (None, vec![id.to_owned()]));
}

#[tokio::test]
async fn mistakes_are_named_with_their_place() {
    let world = World::new();
    let bad = "/v1/logs?app=web&grep=a(b&after=ins_1&instance=x!&tail=-1&process=UPPER";
    let (status, problem) = world.get(bad).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let detail = problem["detail"].as_str().unwrap();
    for part in
        ["grep: `a(b`", "unclosed group", "after: `ins_1`", "instance: `x!`", "tail: `-1`", "process:"]
    {
        assert!(detail.contains(part), "{part} in {detail}");
    }
    let (status, problem) = world.get(&format!("/v1/logs?app=web{}", "&grep=a".repeat(17))).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(problem["detail"].as_str().unwrap().contains("grep: is given 17 times, at most 16"), "{problem}");
}

#[tokio::test]
async fn logs_end_when_the_client_has_gone() {
    let world = World::new();
    world.tree();
    let held = Arc::new(());
    let until_dropped = held.clone();
    let endless = stream::iter([batch(&[(1, "now")])]).chain(stream::once(async move {
        let _held = until_dropped;
        std::future::pending().await
    }));
    *world.node.logs.lock().unwrap() = vec![trail(endless)];
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = world.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "GET /v1/logs?app=web&follow=true HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {}\r\n\r\n",
        world.token.reveal()
    );
    tokio::io::AsyncWriteExt::write_all(&mut client, head.as_bytes()).await.unwrap();
    let mut answer = [0; 16];
    tokio::io::AsyncReadExt::read_exact(&mut client, &mut answer).await.unwrap();
    assert!(Arc::strong_count(&held) > 1, "nothing is followed");
    drop(client);
    let gone = async {
        while Arc::strong_count(&held) > 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(20), gone).await.expect("the log is followed for nobody");
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
    let endless = trail(stream::iter([batch(&[(1, "now")])]).chain(stream::pending()));
    let quiet = trail(stream::iter([batch(&[])]).chain(stream::pending()));
    *world.node.logs.lock().unwrap() = vec![endless, quiet];
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
    let failed = Err(Problem::new(freehold_model::Code::Internal, "the disk failed"));
    *world.node.logs.lock().unwrap() = vec![trail(stream::iter([batch(&[(1, "a")]), failed]))];
    let request = world.request("GET", "/v1/logs?app=web").body(Body::empty()).unwrap();
    let body = world.send(request).await.into_body();
    assert!(axum::body::to_bytes(body, usize::MAX).await.is_err());
}
