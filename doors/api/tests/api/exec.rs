//! Exec over a real WebSocket: output, input, exit codes, refusals, the audit trail.

use crate::world::World;
use freehold_model::{
    Instance, InstanceSpec, Phase, Resource,
    exec::{ExecControl, ExecReport, TtySize},
};
use freehold_reconcile::{Clock as _, SystemClock, SystemIds, ports::Ids as _};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest as _},
};

fn instance(world: &World, phase: Phase) -> Instance {
    let (_, _, _, env) = world.tree();
    let digest = freehold_model::Digest::of(b"");
    let template = json!({
        "image": {"reference": "web:1", "digest": digest}, "driver": "container",
        "cpu": "100m", "memory": "64MiB", "stop_timeout": "10s",
    });
    let spec: InstanceSpec = serde_json::from_value(json!({
        "node": "nod_00000000000000000000000001", "process": "web", "release": "rel_00000000000000000000000001",
        "template": template, "template_hash": digest, "address": "10.210.0.2", "desired": "running", "serving": true,
    }))
    .unwrap();
    let mut instance =
        Resource::new(SystemIds.ulid().into(), "i1", Some(env.any_id()), spec, SystemClock.now());
    instance.status.phase = phase;
    world.put_resource(&instance);
    instance
}

async fn connect(world: &World, instance: &Instance) -> Result<WebSocketStream<TcpStream>, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = world.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let url = format!("ws://{address}/v1/instances/{}/exec", instance.id);
    let mut request = url.into_client_request().unwrap();
    let bearer = format!("Bearer {}", world.token.reveal());
    request.headers_mut().insert("authorization", bearer.parse().unwrap());
    client_async(request, TcpStream::connect(address).await.unwrap()).await.map(|(socket, _)| socket)
}

async fn say(socket: &mut WebSocketStream<TcpStream>, value: impl serde::Serialize) {
    socket.send(Message::text(serde_json::to_string(&value).unwrap())).await.unwrap();
}

async fn report(socket: &mut WebSocketStream<TcpStream>) -> ExecReport {
    loop {
        if let Message::Text(text) = socket.next().await.unwrap().unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

#[tokio::test]
async fn a_session_carries_input_output_and_the_exit_code() {
    let world = World::new();
    let instance = instance(&world, Phase::Running);
    let mut socket = connect(&world, &instance).await.unwrap();
    say(&mut socket, json!({"command": ["/bin/cat", "--password=hunter2"], "tty": {"rows": 24, "cols": 80}}))
        .await;
    socket.send(Message::binary(b"hello".to_vec())).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::binary(b"\x01hello".to_vec()));
    say(&mut socket, ExecControl::Resize(TtySize { rows: 1, cols: 132 })).await;
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::binary(b"\x02132".to_vec()));
    say(&mut socket, json!({"from_a_later_version": true})).await;
    say(&mut socket, ExecControl::Eof).await;
    assert_eq!(report(&mut socket).await, ExecReport::Exit(7));

    let (_, events) = world.get(&format!("/v1/events?last=1&subject={}", instance.id)).await;
    assert_eq!(events[0]["what"], "instance.exec");
    assert_eq!(events[0]["actor"], json!({"type": "user", "name": "admin"}));
    assert_eq!(events[0]["data"], json!({"program": "/bin/cat", "arguments": 1, "tty": true}));
}

#[tokio::test]
async fn signals_reach_the_command() {
    let world = World::new();
    let mut socket = connect(&world, &instance(&world, Phase::Running)).await.unwrap();
    say(&mut socket, json!({"command": ["/bin/cat"]})).await;
    say(&mut socket, ExecControl::Signal(15)).await;
    assert_eq!(report(&mut socket).await, ExecReport::Exit(143));
}

#[tokio::test]
async fn what_cannot_be_run_is_reported() {
    let world = World::new();
    let instance = instance(&world, Phase::Running);
    for (first, part) in [
        (json!({"command": ["/missing"]}), "no such program"),
        (json!({"command": []}), "empty"),
        (json!({"command": [""]}), "empty"),
        (json!({"cmd": ["/bin/cat"]}), "unknown field `cmd`"),
        (json!(7), "no ExecRequest"),
    ] {
        let mut socket = connect(&world, &instance).await.unwrap();
        say(&mut socket, &first).await;
        match report(&mut socket).await {
            ExecReport::Failed(why) => assert!(why.contains(part), "{first}: {why}"),
            other => panic!("{first}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn only_a_running_instance_takes_commands() {
    let world = World::new();
    let waiting = instance(&world, Phase::Backoff);
    let Err(Error::Http(refusal)) = connect(&world, &waiting).await else { panic!("it was let in") };
    assert_eq!(refusal.status(), 409);
    let mut gone = waiting;
    gone.id = SystemIds.ulid().into();
    let Err(Error::Http(refusal)) = connect(&world, &gone).await else { panic!("it was let in") };
    assert_eq!(refusal.status(), 404);
}

#[tokio::test]
async fn a_session_ends_when_the_server_stops() {
    let world = World::new();
    let mut socket = connect(&world, &instance(&world, Phase::Running)).await.unwrap();
    say(&mut socket, json!({"command": ["/bin/cat"]})).await;
    socket.send(Message::binary(b"x".to_vec())).await.unwrap();
    socket.next().await.unwrap().unwrap();
    world.ready.send(false).unwrap();
    assert_eq!(report(&mut socket).await, ExecReport::Failed("the server stops".into()));
}
