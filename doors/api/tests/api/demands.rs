//! What a release asks of the node beyond its project: every door that leads there asks for the right to it.
//!
//! The routes are those of the OpenAPI document that a developer may use: a new one fails here until it has
//! a case, or a reason why it leads nowhere near.

use crate::{
    operations::{deploy, finish, world},
    world::{World, json},
};
use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use freehold_model::{
    Instance, InstanceSpec, Phase, Release, ReleaseSpec, Snapshot, Volume, VolumeSpec, VolumeStatus,
};
use freehold_reconcile::ViewExt as _;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Routes for developers that start nothing, enter nothing and change no bytes that something works on.
const ELSEWHERE: &[(&str, &str)] = &[
    ("POST /v1/images/pull", "is the house's; what runs is named by digest"),
    ("POST /v1/drills/egress", "tries connections from inside of containers, to where it says"),
    ("DELETE /v1/volumes/{id}", "refused while something has it"),
    ("POST /v1/volumes/{id}/cancel", "leaves it as it was, and what has it begins again with what it had"),
    ("POST /v1/secrets", "reaches a process with the next deploy or renewal, which ask"),
    ("DELETE /v1/secrets/{id}", "refused while something needs it"),
];

const BARE: &str = r#"
schema = 1
app = "shop"
[process.web]
image = "web:1"
driver = "process"
cpu = "100m"
memory = "16MiB"
[[volume]]
name = "data"
process = "web"
path = "/data"
"#;

fn walled(more: &str) -> String {
    BARE.replace("driver = \"process\"\n", more)
}

fn listening(port: u16) -> String {
    walled("") + &format!("[[endpoint]]\nprocess = \"web\"\nlisten = {port}\ntarget = 80\n")
}

/// A house in which an admin has deployed what runs without walls (v1), and then the same within (v2).
struct House {
    world: World,
    developer: String,
    /// Of the project's org, which is the house's.
    keeper: String,
}

impl House {
    async fn new() -> House {
        let world = world().await;
        let token = async |name: &str, role: &str, place: Value| {
            let mut binding = place;
            binding["role"] = role.into();
            let asked = json!({ "name": name, "bindings": [binding] });
            let (status, made) = world.post("/v1/tokens", &asked).await;
            assert_eq!(status, StatusCode::CREATED, "{made}");
            made["token"].as_str().unwrap().to_owned()
        };
        let developer = token("dev", "developer", json!({ "project": "default" })).await;
        let keeper = token("keeper", "admin", json!({ "org": "home" })).await;
        let house = House { world, developer, keeper };
        house.deployed(BARE).await;
        house.deployed(&walled("")).await;
        house
    }

    async fn deployed(&self, manifest: &str) {
        let (status, receipt) =
            self.world.post("/v1/operations", &json!({ "change": deploy(manifest) })).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{receipt}");
        finish(&self.world);
    }

