//! The worst callers: each row is a request that must be refused with a problem that names the place,
//! and must change nothing.

use crate::world::World;
use axum::{
    body::Body,
    http::{Request, Response, StatusCode},
};
use freehold_model::Problem;

async fn problem(response: Response<Body>) -> Problem {
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let status = response.status().as_u16();
    let problem: Problem = serde_json::from_slice(&crate::world::bytes(response).await).unwrap();
    assert_eq!(problem.status, status);
    assert!(problem.hint.is_some(), "no way out: {problem}");
    problem
}

#[tokio::test]
async fn bad_paths_and_queries_are_refused_by_name() {
    let world = World::new();
    let long = "x".repeat(5000);
    let rows: &[(&str, u16, &[&str])] = &[
        ("/nothing", 404, &["/openapi.json"]),
        ("/v1", 404, &["/v1"]),
        ("/v1/resources/", 404, &["/v1/resources/"]),
        ("/v1/../token", 404, &[]),
        (&format!("/{long}"), 404, &[]),
        ("/v1/resources", 422, &["kind: is missing", "instance"]),
        ("/v1/resources?kind=pod", 422, &["kind: `pod`", "instance"]),
        ("/v1/resources?kind=app&limit=0", 422, &["limit: `0`", "1 to 1000"]),
        ("/v1/resources?kind=app&limit=-1", 422, &["limit: `-1`"]),
        ("/v1/resources?kind=app&limit=99999999999999999999999", 422, &["limit"]),
        ("/v1/resources?kind=app&limit=1e3", 422, &["limit: `1e3`"]),
        ("/v1/resources?kind=app&limit=1&limit=2", 422, &["limit: is given more than once"]),
        ("/v1/resources?kind=app&labels=a", 422, &["labels: is not a parameter", "label, after"]),
        ("/v1/resources?kind=app&label=a", 422, &["label: `a`: must be key=value"]),
        ("/v1/resources?kind=app&order=best", 422, &["order: `best`", "newest"]),
        ("/v1/resources?kind=app&after=x'%20OR%201=1--", 422, &["after: `x' OR 1=1--`"]),
        ("/v1/resources?kind=app&parent=app_ZZZ", 422, &["parent"]),
        ("/v1/resources/app_%FF", 422, &["UTF-8"]),
        ("/v1/resources/1;DROP%20TABLE%20resource", 422, &["id: `1;DROP TABLE resource`"]),
        ("/v1/resources/app_00000000000000000000000000", 404, &["app app_0"]),
        ("/v1/resources/app_00000000000000000000000000/description", 404, &["app_0"]),
        (
            "/v1/resources/app_00000000000000000000000000?x=1",
            422,
            &["x: is not a parameter", "no parameters"],
        ),
        ("/v1/receipts/app_00000000000000000000000000", 422, &["not a receipt id"]),
        ("/v1/receipts/rcp_00000000000000000000000000", 404, &["receipt rcp_0"]),
        ("/v1/receipts/rcp_00000000000000000000000000?wait_ms=60001", 422, &["wait_ms: `60001`", "60000"]),
        ("/v1/events?last=1&after=2", 422, &["last: cannot"]),
        ("/v1/events?after=-1", 422, &["after: `-1`"]),
        ("/v1/watch?from=now", 422, &["from: `now`"]),
        ("/v1/summaries?app=UPPER", 422, &["app: `UPPER`"]),
        ("/v1/summaries?app=absent", 404, &["app `absent`"]),
        ("/v1/logs", 422, &["app: is missing"]),
        ("/v1/logs?app=web&since=yesterday", 422, &["since: `yesterday`"]),
        ("/v1/logs?app=web&tail=-5", 422, &["tail: `-5`"]),
        ("/v1/logs?app=web&follow=1", 422, &["follow: `1`"]),
        ("/v1/logs?app=web&follow=true&until=2026-01-01T00:00:00Z", 422, &["until: cannot"]),
        ("/v1/instances/ins_00000000000000000000000000/exec", 422, &["WebSocket"]),
        ("/v1/images/inspect", 422, &["reference: is missing"]),
        ("/v1/images/inspect?reference=../../etc/passwd", 422, &["../../etc/passwd"]),
        ("/v1/images/inspect?reference=absent:1", 404, &["absent:1"]),
    ];
    for (path, status, parts) in rows {
        let response = world.send(world.request("GET", path).body(Body::empty()).unwrap()).await;
        assert!(response.headers().contains_key("x-request-id"));
        let problem = problem(response).await;
        let text = problem.to_string();
        assert_eq!(problem.status, *status, "{path}: {text}");
        assert!(text.len() < 1000, "{path} is repeated at length");
        for part in *parts {
            assert!(text.contains(part), "{path}: no `{part}` in: {text}");
        }
    }
    assert_eq!(world.head(), 0);
}

