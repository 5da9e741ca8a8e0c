//! The client against a server that answers as Freehold does, and breaks off where a real one might.

use axum::{
    Json, Router,
    body::Body,
    extract::{
        Query, RawQuery, State, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use freehold_client::{Client, ClientError, ExecFrame, LogNews, LogScope, Logs, Wait};
use freehold_model::{
    Actor, AnyId, Code, Digest, Event, InstanceId, Kind, Operation, Problem, Receipt, ReceiptId, ReceiptSpec,
    api::{Apply, Change},
    exec::{ExecControl, ExecReport, ExecRequest, STDERR, STDOUT},
    kinds::Verdict,
    logs::{LogLine, LogPlace, LogQuery, LogStream},
};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::net::TcpListener;

const TOKEN: &str = "fht_test";

/// Serves `router` on a port of its own and answers with a client of it.
async fn serve(router: Router) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Client::new(&url, Some(TOKEN)).unwrap()
}

fn time(second: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn event(seq: u64) -> Event {
    Event {
        seq,
        time: time(0),
        actor: Actor::System,
        request: "r".into(),
        subject: AnyId { kind: Kind::App, ulid: Default::default() },
        what: "app.created".into(),
        data: serde_json::Value::Null,
        hash: String::new(),
    }
}

fn receipt(verdict: Option<Verdict>) -> Receipt {
    let spec = ReceiptSpec {
        operation: Operation::Deploy,
        actor: Actor::User("admin".into()),
        app: "shop".parse().unwrap(),
        env: "prod".parse().unwrap(),
        plan_hash: Digest::of(b"plan"),
        manifest_hash: None,
        release: None,
        release_number: Some(1),
        previous: None,
        previous_number: None,
        secrets: Default::default(),
        images: Default::default(),
        accepted: time(0),
        queued: None,
    };
    let mut receipt = Receipt::new(ReceiptId(Default::default()), "r", None, spec, time(0));
    receipt.status.verdict = verdict;
    receipt
}

fn problem(code: Code) -> Response {
    let problem = Problem::new(code, "no").hint("do otherwise");
    (StatusCode::from_u16(problem.status).unwrap(), Json(problem)).into_response()
}

#[tokio::test]
async fn a_refusal_arrives_as_its_problem_and_the_token_is_sent() {
    let answer = |headers: HeaderMap| async move {
        assert_eq!(headers[header::AUTHORIZATION], format!("Bearer {TOKEN}"));
        problem(Code::OverQuota)
    };
    let client = serve(Router::new().route("/v1/summaries", get(answer))).await;
    let error = client.summaries(&Default::default()).await.unwrap_err();
    assert_eq!(error.exit_code(), 6);
    assert!(
        matches!(error, ClientError::Problem(problem) if problem.hint.as_deref() == Some("do otherwise"))
    );
}

#[tokio::test]
async fn a_server_that_says_later_is_obeyed_for_a_while_where_twice_is_no_harm() {
    let asked = Arc::new(AtomicUsize::new(0));
    let answer = |after: &'static str| {
        let asked = asked.clone();
        async move || match asked.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => ([(header::RETRY_AFTER, after)], problem(Code::RateLimited)).into_response(),
            _ => Json(Vec::<Event>::new()).into_response(),
        }
    };
    let router =
        |after| Router::new().route("/v1/events", get(answer(after))).route("/v1/plans", post(answer(after)));
    let count = || asked.swap(0, Ordering::Relaxed);
    let soon = serve(router("1")).await;
    assert!(soon.events(&Default::default()).await.is_ok());
    assert_eq!(count(), 2);
    let change = Change::Remove { app: "shop".parse().unwrap(), project: None };
    assert_eq!(soon.plan(&change).await.unwrap_err().code(), Code::RateLimited);
    assert_eq!(count(), 1, "what may not be done twice was sent twice");
    let late = serve(router("3600")).await;
    assert_eq!(late.events(&Default::default()).await.unwrap_err().code(), Code::RateLimited);
    assert_eq!(count(), 1);
}

