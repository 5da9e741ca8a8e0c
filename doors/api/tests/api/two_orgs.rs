//! Two worlds, alike but that in one of them another org exists, and that its node has another name: whatever a
//! member of the first org asks is answered byte for byte the same in both.
//!
//! The routes are those of the OpenAPI document, with the requests of the access table's test: a new route is
//! tried by itself. What is drawn at random (ids, secrets) and what the clock says is made alike first.

use crate::{
    access_table::{Asked, Site, request},
    images,
    world::{World, bytes, is_for_machines},
};
use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use freehold_model::{
    Actor, AnyId, AppSpec, Bytes, Capacity, EndpointSpec, EnvSpec, InstanceSpec, Kind, Millicores, NodeSpec,
    NodeStatus, OrgSpec, ProjectSpec, ReceiptSpec, Resource, Role, SecretSpec, Spec, Txn, UserSpec,
    VolumeSpec, manifest::Driver,
};
use jiff::Timestamp;
use serde_json::{Value, json};

/// What all orgs of a house share by design, and is therefore not asked for here.
const SHARED: &[(&str, &str)] = &[
    ("free ports", "a node has each port once: a plan says that one is taken, and not by whom"),
    ("free room of nodes", "placement says what does not fit; what else is there is not named"),
    ("names of projects", "unique in the house, so that a manifest needs no org (decision 0022)"),
    ("names of people", "accounts are the house's: a role is given to one by name (docs/people.md)"),
    ("numbers of events and versions", "one log for the house: they count how much happens, not what"),
];

/// Fields of JSON that count for the whole house.
const COUNTERS: &[&str] = &["seq", "version"];
/// Fields that each house draws for itself: its keys, and the codes of who asks to be let in.
const DRAWN: &[&str] =
    &["kid", "x", "y", "recipient", "key", "fingerprint", "user_code", "verification_uri_complete"];

const TIME: &str = "2026-01-01T00:00:00Z";

/// The ids of a site are the same in every world: `n` tells sites apart.
struct Builder<'a> {
    world: &'a World,
    next: u128,
}

impl Builder<'_> {
    fn put<S: Spec>(&mut self, name: &str, parent: Option<AnyId>, spec: S) -> Resource<S> {
        self.next += 1;
        let id = S::Id::from(ulid::Ulid(self.next));
        let resource = Resource::new(id, name, parent, spec, TIME.parse::<Timestamp>().unwrap());
        self.world.put_resource(&resource);
        resource
    }

    /// An org with one of everything.
    fn site(&mut self, org: &'static str, project: &'static str, app: &'static str, port: u16) -> Site {
        let org = self.put(org, None, OrgSpec::default());
        let in_org = self.put(project, Some(org.any_id()), ProjectSpec::default());
        let of_app = self.put(app, Some(in_org.any_id()), AppSpec {});
        let env = self.put("prod", Some(of_app.any_id()), EnvSpec::default());
        let digest = freehold_model::Digest::of(b"");
        let template = json!({
            "image": {"reference": "web:1", "digest": digest}, "driver": "container",
            "cpu": "100m", "memory": "64MiB", "stop_timeout": "10s",
        });
        let instance: InstanceSpec = from(json!({
            "node": "nod_00000000000000000000000001", "process": "web",
            "release": "rel_00000000000000000000000001", "template": template, "template_hash": digest,
            "address": "10.210.0.2", "desired": "running", "serving": true,
        }));
        let endpoint: EndpointSpec = from(json!({
            "process": "web", "listen": port, "target": 80, "protocol": "tcp", "proxy_protocol": "off",
            "trusted_proxies": [],
        }));
        let receipt: ReceiptSpec = from(json!({
            "operation": "deploy", "actor": { "type": "user", "name": "admin" }, "app": app, "env": "prod",
            "plan_hash": digest, "images": {}, "accepted": TIME,
        }));
        let volume: VolumeSpec = from(json!({
            "node": "nod_00000000000000000000000001", "app": app, "env": "prod", "volume": "data", "size": "1GiB",
        }));
        let ids = [
            ("resources", of_app.id.to_string()),
            ("quotas", in_org.id.to_string()),
            ("orgs", org.id.to_string()),
            ("instances", self.put("i", Some(env.any_id()), instance).id.to_string()),
            ("endpoints", self.put(&format!("tcp/{port}"), Some(env.any_id()), endpoint).id.to_string()),
            ("receipts", self.put("r", Some(env.any_id()), receipt).id.to_string()),
            ("volumes", self.put(&format!("{app}/prod/data"), Some(in_org.any_id()), volume).id.to_string()),
            ("secrets", self.put("KEY", Some(env.any_id()), SecretSpec::default()).id.to_string()),
        ];
        Site { project, app, ids: ids.into() }
    }
}

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// A house, in it the org `acme` with a member of each role at its project and at itself; and `rival`, or not.
struct House {
    world: World,
    bearers: Vec<(String, String)>,
    own: Site,
}