#[tokio::test]
async fn wrong_methods_name_the_right_ones() {
    let world = World::new();
    for (method, path, right) in [
        ("DELETE", "/v1/events", "GET"),
        ("GET", "/v1/plans", "POST"),
        ("PUT", "/v1/images", "GET, DELETE"),
        ("POST", "/healthz", "GET"),
    ] {
        let response = world.send(world.request(method, path).body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        assert_eq!(response.headers()["allow"], right);
        assert!(problem(response).await.hint.unwrap().contains(right));
    }
}

#[tokio::test]
async fn bad_bodies_are_refused_at_their_place() {
    let world = World::new();
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let rows: &[(&str, &str, u16, &[&str])] = &[
        ("application/json", "", 422, &["EOF", "line 1"]),
        ("application/json", "{", 422, &["line 1 column 1"]),
        ("application/json", "null", 422, &["expected"]),
        ("application/json", "{\"reference\": 7}", 422, &["reference: ", "integer `7`", "line 1 column"]),
        (
            "application/json",
            "{\n\"reference\": \"a\",\n\"tls\": false}",
            422,
            &["unknown field `tls`", "line 3"],
        ),
        ("application/json", "{\"reference\":\"a\"} x", 422, &["trailing characters"]),
        ("application/json", "\u{0}\u{1}", 422, &["line 1"]),
        ("application/json", &deep, 422, &[]),
        ("text/plain", "{\"reference\":\"a\"}", 422, &["content-type: text/plain"]),
        ("application/x-www-form-urlencoded", "reference=a", 422, &["content-type: application/json"]),
        ("", "{}", 422, &["content-type: nothing"]),
        ("application/json; charset=utf-8", "{\"reference\":\"no-host:1\"}", 422, &["no-host:1", "host"]),
    ];
    for (kind, body, status, parts) in rows {
        let mut request = world.request("POST", "/v1/images/pull");
        if !kind.is_empty() {
            request = request.header("content-type", *kind);
        }
        let problem = problem(world.send(request.body((*body).to_owned().into()).unwrap()).await).await;
        let text = problem.to_string();
        assert_eq!(problem.status, *status, "{text}");
        for part in *parts {
            assert!(text.contains(part), "no `{part}` in: {text}");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_not_read_to_its_end() {
    let world = World::new();
    let body = format!("{{\"reference\":\"{}\"}}", "x".repeat(3 << 20));
    let request = world.request("POST", "/v1/images/pull").header("content-type", "application/json");
    let problem = problem(world.send(request.body(body.into()).unwrap()).await).await;
    assert_eq!(problem.status, 413);
    assert!(problem.title.contains("2 MiB"), "{problem}");
}

#[tokio::test]
async fn request_ids_are_echoed_when_sane_and_made_when_not() {
    let world = World::new();
    let id = async |given: &str| {
        let request = Request::builder().uri("/healthz").header("x-request-id", given);
        let response = world.send(request.body(Body::empty()).unwrap()).await;
        response.headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(id("trace-42").await, "trace-42");
    for bad in ["a b", "{}", &"x".repeat(65)] {
        let made = id(bad).await;
        assert!(made.starts_with("req_"), "{made}");
    }
}

#[tokio::test]
async fn a_panic_is_answered_without_its_message_and_harms_nobody_else() {
    let world = World::new();
    world.tree();
    let request = world.request("GET", "/v1/logs?app=web&process=panic").header("x-request-id", "trace-1");
    let response = world.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.headers()["x-request-id"], "trace-1");
    let problem = problem(response).await;
    assert_eq!(problem.status, 500);
    assert!(!problem.to_string().contains("hunter2"), "{problem}");
    assert_eq!(world.get("/v1/logs?app=web").await.0, StatusCode::OK);
}

/// Whoever sends half a body and no more is answered in the end, whether or not they are known.
#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let world = World::new();
    for (path, kind) in
        [("/v1/session", "application/json"), ("/signin", "application/x-www-form-urlencoded")]
    {
        let half = futures::StreamExt::chain(
            futures::stream::iter([Ok::<_, std::io::Error>("{")]),
            futures::stream::pending(),
        );
        let request = Request::post(path).header("content-type", kind).header("host", "h");
        let response = world.send(request.body(Body::from_stream(half)).unwrap()).await;
        assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT, "{path}");
    }
}
