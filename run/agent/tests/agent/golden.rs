//! Every message of version 1 of the node protocol, as files that no later version may change.
//!
//! A file is what version 1 writes, and must be read by every program that works with version 1. To add a
//! message or a field: a new file for the new version (`UPDATE=1` writes what is missing, and never replaces).

use freehold_agent::{LogSource, remote::protocol::*};
use freehold_model::{
    Bytes, Digest, EndpointSpec, EndpointStatus, InstanceSpec, InstanceStatus, NodeId, Phase, Resource,
    VolumeSpec, VolumeStatus,
    drill::{EgressTry, Way},
    kinds::Capacity,
    logs::{LogLine, LogPlace, LogStream},
    manifest::Driver,
    secrets::Hidden,
    traffic::{AccessEnd, AccessLine, AccessQuery},
};
use freehold_secrets::Delivered;
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{fmt::Debug, fs, path::PathBuf};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/agent/golden")
}

/// The message is written as the file has it, read from the file, and read with fields that it does not know.
fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, message: &T) {
    let path = folder().join(format!("{name}.v1.json"));
    let now = serde_json::to_value(message).unwrap();
    if std::env::var_os("UPDATE").is_some() && !path.exists() {
        fs::create_dir_all(folder()).unwrap();
        fs::write(&path, serde_json::to_string_pretty(&now).unwrap() + "\n").unwrap();
    }
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let golden: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(now, golden, "{name} is written otherwise than by version 1");
    assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), message, "{name} is read otherwise");
    let newer = with_more(golden);
    let read = serde_json::from_value::<T>(newer)
        .unwrap_or_else(|error| panic!("{name} of a later version: {error}"));
    assert_eq!(&read, message, "{name}: a new field changed something");
}

/// The same with one more field at the top, within what an answer holds.
fn with_more(mut value: Value) -> Value {
    let within = ["part", "problem"].into_iter().find(|key| value.get(key).is_some());
    let inner = match within {
        Some(key) => &mut value[key],
        None => &mut value,
    };
    if let Value::Object(fields) = inner {
        fields.insert("of_a_later_version".into(), json!({ "x": [1] }));
    }
    value
}

fn time() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn id<T: std::str::FromStr<Err: Debug>>(prefix: &str, n: u8) -> T {
    format!("{prefix}_0000000000000000000000000{n}").parse().unwrap()
}

fn instance() -> Resource<InstanceSpec> {
    let spec = serde_json::from_value(json!({
        "node": "nod_00000000000000000000000001", "process": "web", "release": "rel_00000000000000000000000001",
        "template_hash": Digest::of(b"template"), "address": "10.210.0.2", "desired": "running", "serving": true,
        "template": {
            "image": { "reference": "web:1", "digest": Digest::of(b"web") }, "driver": "container",
            "env": { "A": "1" }, "cpu": "100m", "memory": "1MiB", "stop_timeout": "1s",
        },
    }));
    let mut instance = Resource::new(id("ins", 1), "web-1", Some(id("env", 1)), spec.unwrap(), time());
    instance.status = InstanceStatus { phase: Phase::Running, healthy: true, ..InstanceStatus::default() };
    (instance.generation, instance.version) = (1, 7);
    instance
}