/// What `rival` has: asked for in both worlds, and there in one.
fn rival(world: &World) -> Site {
    let mut builder = Builder { world, next: 1_000_000 };
    let site = builder.site("rival", "foreign", "secret-plans", 9443);
    let org = site.ids["orgs"].parse().unwrap();
    let bindings = vec![freehold_model::Binding { role: Role::Owner, org, project: None }];
    builder.put("bob", None, UserSpec { bindings, ..UserSpec::default() });
    site
}

impl House {
    async fn new(node: &str, with_rival: bool) -> House {
        let world = World::new();
        let mut builder = Builder { world: &world, next: 0 };
        let mut machine = builder.put(node, None, NodeSpec::default());
        machine.status = NodeStatus {
            capacity: Capacity { cpu: Millicores(64_000), memory: Bytes(64 << 30) },
            drivers: vec![Driver::Container],
            started: Some(machine.created),
            ..NodeStatus::default()
        };
        let mut txn = Txn::new(Actor::Node(machine.id.to_string()), "test", "req_test");
        txn.observe::<NodeSpec>(machine.id, &machine.status);
        world.store.commit_now(txn).unwrap();
        builder.put("home", None, OrgSpec::default());
        let own = builder.site("acme", "default", "shop", 8000);
        images::push(&world).await;
        if with_rival {
            rival(&world);
            token(&world, "ci", "admin", json!({ "org": "rival" })).await;
        }
        let mut bearers = vec![];
        let (project, org) = (json!({ "project": "default" }), json!({ "org": "acme" }));
        for (role, place) in [
            ("viewer", &project),
            ("developer", &project),
            ("admin", &project),
            ("viewer", &org),
            ("owner", &org),
        ] {
            let name = format!("{role}-{}", if place == &org { "org" } else { "project" });
            bearers.push((name.clone(), token(&world, &name, role, place.clone()).await));
        }
        House { world, bearers, own }
    }

    /// Status, headers and body, but for what is drawn or told by the clock.
    async fn ask(&self, token: &str, asked: &Asked) -> String {
        let mut request = Request::builder().method(asked.method.as_str()).uri(&asked.path);
        request = request.header("authorization", format!("Bearer {token}"));
        if asked.body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = asked.body.as_ref().map_or_else(Body::empty, |body| body.to_string().into());
        let response = self.world.send(request.body(body).unwrap()).await;
        let status = response.status();
        let mut headers: Vec<String> = response
            .headers()
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "x-request-id" | "date" | "content-length"))
            .map(|(name, value)| format!("{name}: {}", words(value.to_str().unwrap_or_default())))
            .collect();
        headers.sort();
        // A stream that is let in does not end.
        in_order();
        let streams = asked.path.starts_with("/v1/watch") && status == StatusCode::OK;
        let text = if streams { vec![] } else { bytes(response).await };
        format!("{status} {headers:?} {}", alike(&String::from_utf8_lossy(&text)))
    }
}

async fn token(world: &World, name: &str, role: &str, place: Value) -> String {
    let mut binding = place;
    binding["role"] = role.into();
    let (status, made) = world.post("/v1/tokens", &json!({ "name": name, "bindings": [binding] })).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    in_order();
    made["token"].as_str().unwrap().to_owned()
}

/// Lets the clock go on: ids of one millisecond come in no order, and lists are in the order of ids.
fn in_order() {
    let now = Timestamp::now().as_millisecond();
    while Timestamp::now().as_millisecond() == now {
        std::hint::spin_loop();
    }
}