#[tokio::test]
async fn what_is_no_answer_of_freehold_is_said_to_be_none() {
    let client = serve(Router::new().route("/v1/doctor", get(async || "<html>"))).await;
    let error = client.doctor().await.unwrap_err();
    assert!(matches!(error, ClientError::Protocol { .. }) && error.to_string().contains("<html>"), "{error}");
}

#[tokio::test]
async fn a_watch_goes_on_where_it_was_cut_and_repeats_nothing() {
    // Two events for each connection; the second connection repeats the last of the first.
    let answer = |Query(query): Query<HashMap<String, u64>>| async move {
        let from = query["from"];
        let first = from.max(1);
        let frames = [first, first + 1].map(|seq| {
            format!(": hello\n\nid: {seq}\ndata: {}\n\n", serde_json::to_string(&event(seq)).unwrap())
        });
        Response::builder()
            .header(header::CONTENT_TYPE, "text/event-stream")
            .body(Body::from(frames.concat()))
            .unwrap()
    };
    let client = serve(Router::new().route("/v1/watch", get(answer))).await;
    let mut watch = client.watch(0, None);
    let mut seen = vec![];
    for _ in 0..4 {
        seen.push(watch.next().await.unwrap().seq);
    }
    assert_eq!((seen, watch.last()), (vec![1, 2, 3, 4], 4));
}

/// Away for longer than the log reaches back: it is said once, and what follows is all that is there.
#[tokio::test]
async fn a_watch_from_before_the_beginning_says_so_and_goes_on() {
    let answer = |Query(query): Query<HashMap<String, u64>>| async move {
        let from = query["from"];
        if from < 7 {
            let gone = Problem { first: Some(8), ..Problem::new(Code::Gone, "gone") };
            return (StatusCode::GONE, Json(gone)).into_response();
        }
        let seq = from + 1;
        let frame = format!("id: {seq}\ndata: {}\n\n", serde_json::to_string(&event(seq)).unwrap());
        ([(header::CONTENT_TYPE, "text/event-stream")], frame).into_response()
    };
    let client = serve(Router::new().route("/v1/watch", get(answer))).await;
    let mut watch = client.watch(3, None);
    let gone = watch.next().await.unwrap_err();
    assert_eq!((gone.code(), gone.exit_code(), watch.last()), (Code::Gone, 4, 7));
    assert_eq!((watch.next().await.unwrap().seq, watch.next().await.unwrap().seq), (8, 9));
}

#[tokio::test]
async fn a_watch_that_is_refused_says_so() {
    let client = serve(Router::new().route("/v1/watch", get(async || problem(Code::NotSignedIn)))).await;
    assert_eq!(client.watch(0, None).next().await.unwrap_err().exit_code(), 3);
}

#[tokio::test]
async fn waiting_outlives_a_server_that_restarts() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = Client::new(&format!("http://{address}"), None).unwrap();
    drop(listener);
    let route = format!("/v1/receipts/{}", ReceiptId(Default::default()));
    tokio::spawn(async move {
        // Nobody answers at first; then a server that is not ready; then the verdict.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let asked = Arc::new(AtomicUsize::new(0));
        let answer = move || {
            let count = asked.fetch_add(1, Ordering::SeqCst);
            async move {
                match count {
                    0 => problem(Code::Unavailable),
                    1 => Json(receipt(None).to_any()).into_response(),
                    _ => Json(receipt(Some(Verdict::Succeeded)).to_any()).into_response(),
                }
            }
        };
        let listener = TcpListener::bind(address).await.unwrap();
        axum::serve(listener, Router::new().route(&route, get(answer))).await.unwrap();
    });
    let mut seen = 0;
    let wait = Wait::for_verdict(Duration::from_secs(20)).polling(Duration::from_millis(50));
    let ended = client.wait_receipt(ReceiptId(Default::default()), wait, |_| seen += 1).await.unwrap();
    assert_eq!((ended.status.verdict, seen), (Some(Verdict::Succeeded), 2));
}

