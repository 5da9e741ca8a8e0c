//! Every route of the access table × every role × own and foreign place × nobody: who gets through, who is
//! told that they may not, and who is told what they would be told if nothing were there.
//!
//! The table is read from the OpenAPI document (`x-access`), so a new route without a case here fails.

use crate::world::{World, bytes};
use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use freehold_model::{
    AppSpec, EndpointSpec, EnvSpec, InstanceSpec, OrgSpec, ProjectSpec, ReceiptSpec, Role, SecretSpec,
    VolumeSpec, access::NamedBinding,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What a place has: its names, and an id of everything that a path can name.
pub(crate) struct Site {
    pub(crate) project: &'static str,
    pub(crate) app: &'static str,
    pub(crate) ids: BTreeMap<&'static str, String>,
}

struct House {
    world: World,
    own: Site,
    foreign: Site,
}

/// A token, what it is, and where.
struct Bearer {
    token: Option<String>,
    /// Of the project `default`, or of the org it is in.
    role: Option<Role>,
    house: bool,
}

fn site(world: &World, org: &str, project: &'static str, app: &'static str) -> Site {
    let org = world.put(org, None, OrgSpec::default());
    let in_org = world.put(project, Some(org.any_id()), ProjectSpec::default());
    let of_app = world.put(app, Some(in_org.any_id()), AppSpec {});
    let env = world.put("prod", Some(of_app.any_id()), EnvSpec::default());
    let digest = freehold_model::Digest::of(b"");
    let template = json!({
        "image": {"reference": "web:1", "digest": digest}, "driver": "container",
        "cpu": "100m", "memory": "64MiB", "stop_timeout": "10s",
    });
    let instance: InstanceSpec = from(json!({
        "node": "nod_00000000000000000000000001", "process": "web", "release": "rel_00000000000000000000000001",
        "template": template, "template_hash": digest, "address": "10.210.0.2", "desired": "running", "serving": true,
    }));
    let endpoint: EndpointSpec = from(
        json!({ "process": "web", "listen": 8000, "target": 80, "protocol": "tcp", "proxy_protocol": "off", "trusted_proxies": [] }),
    );
    let receipt: ReceiptSpec = from(json!({
        "operation": "deploy", "actor": { "type": "user", "name": "admin" }, "app": app, "env": "prod",
        "plan_hash": digest, "images": {}, "accepted": "2026-01-01T00:00:00Z",
    }));
    let volume: VolumeSpec = from(json!({
        "node": "nod_00000000000000000000000001", "app": app, "env": "prod", "volume": "data", "size": "1GiB",
    }));
    let ids = [
        ("resources", of_app.id.to_string()),
        ("quotas", in_org.id.to_string()),
        ("orgs", org.id.to_string()),
        ("instances", world.put("i", Some(env.any_id()), instance).id.to_string()),
        ("endpoints", world.put("tcp/8000", Some(env.any_id()), endpoint).id.to_string()),
        ("receipts", world.put("r", Some(env.any_id()), receipt).id.to_string()),
        ("volumes", world.put(app, Some(in_org.any_id()), volume).id.to_string()),
        ("secrets", world.put("KEY", Some(env.any_id()), SecretSpec::default()).id.to_string()),
    ];
    Site { project, app, ids: ids.into() }
}

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

impl House {
    fn new() -> House {
        let world = World::new();
        let own = site(&world, "home", "default", "visible-app");
        let foreign = site(&world, "other-org", "foreign", "hidden-app");
        House { world, own, foreign }
    }

    async fn token(&self, name: &str, role: Role, org: Option<&str>, project: Option<&str>) -> String {
        let name_of = |text: Option<&str>| text.map(|text| text.parse().unwrap());
        let binding = NamedBinding { role, org: name_of(org), project: name_of(project) };
        let (status, made) =
            self.world.post("/v1/tokens", &json!({ "name": name, "bindings": [binding] })).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        made["token"].as_str().unwrap().to_owned()
    }

    /// Nobody, each role of the own project, each of the own org, and the owner of the foreign org.
    async fn bearers(&self) -> Vec<Bearer> {
        let mut all = vec![Bearer { token: None, role: None, house: false }];
        for role in Role::ALL.iter().copied() {
            let of_project = self.token(&format!("{role}-project"), role, None, Some("default")).await;
            all.push(Bearer { token: Some(of_project), role: Some(role), house: false });
            let of_org = self.token(&format!("{role}-org"), role, Some("home"), None).await;
            all.push(Bearer { token: Some(of_org), role: Some(role), house: true });
        }
        all
    }

    async fn send(&self, bearer: Option<&str>, request: &Asked) -> (StatusCode, String) {
        let mut built = Request::builder().method(request.method.as_str()).uri(&request.path);
        if let Some(token) = bearer {
            built = built.header("authorization", format!("Bearer {token}"));
        }
        if request.body.is_some() {
            built = built.header("content-type", "application/json");
        }
        let body = request.body.as_ref().map_or_else(Body::empty, |body| body.to_string().into());
        let response = self.world.send(built.body(body).unwrap()).await;
        let status = response.status();
        // A stream that is let in does not end.
        let streams = request.path.starts_with("/v1/watch") && status == StatusCode::OK;
        let text = if streams { vec![] } else { bytes(response).await };
        (status, String::from_utf8_lossy(&text).into_owned())
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Option<Value>,
}

/// The request that a test makes of a route, at a site. `None`: the route has no case.
pub(crate) fn request(method: &str, path: &str, site: &Site) -> Option<Asked> {
    let (project, app) = (site.project, site.app);
    let noun = path.trim_start_matches("/v1/").split('/').next().unwrap_or_default();
    let mut body = None;
    let query = match (method, path) {
        (
            "GET",
            "/healthz" | "/openapi.json" | "/v1/doctor" | "/v1/controls" | "/v1/tasks" | "/v1/key"
            | "/v1/whoami" | "/v1/images" | "/v1/quotas",
        ) => "".into(),
        (
            "GET",
            "/.well-known/openid-configuration" | "/oidc/jwks" | "/v1/oidc/clients" | "/v1/oidc/keys",
        ) => "".into(),
        ("POST", "/v1/oidc/keys") => {
            body = Some(json!({ "what": "nothing" }));
            "".into()
        }
        // Its own tests have what it takes: tokens of this house are nothing there.
        ("GET" | "POST", "/oidc/userinfo") => {
            return Some(Asked { method: method.into(), path: "".into(), body: None });
        }
        ("POST", "/oidc/token") => "".into(),
        ("GET", "/v1/resources") => "?kind=app".into(),
        ("GET", "/v1/events" | "/v1/receipts/export" | "/v1/receipts" | "/v1/tokens" | "/v1/watch") => {
            "".into()
        }
        ("GET", "/v1/diffs") => format!("?project={project}&app={app}"),
        ("GET", "/v1/summaries" | "/v1/secrets") | ("POST", "/v1/drills/egress") => {
            format!("?project={project}")
        }
        ("GET", "/v1/logs") => format!("?project={project}&app={app}"),
        ("GET", "/v1/access") => format!("?action=read&project={project}"),
        ("GET", "/v1/images/inspect") | ("DELETE", "/v1/images") => format!("?reference={project}/web:1"),
        (
            "GET",
            "/v1/resources/{id}"
            | "/v1/resources/{id}/description"
            | "/v1/receipts/{id}"
            | "/v1/endpoints/{id}/traffic"
            | "/v1/endpoints/{id}/access"
            | "/v1/instances/{id}/exec",
        )
        | ("DELETE", "/v1/volumes/{id}" | "/v1/secrets/{id}")
        | ("POST", "/v1/receipts/{id}/cancel" | "/v1/volumes/{id}/cancel" | "/v1/volumes/{id}/recreate") => {
            "".into()
        }
        ("POST", "/v1/volumes/{id}/tasks") => {
            body = Some(json!({ "snapshot": "one" }));
            "".into()
        }
        ("POST", "/v1/plans") => {
            body = Some(json!({ "operation": "remove", "app": "gone", "project": project }));
            "".into()
        }
        ("POST", "/v1/operations") => {
            body = Some(json!({ "change": { "operation": "remove", "app": "gone", "project": project } }));
            "".into()
        }
        ("POST", "/v1/volumes") => {
            body = Some(json!({ "app": "a", "env": "e", "volume": "v", "project": project }));
            "".into()
        }
        ("POST", "/v1/secrets") => {
            body = Some(json!({ "app": app, "name": "NEW", "value": "eA==", "project": project }));
            "".into()
        }
        ("POST", "/v1/images/pull") => {
            body = Some(json!({ "reference": "nonsense//" }));
            "".into()
        }
        ("POST", "/v1/images/collect") => {
            body = Some(json!({ "dry_run": true }));
            "".into()
        }
        ("POST", "/v1/key/rotation") => "".into(),
        ("GET", "/v1/join-tokens" | "/v1/authority") => "".into(),
        ("POST", "/v1/authority/rotation") => {
            body = Some(json!({ "what": "everything" }));
            "".into()
        }
        ("GET", "/v1/users" | "/v1/session" | "/v1/sessions") => "".into(),
        ("DELETE", "/v1/session") | ("POST", "/v1/session" | "/v1/invites" | "/v1/session/device") => {
            "".into()
        }
        ("POST", "/v1/session/device/poll") => {
            body = Some(json!({ "device": "nothing" }));
            "".into()
        }
        ("POST", "/v1/users") => {
            body = Some(json!({ "name": "admin" }));
            "".into()
        }
        ("POST", "/v1/roles") => {
            body = Some(json!({ "user": "nobody", "role": "viewer", "project": project }));
            "".into()
        }
        ("DELETE" | "POST", "/v1/users/{id}" | "/v1/users/{id}/invite" | "/v1/users/{id}/unlock") => {
            let path = path.replace("{id}", "usr_00000000000000000000000000");
            return Some(Asked { method: method.into(), path, body });
        }
        ("DELETE", "/v1/users/{id}/second-factor") => {
            let path = path.replace("{id}", "usr_00000000000000000000000000");
            return Some(Asked { method: method.into(), path, body });
        }
        ("GET", "/v1/users/{id}/passkeys") | ("DELETE", "/v1/users/{id}/passkeys/{passkey}") => {
            let path = path.replace("{id}", "usr_00000000000000000000000000").replace("{passkey}", "0");
            return Some(Asked { method: method.into(), path, body });
        }
        ("DELETE", "/v1/sessions/{id}") => {
            let path = path.replace("{id}", "ses_00000000000000000000000000");
            return Some(Asked { method: method.into(), path, body });
        }
        ("POST", "/v1/join-tokens") => {
            body = Some(json!({ "machine": "nothing" }));
            "".into()
        }
        ("DELETE" | "POST" | "GET", "/v1/nodes/{id}" | "/v1/nodes/{id}/changes" | "/v1/nodes/{id}/drain") => {
            let path = path.replace("{id}", "nod_00000000000000000000000000");
            let body = (method == "POST").then(|| json!("uncordon"));
            return Some(Asked { method: method.into(), path, body });
        }
        ("DELETE", "/v1/machines/{id}") | ("POST", "/v1/machines/{id}/revocation") => {
            let path = path.replace("{id}", "dev_00000000000000000000000000");
            return Some(Asked { method: method.into(), path, body });
        }
        ("DELETE", "/v1/join-tokens/{id}") | ("POST", "/v1/nodes/{id}/revocation") => {
            let id = if method == "POST" {
                "nod_00000000000000000000000000"
            } else {
                "jtk_00000000000000000000000000"
            };
            return Some(Asked { method: method.into(), path: path.replace("{id}", id), body });
        }
        ("GET" | "DELETE", "/v1/audit/retention") => "".into(),
        ("PUT", "/v1/audit/retention") => {
            body = Some(json!({ "keep": "400d" }));
            "".into()
        }
        ("GET", "/v1/sso") => "".into(),
        ("GET" | "PUT" | "DELETE", "/v1/sso/{name}") | ("POST", "/v1/sso/{name}/check") => {
            let body = (method == "PUT").then(|| json!({ "issuer": "nothing", "client_id": "x" }));
            return Some(Asked { method: method.into(), path: path.replace("{name}", "absent"), body });
        }
        ("PUT", "/v1/quotas/{id}") => {
            body = Some(json!({ "instances": 7 }));
            "".into()
        }
        ("PUT", "/v1/orgs/{id}/second-factor") => {
            body = Some(json!({ "required": false }));
            "".into()
        }
        ("POST", "/v1/orgs") => {
            body = Some(json!({ "name": "home" }));
            "".into()
        }
        ("POST", "/v1/projects") => {
            body = Some(
                json!({ "name": "default", "org": if project == "default" { "home" } else { "other-org" } }),
            );
            "".into()
        }
        ("POST", "/v1/tokens") => {
            body = Some(
                json!({ "name": "x", "bindings": [{ "role": "viewer", "project": project }], "expires_in": "0s" }),
            );
            "".into()
        }
        // Tested in `tokens`.
        ("DELETE", "/v1/tokens/{id}") => {
            return Some(Asked { method: method.into(), path: "".into(), body: None });
        }
        _ => return None,
    };
    let path = match path.contains("{id}") {
        true => path.replace("{id}", site.ids.get(noun)?),
        false => path.to_owned(),
    };
    Some(Asked { method: method.into(), path: path + &query, body })
}

/// Everything that tells the foreign site from nothing.
const HIDDEN: &[&str] = &["hidden-app", "other-org"];

#[tokio::test]
async fn every_route_role_and_place() {
    let house = House::new();
    let bearers = house.bearers().await;
    let stranger = house.token("stranger", Role::Owner, Some("other-org"), None).await;
    let document = serde_json::to_value(freehold_api::openapi()).unwrap();
    let mut routes = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let method = method.to_uppercase();
            let access = &operation["x-access"];
            let needs = access["needs"].as_str().unwrap_or_else(|| panic!("{method} {path} has no access"));
            let place = access["place"].as_str().unwrap();
            // The node door's routes have a test of their own, in `access`.
            if matches!(needs, "node" | "machine" | "join-token") {
                continue;
            }
            let missing = || panic!("{method} {path} has no case in this test");
            let own = request(&method, path, &house.own).unwrap_or_else(missing);
            let foreign = request(&method, path, &house.foreign).unwrap_or_else(missing);
            if own.path.is_empty() {
                continue;
            }
            routes += 1;
            let least = Role::ALL.iter().copied().find(|role| role.name() == needs);
            for bearer in &bearers {
                let case = format!("{method} {path} as {:?}, house {}", bearer.role, bearer.house);
                let (status, text) = house.send(bearer.token.as_deref(), &own).await;
                // Orgs are the house's to make; projects and their quotas, an org's.
                let wide = place == "house"
                    || path == "/v1/projects"
                    || path == "/v1/quotas/{id}"
                    || path == "/v1/orgs/{id}/second-factor";
                let may = match (needs, bearer.role) {
                    ("nothing", _) => true,
                    (_, None) => {
                        assert_eq!(status, StatusCode::UNAUTHORIZED, "{case}: {text}");
                        continue;
                    }
                    ("signed-in", _) => true,
                    (_, role) => role >= least && (bearer.house || !wide),
                };
                let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status);
                assert_eq!(!refused, may, "{case}: {status} {text}");
                // Who manages the people of the house knows of which orgs they are.
                let manages = bearer.house && bearer.role >= Some(Role::Admin);
                for hidden in HIDDEN.iter().filter(|it| !manages || **it != "other-org") {
                    assert!(!text.contains(hidden), "{case} tells of {hidden}: {text}");
                }
                if place == "house" || place == "anywhere" {
                    continue;
                }
                // The foreign place is answered as one that was never there.
                let (there, text_there) = house.send(bearer.token.as_deref(), &foreign).await;
                let (nowhere, text_nowhere) =
                    house.send(bearer.token.as_deref(), &absent(&foreign, &house.foreign)).await;
                assert_eq!(there, nowhere, "{case}: {text_there} but {text_nowhere}");
                assert_eq!(
                    plain(&text_there, &house.foreign),
                    plain(&text_nowhere, &house.foreign),
                    "{case}"
                );
                assert!(!there.is_success() || foreign.path == own.path, "{case}: {there} {text_there}");
            }
            // The owner of another org sees nothing of this one, and nothing of the house.
            let (status, text) = house.send(Some(&stranger), &own).await;
            if needs != "nothing" && place == "house" {
                assert_eq!(status, StatusCode::FORBIDDEN, "stranger {method} {path}: {text}");
            }
            assert!(!text.contains("visible-app"), "stranger {method} {path}: {text}");
        }
    }
    assert!(routes > 35, "only {routes} routes were tried");
}