    async fn ask(&self, token: &str, method: &str, path: &str, body: &Value) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("authorization", format!("Bearer {token}"));
        let (request, body) = match body {
            Value::Null => (request, Body::empty()),
            body => (request.header("content-type", "application/json"), body.to_string().into()),
        };
        json(self.world.send(request.body(body).unwrap()).await).await
    }

    /// The developer is told which right it takes; an admin of the house is let through.
    async fn is_asked(&self, what: &str, method: &str, path: &str, body: &Value, right: &str) {
        let (status, problem) = self.ask(&self.developer, method, path, body).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{what}: {problem}");
        assert!(problem["hint"].as_str().unwrap().contains(right), "{what}: {problem}");
        let (status, answer) = self.ask(&self.keeper, method, path, body).await;
        assert!(!matches!(status, StatusCode::FORBIDDEN | StatusCode::NOT_FOUND), "{what}: {answer}");
    }

    async fn is_theirs(&self, what: &str, method: &str, path: &str, body: &Value) {
        let (status, answer) = self.ask(&self.developer, method, path, body).await;
        assert!(
            !matches!(status, StatusCode::FORBIDDEN | StatusCode::NOT_FOUND),
            "{what}: {status} {answer}"
        );
    }

    /// An instance of a release, as a rollout makes it.
    fn instance(&self, release: u32) -> Instance {
        let release = self.release(release);
        let (process, template) = release.spec.templates.iter().next().unwrap();
        let spec: InstanceSpec = serde_json::from_value(json!({
            "node": "nod_00000000000000000000000001", "process": process, "release": release.id,
            "template": template, "template_hash": template.hash(), "address": "10.210.0.2",
            "desired": "running", "serving": true,
        }))
        .unwrap();
        let name = format!("i{}", release.spec.number);
        let mut instance = self.world.put(&name, release.parent, spec);
        instance.status.phase = Phase::Running;
        let mut txn = freehold_model::Txn::new(freehold_model::Actor::System, "test", "req_test");
        txn.observe::<InstanceSpec>(instance.id, &instance.status);
        self.world.store.commit_now(txn).unwrap();
        instance
    }

    fn release(&self, number: u32) -> Release {
        let all: Vec<Release> = self.world.store.view_now().all::<ReleaseSpec>(None).unwrap();
        all.into_iter().find(|release| release.spec.number == number).unwrap()
    }

    fn volume(&self) -> Volume {
        let view = self.world.store.view_now();
        let spec: VolumeSpec = serde_json::from_value(json!({
            "node": view.all::<freehold_model::NodeSpec>(None).unwrap()[0].id,
            "app": "shop", "env": "prod", "volume": "data", "size": "1GiB",
        }))
        .unwrap();
        let project = view.all::<freehold_model::ProjectSpec>(None).unwrap()[0].any_id();
        let volume = self.world.put("shop/prod/data", Some(project), spec);
        let snapshot =
            Snapshot { name: "one".parse().unwrap(), taken: volume.created, size: Default::default() };
        let status = VolumeStatus { ready: true, snapshots: vec![snapshot], ..VolumeStatus::default() };
        let mut txn = freehold_model::Txn::new(freehold_model::Actor::System, "test", "req_test");
        txn.observe::<VolumeSpec>(volume.id, &status);
        self.world.store.commit_now(txn).unwrap();
        volume
    }
}

/// Plans and does it: each asks.
async fn operations(house: &House, what: &str, change: Value, right: &str) {
    let apply = json!({ "change": change });
    house.is_asked(what, "POST", "/v1/plans", &change, right).await;
    house.is_asked(what, "POST", "/v1/operations", &apply, right).await;
    // What the keeper set going has ended, be it now or after what went before.
    finish(&house.world);
}