#[tokio::test]
async fn waiting_ends_at_its_deadline_without_a_verdict() {
    let answer = async || Json(receipt(None).to_any());
    let route = format!("/v1/receipts/{}", ReceiptId(Default::default()));
    let client = serve(Router::new().route(&route, get(answer))).await;
    let wait = Wait::for_verdict(Duration::from_millis(200)).polling(Duration::from_millis(20));
    let ended = client.wait_receipt(ReceiptId(Default::default()), wait, |_| ()).await.unwrap();
    assert_eq!(ended.status.verdict, None);
}

#[tokio::test]
async fn an_operation_is_repeated_with_its_key_while_the_server_is_away() {
    let keys = Arc::new(Mutex::new(vec![]));
    let seen = keys.clone();
    let answer = move |headers: HeaderMap, Json(_): Json<Apply>| {
        let mut keys = seen.lock().unwrap();
        keys.push(headers["idempotency-key"].to_str().unwrap().to_owned());
        let away = keys.len() < 3;
        async move {
            match away {
                true => problem(Code::Unavailable),
                false => (StatusCode::ACCEPTED, Json(receipt(None).to_any())).into_response(),
            }
        }
    };
    let client = serve(Router::new().route("/v1/operations", post(answer))).await;
    let change = Change::Remove { app: "shop".parse().unwrap(), project: None };
    let apply = Apply { change, plan_hash: None };
    client.apply(&apply, Some("key"), Duration::from_secs(20)).await.unwrap();
    assert_eq!(*keys.lock().unwrap(), ["key", "key", "key"]);
    keys.lock().unwrap().clear();
    let error = client.apply(&apply, Some("key"), Duration::ZERO).await.unwrap_err();
    assert!(error.is_transient());
}

/// Line `second` of an instance; each takes ten bytes of its log.
fn line(instance: u128, second: u64, text: &str) -> LogLine {
    LogLine {
        time: time(second as i64),
        stream: LogStream::Stdout,
        instance: InstanceId(instance.into()),
        process: "web".parse().unwrap(),
        next: LogPlace { file: 0, offset: second * 10 },
        text: text.into(),
    }
}

fn ndjson(lines: &[LogLine]) -> String {
    lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect()
}

async fn texts(logs: &mut Logs, count: usize) -> Vec<String> {
    let mut seen = vec![];
    while seen.len() < count {
        match logs.next().await.unwrap() {
            LogNews::Lines(lines) => seen.extend(lines.into_iter().map(|line| line.text)),
            LogNews::Broken => seen.push("(broken)".into()),
            LogNews::End => break,
        }
    }
    seen
}

#[tokio::test]
async fn followed_logs_go_on_where_they_were_cut() {
    let answer = |RawQuery(query): RawQuery| async move {
        let query = query.unwrap();
        if query.contains("tail=5") {
            // The second instance's line comes late: it is older than what was given out already.
            return ndjson(&[line(1, 2, "a"), line(1, 4, "b"), line(2, 3, "c")]) + "{\"time\":";
        }
        for (part, count) in [("since=", 1), ("after=", 2), ("0.40", 1), ("0.30", 1), ("tail", 0)] {
            assert_eq!(query.matches(part).count(), count, "{part} in {query}");
        }
        let since: String = form(&time(2).to_string());
        assert!(query.contains(&format!("since={since}")), "{query}");
        ndjson(&[line(2, 4, "d"), line(1, 5, "e")])
    };
    let client = serve(Router::new().route("/v1/logs", get(answer))).await;
    let query = LogQuery { follow: true, tail: Some(5), ..LogQuery::default() };
    let mut logs = client.logs(LogScope::default(), query).await.unwrap();
    assert_eq!(texts(&mut logs, 6).await, ["a", "b", "c", "(broken)", "d", "e"]);
}