/// The same request of what never was.
fn absent(foreign: &Asked, site: &Site) -> Asked {
    let swap = |text: &str| {
        let text = text.replace(site.project, "nowhere").replace("other-org", "nowhere-at-all");
        site.ids.values().fold(text, |text, id| text.replace(id.as_str(), &nobody(id)))
    };
    let body = foreign.body.as_ref().map(|body| serde_json::from_str(&swap(&body.to_string())).unwrap());
    Asked { method: foreign.method.clone(), path: swap(&foreign.path), body }
}

/// An id of the same kind that nothing has.
fn nobody(id: &str) -> String {
    format!("{}_{}", id.split('_').next().unwrap(), "0".repeat(26))
}

/// A text without the names of what was asked for.
fn plain(text: &str, site: &Site) -> String {
    let text = text.replace(site.project, "X").replace("other-org", "X");
    let text = text.replace("nowhere-at-all", "X").replace("nowhere", "X");
    site.ids.values().fold(text, |text, id| text.replace(id.as_str(), "ID").replace(&nobody(id), "ID"))
}

#[tokio::test]
async fn the_registry_goes_by_the_repositorys_project() {
    let house = House::new();
    let ask = async |token: &str, method: &str, path: &str| {
        house.send(Some(token), &Asked { method: method.into(), path: path.into(), body: None }).await.0
    };
    let viewer = house.token("viewer", Role::Viewer, None, None).await;
    let developer = house.token("developer", Role::Developer, None, None).await;
    let keeper = house.token("keeper", Role::Admin, Some("home"), None).await;
    let refused = StatusCode::FORBIDDEN;
    // (method, path, viewer, developer of the project, admin of the house): refused?
    for (method, path, expected) in [
        ("GET", "/v2/", [false, false, false]),
        ("GET", "/v2/_catalog", [true, true, false]),
        ("GET", "/v2/default/web/manifests/1", [false, false, false]),
        ("POST", "/v2/default/web/blobs/uploads/", [true, false, false]),
        ("DELETE", "/v2/default/web/manifests/1", [true, true, false]),
        // Of a project that is not there nobody writes anything.
        ("POST", "/v2/nowhere/web/blobs/uploads/", [false, false, false]),
        // What is in no project is for all to read, and for the house to write.
        ("GET", "/v2/base/manifests/1", [false, false, false]),
        ("POST", "/v2/base/blobs/uploads/", [true, true, false]),
        ("DELETE", "/v2/base/manifests/1", [true, true, false]),
    ] {
        for (token, expected) in [&viewer, &developer, &keeper].into_iter().zip(expected) {
            let status = ask(token, method, path).await;
            assert_eq!(status == refused, expected, "{method} {path}: {status}");
        }
    }
    for (method, path) in [
        ("GET", "/v2/foreign/web/manifests/1"),
        ("GET", "/v2/foreign/web/tags/list"),
        ("PUT", "/v2/foreign/web/manifests/1"),
        ("POST", "/v2/foreign/web/blobs/uploads/"),
        ("DELETE", "/v2/foreign/web/manifests/1"),
        ("POST", "/v2/nowhere/web/blobs/uploads/"),
    ] {
        assert_eq!(ask(&keeper, method, path).await, StatusCode::NOT_FOUND, "{method} {path}");
    }
    // A mount from what one may not read is an upload like any other.
    let digest = freehold_model::Digest::of(b"x");
    let path = format!("/v2/default/web/blobs/uploads/?mount={digest}&from=foreign/web");
    assert_eq!(ask(&developer, "POST", &path).await, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn lists_events_and_receipts_hold_what_one_may_see_and_nothing_else() {
    let house = House::new();
    let viewer = house.token("viewer", Role::Viewer, None, None).await;
    let stranger = house.token("stranger", Role::Owner, Some("other-org"), None).await;
    let get = async |token: &str, path: &str| {
        let asked = Asked { method: "GET".into(), path: path.into(), body: None };
        let (status, text) = house.send(Some(token), &asked).await;
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
        text
    };
    for path in [
        "/v1/resources?kind=app",
        "/v1/resources?kind=app&limit=1",
        "/v1/resources?kind=app&order=newest&limit=1",
        "/v1/summaries",
        "/v1/receipts",
        "/v1/receipts/export",
        "/v1/events",
        "/v1/events?last=200",
    ] {
        let seen = get(&viewer, path).await;
        assert!(seen.contains("visible-app") && !seen.contains("hidden-app"), "{path}: {seen}");
        let seen = get(&stranger, path).await;
        assert!(seen.contains("hidden-app") && !seen.contains("visible-app"), "{path}: {seen}");
    }
    // Events of what is gone stay with those who could see it.
    let app: freehold_model::AppId = house.own.ids["resources"].parse().unwrap();
    let mut txn = freehold_model::Txn::new(freehold_model::Actor::System, "gone", "req_test");
    txn.delete(app);
    house.world.store.commit_now(txn).unwrap();
    assert!(get(&viewer, &format!("/v1/events?subject={app}")).await.contains("app.deleted"));
    assert_eq!(get(&stranger, &format!("/v1/events?subject={app}")).await, "[]");
    // The org that one's project is in shows that project alone.
    let orgs: Value = serde_json::from_str(&get(&viewer, "/v1/resources?kind=org").await).unwrap();
    assert_eq!(orgs["items"].as_array().unwrap().len(), 1);
}