#[test]
fn every_message_of_version_1_is_as_it_was() {
    check("changes", &Changes { assignments: 7, routing: 8 });
    let changes = Changes { assignments: 7, routing: 8 };
    check("line-changes", &Line::Changes { changes });
    check("assignments", &Assignments { instances: vec![instance().into()] });
    check("instance-report", &instance().status);
    let [app, env, volume] = ["web", "prod", "kept"].map(|it| it.parse().unwrap());
    let node: NodeId = id("nod", 1);
    let spec =
        VolumeSpec { app, env, volume, node, size: Bytes(1 << 30), source: None, task: None, recreate: None };
    let kept = Resource::new(id("vol", 1), "web/prod/kept", Some(id("prj", 1)), spec, time());
    check("volumes", &Volumes { volumes: vec![kept.into()] });
    let status = VolumeStatus { ready: true, used: Bytes(4096), ..VolumeStatus::default() };
    check("volume-report", &VolumeReport { status, event: Some("volume.over_size".into()) });
    check("secrets-wanted", &SecretsWanted { recipient: "age1".into() });
    let delivered = Delivered { name: "PASSWORD".parse().unwrap(), version: 2, sealed: "c2VhbGVk".into() };
    check("secrets", &Secrets { secrets: vec![delivered] });
    check(
        "registration",
        &Registration {
            capacity: Capacity::default(),
            drivers: vec![Driver::Container, Driver::Process],
            version: "0.1.0".into(),
            started: time(),
            lowest_port: 1024,
            trouble: Some("none".into()),
            no_egress: Some("rootless".into()),
        },
    );
    let healed = freehold_agent::Healed {
        what: "the packet filter's table is gone".into(),
        noticed: freehold_agent::Noticed::Notified,
        gone: 40,
        times: 2,
    };
    check(
        "node-report",
        &NodeReport { unguarded: Some("no nf_tables".into()), healed: vec![healed], ..NodeReport::default() },
    );
    let (lasting, range_used) = (Some("the route is gone".into()), Some("the interface tun0".into()));
    check("node-report-states", &NodeReport { lasting, range_used, ..NodeReport::default() });
    check("heartbeat", &Heartbeat { started: time(), low_disk: Some(Bytes(1 << 20)) });
    check("heard", &Heard { register: true, ..Heard::default() });
    check("handed-call", &HandedCall { name: "nas".into(), want: Want::Exec { instance: id("ins", 1) } });
    // Added later: version 1 of before passes it over.
    let controls = vec!["https://10.0.0.6:7118".into(), "https://10.0.0.7:7118".into()];
    check("heard-controls", &Heard { controls, ..Heard::default() });
    check("heard-range", &Heard { range: Some("10.211.0.0/16".into()), ..Heard::default() });
    let spec: EndpointSpec = serde_json::from_value(json!({
        "process": "web", "listen": 8000, "target": 8080, "protocol": "tcp", "proxy_protocol": "off",
    }))
    .unwrap();
    let endpoint = Resource::new(id("end", 1), "tcp/8000", Some(id("env", 1)), spec, time());
    let (endpoints, instances) = (vec![endpoint.into()], vec![instance().into()]);
    let routing = RoutingView { version: 9, endpoints, instances, rollouts: vec![], hop_key: None };
    check("routing", &routing);
    // Added later: a node of before passes it over.
    let hop_key = Some(Hidden::new("hop.00".into()));
    check("routing-hop-key", &RoutingView { hop_key, ..routing });
    let open = EndpointStatus { listening: true, applied: 9, backends: 1, ..EndpointStatus::default() };
    check("endpoint-report", &EndpointReport { endpoints: [(id("end", 1), open)].into() });
}

#[test]
fn every_call_of_version_1_and_its_answers_are_as_they_were() {
    let call = |want| Call { id: "01".into(), want };
    let logs = LogsWanted {
        env: Some(id("env", 1)),
        processes: vec!["web".parse().unwrap()],
        instances: vec!["0001".into()],
        since: Some(time()),
        until: Some(time()),
        tail: Some(10),
        follow: true,
        grep: vec!["x".into()],
        after: [(id("ins", 1), LogPlace { file: 1, offset: 2 })].into(),
    };
    check("call-logs", &call(Want::Logs(logs)));
    check("call-exec", &Line::Call(Box::new(call(Want::Exec { instance: id("ins", 1) }))));
    check("call-exec", &call(Want::Exec { instance: id("ins", 1) }));
    let ports = vec![(8000, "the node's endpoint".to_owned())];
    check("call-drill", &call(Want::Drill { instances: vec![id("ins", 1)], ports }));
    check("call-traffic", &call(Want::Traffic { endpoint: id("end", 1) }));
    let query = AccessQuery { since: Some(time()), tail: Some(3), follow: false };
    check("call-access", &call(Want::Access { endpoint: id("end", 1), query }));
    let later: Call =
        serde_json::from_value(json!({ "id": "01", "want": { "kind": "sing", "song": 1 } })).unwrap();
    assert_eq!(later.want, Want::Unknown);

    let source = LogSource { instance: id("ins", 1), env: id("env", 1), process: "web".parse().unwrap() };
    check("answer-logs-found", &Answer::Part(LogsFound { sources: vec![source] }));
    let line = LogLine {
        time: time(),
        stream: LogStream::Stdout,
        instance: id("ins", 1),
        process: "web".parse().unwrap(),
        next: LogPlace { file: 1, offset: 2 },
        text: "hello".into(),
    };
    check("answer-log-part", &Answer::Part(LogPart { lines: vec![line], caught_up: true }));
    check("answer-started", &Answer::Part(Started {}));
    let tried = EgressTry {
        instance: id("ins", 1),
        process: "web".parse().unwrap(),
        target: "192.0.2.1:80".into(),
        what: "an address outside".into(),
        expected: Way::Closed,
        found: Way::Closed,
        ok: true,
        detail: "refused".into(),
    };
    check("answer-drilled", &Answer::Part(Drilled { tries: vec![tried] }));
    check("answer-carried", &Answer::Part(Carried { traffic: None }));
    let accessed = AccessLine {
        time: time(),
        endpoint: id("end", 1),
        client: "192.0.2.1:5".parse().unwrap(),
        instance: None,
        bytes_in: 1,
        bytes_out: 2,
        duration_ms: 3,
        end: AccessEnd::Done,
    };
    check("answer-access-part", &Answer::Part(AccessPart { lines: vec![accessed] }));
    let problem = freehold_model::Problem::new(freehold_model::Code::Conflict, "It does not run.");
    check("answer-problem", &Answer::<Started>::Problem(problem));
}