#[tokio::test]
async fn every_door_to_what_runs_without_walls_asks_for_the_right_to_it() {
    let house = House::new().await;
    let right = "deploy-process";
    let mut tried = BTreeSet::from(["POST /v1/plans", "POST /v1/operations"]);
    let rollback = |to: Value| json!({ "operation": "rollback", "app": "shop", "to": to });
    operations(&house, "an earlier release", rollback(1.into()), right).await;
    house.deployed(&walled("")).await;
    operations(&house, "the one before", rollback(Value::Null), right).await;
    // It runs now: nothing that keeps it, or has it begin again, is a developer's.
    operations(&house, "a renewal", json!({ "operation": "renew", "app": "shop" }), right).await;
    let mut again = deploy(BARE);
    operations(&house, "the same again", again.clone(), right).await;
    again["restart"] = true.into();
    operations(&house, "a restart", again, right).await;
    operations(&house, "more of it", deploy(&BARE.replace("100m", "200m")), right).await;

    let exec = |instance: &Instance| format!("/v1/instances/{}/exec", instance.id);
    tried.insert("GET /v1/instances/{id}/exec");
    let (bare, within) = (house.instance(1), house.instance(2));
    house.is_asked("a command", "GET", &exec(&bare), &Value::Null, right).await;
    house.is_theirs("a command in a container", "GET", &exec(&within), &Value::Null).await;

    let volume = house.volume();
    let (tasks, body) = (format!("/v1/volumes/{}/tasks", volume.id), json!({ "restore": "one" }));
    tried.extend(["POST /v1/volumes/{id}/tasks", "POST /v1/volumes"]);
    house.is_asked("other bytes", "POST", &tasks, &body, right).await;
    tried.insert("POST /v1/volumes/{id}/recreate");
    let recreate = format!("/v1/volumes/{}/recreate", volume.id);
    house.is_asked("an empty volume", "POST", &recreate, &Value::Null, right).await;
    let copy = json!({ "app": "shop", "env": "prod", "volume": "data", "from": { "volume": volume.id } });
    house.is_asked("a volume with bytes", "POST", "/v1/volumes", &copy, right).await;
    let beside = json!({ "app": "shop", "env": "prod", "volume": "other" });
    house.is_theirs("another volume", "POST", "/v1/volumes", &beside).await;

    // To call off what takes its place would have it begin again.
    let (status, receipt) =
        house.ask(&house.keeper, "POST", "/v1/operations", &json!({ "change": deploy(&walled("")) })).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{receipt}");
    let cancel = format!("/v1/receipts/{}/cancel", receipt["id"].as_str().unwrap());
    tried.insert("POST /v1/receipts/{id}/cancel");
    house.is_asked("calling off", "POST", &cancel, &Value::Null, right).await;

    let document = serde_json::to_value(freehold_api::openapi()).unwrap();
    let mut routes = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if matches!(operation["x-access"]["needs"].as_str(), Some("developer")) {
                routes.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
    }
    let known = ELSEWHERE.iter().map(|(route, _)| *route).chain(tried).map(str::to_owned);
    assert_eq!(routes, known.collect(), "every route for developers has a case here, or a reason");
}

#[tokio::test]
async fn link_local_addresses_are_the_houses_to_open() {
    let house = House::new().await;
    let open = walled("egress = [\"169.254.169.254:80\"]\n");
    operations(&house, "an opening", deploy(&open), "reach-link-local").await;
    let inside = house.instance(3);
    let exec = format!("/v1/instances/{}/exec", inside.id);
    house.is_asked("a command", "GET", &exec, &Value::Null, "reach-link-local").await;
}

#[tokio::test]
async fn system_ports_are_the_houses_to_give_and_an_env_keeps_what_it_was_given() {
    let house = House::new().await;
    for port in [22, 53, 80, 1023] {
        let (status, problem) =
            house.ask(&house.developer, "POST", "/v1/plans", &deploy(&listening(port))).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{port}: {problem}");
        assert_eq!(problem["detail"], format!("It needs the system port tcp/{port}."));
    }
    house.is_theirs("a port for all", "POST", "/v1/plans", &deploy(&listening(1024))).await;
    let given = listening(443);
    operations(&house, "a system port", deploy(&given), "listen-low").await;
    // The rollout that finishes at once in this test makes no endpoint: this is it.
    let env = house.release(1).parent;
    let endpoint = serde_json::from_value(json!({
        "process": "web", "listen": 443, "target": 80, "protocol": "tcp", "proxy_protocol": "off",
        "trusted_proxies": [],
    }));
    let endpoint = house.world.put::<freehold_model::EndpointSpec>("tcp/443", env, endpoint.unwrap());
    let mut txn = freehold_model::Txn::new(freehold_model::Actor::System, "test", "req_test");
    txn.claim("port", "tcp/443", endpoint.id);
    house.world.store.commit_now(txn).unwrap();
    let wider = given.replace("100m", "200m");
    house.is_theirs("a deploy that keeps it", "POST", "/v1/plans", &deploy(&wider)).await;
    let other = deploy(&given.replace("\"shop\"", "\"thief\""));
    house.is_asked("another app", "POST", "/v1/plans", &other, "listen-low").await;
}