fn form(text: &str) -> String {
    text.replace(':', "%3A")
}

#[tokio::test]
async fn logs_that_were_cut_before_their_first_line_go_on_from_when_they_began() {
    let answer = |RawQuery(query): RawQuery| async move {
        let query = query.unwrap();
        let text = match query.contains("tail=0") {
            true => String::new(),
            false => {
                assert!(query.contains(&format!("since={}", form(&time(7).to_string()))), "{query}");
                ndjson(&[line(1, 8, "a")])
            }
        };
        ([("freehold-began", time(7).to_string())], text)
    };
    let client = serve(Router::new().route("/v1/logs", get(answer))).await;
    let query = LogQuery { follow: true, tail: Some(0), ..LogQuery::default() };
    let mut logs = client.logs(LogScope::default(), query).await.unwrap();
    assert_eq!(texts(&mut logs, 2).await, ["(broken)", "a"]);
}

#[tokio::test]
async fn logs_that_are_not_followed_end() {
    let answer = async || ndjson(&[line(1, 1, "a"), line(1, 1, "a")]);
    let client = serve(Router::new().route("/v1/logs", get(answer))).await;
    let mut logs = client.logs(LogScope::default(), LogQuery::default()).await.unwrap();
    assert_eq!(texts(&mut logs, 9).await, ["a", "a"]);
}

/// Echoes standard input to both outputs until it ends, then exits with 42.
async fn echo(mut socket: WebSocket) {
    let Some(Ok(Message::Text(first))) = socket.recv().await else { panic!("no request") };
    let request: ExecRequest = serde_json::from_str(&first).unwrap();
    assert_eq!(request.command, ["cat"]);
    while let Some(Ok(message)) = socket.recv().await {
        match message {
            Message::Binary(bytes) => {
                for stream in [STDOUT, STDERR] {
                    let frame: Vec<u8> = std::iter::once(stream).chain(bytes.iter().copied()).collect();
                    socket.send(Message::Binary(frame.into())).await.unwrap();
                }
            }
            Message::Text(text) => {
                assert_eq!(serde_json::from_str::<ExecControl>(&text).unwrap(), ExecControl::Eof);
                break;
            }
            _ => {}
        }
    }
    let report = serde_json::to_string(&ExecReport::Exit(42)).unwrap();
    socket.send(Message::text(report)).await.unwrap();
}

#[tokio::test]
async fn a_command_gets_its_input_and_gives_output_and_exit_code() {
    let answer = async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(echo);
    let client = serve(Router::new().route("/v1/instances/{id}/exec", get(answer))).await;
    let request = ExecRequest::new(["cat"]);
    let (mut input, mut output) = client.exec(InstanceId(Default::default()), &request).await.unwrap();
    assert!(input.stdin(Bytes::from_static(b"hi")).await);
    assert_eq!(output.next().await.unwrap(), ExecFrame::Stdout(Bytes::from_static(b"hi")));
    assert_eq!(output.next().await.unwrap(), ExecFrame::Stderr(Bytes::from_static(b"hi")));
    assert!(input.control(&ExecControl::Eof).await);
    assert_eq!(output.next().await.unwrap(), ExecFrame::Exit(42));
    assert!(output.next().await.is_err());
}

#[tokio::test]
async fn a_command_that_is_refused_says_why() {
    let answer = async |State(code): State<Code>| problem(code);
    let router = Router::new().route("/v1/instances/{id}/exec", get(answer)).with_state(Code::NotFound);
    let client = serve(router).await;
    let request = ExecRequest::new(["cat"]);
    let error = client.exec(InstanceId(Default::default()), &request).await.unwrap_err();
    assert_eq!(error.exit_code(), 4);
}