/// The text of every line, without what is drawn at random and what the clock says.
fn alike(text: &str) -> String {
    let lines = text.lines().map(|line| match serde_json::from_str::<Value>(line) {
        Ok(mut value) => {
            level(&mut value);
            value.to_string()
        }
        Err(_) => words(line),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn level(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            // An event's hash covers its time, and all that came before.
            let is_event = fields.contains_key("seq") && fields.contains_key("what");
            for (name, field) in fields.iter_mut() {
                let name = name.as_str();
                match field {
                    Value::Number(_) if COUNTERS.contains(&name) => *field = "N".into(),
                    Value::String(_) if DRAWN.contains(&name) || (is_event && name == "hash") => {
                        *field = "DRAWN".into();
                    }
                    field => level(field),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(level),
        Value::String(text) => *text = words(text),
        _ => {}
    }
}

/// Ids that were drawn, times, and secrets, each as a word that says so.
fn words(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':' | '.');
    let mut told = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let word = &rest[..end];
        told += match word {
            "" => &rest[..c.len_utf8()],
            word if word.starts_with("fh_") => "TOKEN",
            // Fixed ids begin with zeros.
            word if word.len() == 30 && word.as_bytes()[3] == b'_' && !word[4..].starts_with("0000") => "ID",
            word if word.trim_end_matches('.').parse::<Timestamp>().is_ok() => "TIME",
            word => word,
        };
        rest = &rest[end.max(c.len_utf8() * usize::from(word.is_empty()))..];
    }
    told
}

/// Every documented route as the access table's test asks for it, at `site`.
fn routes(site: &Site) -> Vec<Asked> {
    let document = serde_json::to_value(freehold_api::openapi()).unwrap();
    let mut all = vec![];
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().map(|method| method.to_uppercase()) {
            if is_for_machines(path) {
                continue;
            }
            let asked = request(&method, path, site).unwrap_or_else(|| panic!("{method} {path} has no case"));
            all.extend(Some(asked).filter(|asked| !asked.path.is_empty()));
        }
    }
    all
}

/// What else could tell that somebody is there: by an id, a name, a filter.
fn probes(rival: &Site) -> Vec<Asked> {
    let get = |path: String| Asked { method: "GET".into(), path, body: None };
    let post = |path: &str, body: Value| Asked { method: "POST".into(), path: path.into(), body: Some(body) };
    let mut all = vec![];
    for kind in Kind::ALL {
        all.push(get(format!("/v1/resources?kind={}", kind.name())));
        all.push(get(format!("/v1/resources?kind={}&order=newest&limit=1", kind.name())));
        for id in ["orgs", "quotas", "resources"].map(|noun| &rival.ids[noun]) {
            all.push(get(format!("/v1/resources?kind={}&parent={id}", kind.name())));
        }
    }
    for id in rival.ids.values() {
        all.push(get(format!("/v1/resources/{id}")));
        all.push(get(format!("/v1/resources/{id}/description")));
        all.push(get(format!("/v1/events?subject={id}")));
    }
    for path in [
        "/v1/events?last=1000",
        "/v1/events?limit=1000",
        "/v1/events?actor=token:ci",
        "/v1/access?action=read&project=default&user=bob",
        "/v1/access?action=read&project=default&token=ci",
        "/v1/access?action=read&project=default&everybody=true",
        "/v1/access?action=read&org=rival",
        "/v1/images/inspect?reference=foreign/web:1",
        "/v2/foreign/web/tags/list",
        "/v2/_catalog",
        "/v1/receipts?project=foreign",
        "/v1/receipts/export?project=foreign",
        "/v1/summaries?app=secret-plans",
        "/v1/quotas",
        "/v1/nothing",
    ] {
        all.push(get(path.into()));
    }
    let bindings = json!([{ "role": "viewer", "project": "default" }]);
    all.push(post("/v1/tokens", json!({ "name": "ci", "bindings": bindings })));
    all.push(post("/v1/tokens", json!({ "name": "ci", "bindings": bindings })));
    all.push(post("/v1/drills/egress?project=default", json!({})));
    let deploy = json!({
        "operation": "deploy", "file": "freehold.toml", "manifest": concat!(
            "schema = 1\napp = \"fresh\"\n[process.web]\nimage = \"web:1\"\ncpu = \"100m\"\nmemory = \"16MiB\"\n",
            "[process.huge]\nimage = \"web:1\"\ncount = 2\ncpu = \"60000m\"\nmemory = \"1GiB\"\n",
            "[process.web.env]\nPGPASSWORD = \"x\"\n[[endpoint]]\nprocess = \"web\"\nlisten = 8100\ntarget = 80\n"),
    });
    all.push(post("/v1/plans", deploy.clone()));
    all.push(post("/v1/operations", json!({ "change": deploy })));
    let copy = json!({ "volume": rival.ids["volumes"] });
    let volume = json!({ "app": "shop", "env": "prod", "volume": "v", "from": copy });
    all.push(post("/v1/volumes", volume));
    let volume = json!({ "app": "shop", "env": "prod", "volume": "v", "node": "no-such-node" });
    all.push(post("/v1/volumes", volume));
    all
}

#[tokio::test]
async fn whatever_a_member_asks_is_answered_alike_whether_another_org_exists_or_not() {
    assert!(SHARED.iter().all(|(what, why)| !what.is_empty() && !why.is_empty()));
    let (alone, together) = (House::new("tower", false).await, House::new("cellar", true).await);
    // The same names and ids, asked for where they are and where they are not.
    let elsewhere = rival(&World::new());
    let mut asked = routes(&alone.own);
    asked.extend(routes(&elsewhere));
    asked.extend(probes(&elsewhere));
    // A caller who makes projects may learn that a name is taken.
    asked.retain(|it| !(it.method == "POST" && matches!(it.path.as_str(), "/v1/projects")));
    let mut told = vec![];
    for ((name, one), (_, other)) in alone.bearers.iter().zip(&together.bearers) {
        for request in &asked {
            let (without, with) = (alone.ask(one, request).await, together.ask(other, request).await);
            if without != with {
                told.push(format!("{name}: {request:?}\n  without: {without}\n  with:    {with}"));
            }
        }
    }
    let first: Vec<&String> = told.iter().take(20).collect();
    assert!(told.is_empty(), "{} answers tell that another org is there:\n{first:#?}", told.len());
    assert!(asked.len() > 250, "only {} requests were tried", asked.len());
}
