//! Tokens of machines by HTTP: made once, told never again, revoked at once, and nobody's way up.

use crate::world::{World, bytes, json};
use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use serde_json::{Value, json};

async fn make(world: &World, name: &str, role: &str) -> (String, String) {
    let (status, made) =
        world.post("/v1/tokens", &json!({ "name": name, "bindings": [{ "role": role }] })).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    (made["token"].as_str().unwrap().to_owned(), made["summary"]["id"].as_str().unwrap().to_owned())
}

async fn ask(
    world: &World,
    token: &str,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> (StatusCode, Value) {
    let request =
        Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"));
    let request = request.header("content-type", "application/json");
    json(world.send(request.body(body.map_or_else(Body::empty, |it| it.to_string().into())).unwrap()).await)
        .await
}

#[tokio::test]
async fn a_token_is_told_once_lets_in_and_is_revoked_at_once() {
    let world = World::new();
    world.tree();
    let (token, id) = make(&world, "ci", "developer").await;
    let (_, who) = ask(&world, &token, "GET", "/v1/whoami", None).await;
    assert_eq!(who["actor"], json!({ "type": "token", "name": "ci" }));
    assert_eq!(who["bindings"][0]["project"], "default");
    for path in ["/v1/tokens", "/v1/resources?kind=token", "/v1/events", &format!("/v1/resources/{id}")] {
        let response = world.send(world.request("GET", path).body(Body::empty()).unwrap()).await;
        let text = String::from_utf8(bytes(response).await).unwrap();
        assert!(text.contains("ci"), "{path}: {text}");
        assert!(!text.contains(&token[3..]) && !text.contains("\"hash\":\"\""), "{path}");
    }
    let (_, listed) = world.get("/v1/resources?kind=token").await;
    assert!(listed["items"][0]["spec"].get("hash").is_none(), "{listed}");
    // In the address it is nobody's.
    let (status, _) = json(
        world.send(Request::get(format!("/v1/whoami?token={token}")).body(Body::empty()).unwrap()).await,
    )
    .await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let (status, _) = ask(&world, world.token.reveal(), "DELETE", &format!("/v1/tokens/{id}"), None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (status, _) = ask(&world, &token, "GET", "/v1/whoami", None).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let (_, events) = world.get(&format!("/v1/events?subject={id}")).await;
    let whats: Vec<&str> = events.as_array().unwrap().iter().map(|it| it["what"].as_str().unwrap()).collect();
    assert!(whats.contains(&"token.issued") && whats.contains(&"token.revoked"), "{whats:?}");
}

#[tokio::test]
async fn nobody_rises_by_making_tokens_or_revokes_those_of_others() {
    let world = World::new();
    world.tree();
    let (admin, _) = make(&world, "admin-token", "admin").await;
    let (developer, _) = make(&world, "dev", "developer").await;
    let wanted = |role: &str| Some(json!({ "name": "x", "bindings": [{ "role": role }] }));
    assert_eq!(
        ask(&world, &developer, "POST", "/v1/tokens", wanted("viewer")).await.0,
        StatusCode::FORBIDDEN
    );
    assert_eq!(ask(&world, &admin, "POST", "/v1/tokens", wanted("owner")).await.0, StatusCode::FORBIDDEN);
    let (status, made) = ask(&world, &admin, "POST", "/v1/tokens", wanted("admin")).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(made["summary"]["creator"], json!({ "type": "token", "name": "admin-token" }));
    // One that holds in another place too is not theirs to list or revoke.
    let both =
        json!({ "name": "both", "bindings": [{ "role": "viewer" }, { "role": "viewer", "org": "home" }] });
    let (_, both) = world.post("/v1/tokens", &both).await;
    let path = format!("/v1/tokens/{}", both["summary"]["id"].as_str().unwrap());
    let (status, hidden) = ask(&world, &admin, "DELETE", &path, None).await;
    let (_, never) = ask(&world, &admin, "DELETE", "/v1/tokens/tok_00000000000000000000000000", None).await;
    assert_eq!(
        (status, hidden["title"].as_str().unwrap().len()),
        (StatusCode::NOT_FOUND, never["title"].as_str().unwrap().len())
    );
    let (_, listed) = ask(&world, &admin, "GET", "/v1/tokens", None).await;
    assert!(!listed.to_string().contains("\"both\""), "{listed}");
    // A name means one token.
    let (status, problem) =
        world.post("/v1/tokens", &json!({ "name": "dev", "bindings": [{ "role": "viewer" }] })).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
}

#[tokio::test]
async fn a_developer_neither_takes_foreign_images_nor_leaves_the_container() {
    let world = World::new();
    world.tree();
    world.post("/v1/orgs", &json!({ "name": "elsewhere" })).await;
    let (status, _) = world.post("/v1/projects", &json!({ "name": "foreign", "org": "elsewhere" })).await;
    assert_eq!(status, StatusCode::CREATED);
    let (developer, _) = make(&world, "dev", "developer").await;
    let plan = async |image: &str, more: &str| {
        let manifest = format!("schema = 1\napp = \"a\"\n[process.web]\nimage = \"{image}\"\n{more}");
        let body = json!({ "operation": "deploy", "manifest": manifest, "file": "freehold.toml", "env": null, "project": null });
        ask(&world, &developer, "POST", "/v1/plans", Some(body)).await
    };
    let (status, foreign) = plan("foreign/web:1", "").await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{foreign}");
    let (_, absent) = plan("nowhere/web:1", "").await;
    assert_eq!(foreign.to_string().replace("foreign", "nowhere"), absent.to_string());
    let (status, problem) = plan("web:1", "driver = \"process\"\n").await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{problem}");
}

#[tokio::test]
async fn access_is_explained_to_oneself_and_to_those_who_manage() {
    let world = World::new();
    world.tree();
    let (viewer, _) = make(&world, "eye", "viewer").await;
    let (_, own) = ask(&world, &viewer, "GET", "/v1/access?action=deploy", None).await;
    assert_eq!((&own["needs"], &own["people"][0]["granted"]), (&json!("developer"), &json!(false)));
    assert!(own["people"][0]["reason"].as_str().unwrap().contains("viewer of project default"), "{own}");
    let everybody = "/v1/access?action=deploy&everybody=true";
    assert_eq!(ask(&world, &viewer, "GET", everybody, None).await.0, StatusCode::FORBIDDEN);
    let (_, all) = world.get(everybody).await;
    assert_eq!(all["people"].as_array().unwrap().len(), 2, "{all}");
    assert_eq!(world.get("/v1/access?action=fly").await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(world.get("/v1/access?action=read&token=nobody").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn who_asks_too_often_is_told_the_limit_and_who_raises_it_and_others_are_served() {
    let world = World::new();
    world.tree();
    let make = async |name: &str, rate: Option<&str>| {
        let body = json!({ "name": name, "bindings": [{ "role": "admin" }], "rate": rate });
        let (status, made) = world.post("/v1/tokens", &body).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        made["token"].as_str().unwrap().to_owned()
    };
    let (slow, other) = (make("slow", Some("5/h")).await, make("other", None).await);
    for _ in 0..5 {
        assert_eq!(ask(&world, &slow, "GET", "/v1/whoami", None).await.0, StatusCode::OK);
    }
    for path in ["/v1/whoami", "/v1/watch", "/v1/resources?kind=app", "/v2/"] {
        let request = Request::get(path).header("authorization", format!("Bearer {slow}"));
        let response = world.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS, "{path}");
        let after: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((700..=721).contains(&after), "{after}");
        let text = String::from_utf8(bytes(response).await).unwrap();
        for part in ["The token slow", "5/h", "quota set --org home --rate", "token create NAME --rate"] {
            assert!(text.contains(part), "{path}: {text}");
        }
    }
    assert_eq!(ask(&world, &other, "GET", "/v1/whoami", None).await.0, StatusCode::OK);
    // More than the house gives is not an admin's of a project to give.
    let body = json!({ "name": "fast", "bindings": [{ "role": "viewer" }], "rate": "1000/s" });
    let (status, problem) = ask(&world, &other, "POST", "/v1/tokens", Some(body)).await;
    assert_eq!(
        (status, problem["title"].as_str().unwrap().contains("6000/min")),
        (StatusCode::FORBIDDEN, true)
    );
}

#[tokio::test]
async fn who_holds_as_many_watches_as_may_be_is_refused_more_and_others_are_served() {
    let world = World::new();
    world.tree();
    let (many, other) = (make(&world, "many", "viewer").await.0, make(&world, "other", "viewer").await.0);
    let watch = async |token: &str| {
        let request = Request::get("/v1/watch").header("authorization", format!("Bearer {token}"));
        world.send(request.body(Body::empty()).unwrap()).await
    };
    let mut held = vec![];
    for _ in 0..64 {
        let response = watch(&many).await;
        assert_eq!(response.status(), StatusCode::OK);
        held.push(response);
    }
    let refused = watch(&many).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let text = String::from_utf8(bytes(refused).await).unwrap();
    assert!(text.contains("64 watches of the event log open"), "{text}");
    assert_eq!(watch(&other).await.status(), StatusCode::OK);
    // One that ends makes room for another.
    held.pop();
    assert_eq!(watch(&many).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_house_sets_a_rate_for_all_and_it_counts_at_once() {
    let world = World::new();
    let (org, project, ..) = world.tree();
    let (token, _) = make(&world, "ci", "developer").await;
    assert_eq!(ask(&world, &token, "GET", "/v1/whoami", None).await.0, StatusCode::OK);
    let set = async |id: String, rate: &str| {
        let path = format!("/v1/quotas/{id}");
        ask(&world, world.token.reveal(), "PUT", &path, Some(json!({ "rate": rate }))).await.0
    };
    assert_eq!(set(project.id.to_string(), "2/h").await, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(set(org.id.to_string(), "nonsense").await, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(set(org.id.to_string(), "2/h").await, StatusCode::OK);
    for expected in [StatusCode::OK, StatusCode::OK, StatusCode::TOO_MANY_REQUESTS] {
        assert_eq!(ask(&world, &token, "GET", "/v1/whoami", None).await.0, expected);
    }
    assert_eq!(set(org.id.to_string(), "600/s").await, StatusCode::OK);
    assert_eq!(ask(&world, &token, "GET", "/v1/whoami", None).await.0, StatusCode::OK);
}

#[tokio::test]
async fn who_guesses_is_stopped_and_whoever_shares_the_address_goes_on() {
    let world = World::new();
    world.tree();
    let (token, _) = make(&world, "ci", "developer").await;
    assert_eq!(ask(&world, &token, "GET", "/v1/whoami", None).await.0, StatusCode::OK);
    let mut last = StatusCode::OK;
    for number in 0..1300 {
        last = ask(&world, &format!("fh_{number}"), "GET", "/v1/whoami", None).await.0;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(
        ask(&world, &token, "GET", "/v1/whoami", None).await.0,
        StatusCode::OK,
        "who was known is locked out"
    );
    let health = world.send(Request::get("/healthz").body(Body::empty()).unwrap()).await;
    assert_eq!(health.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_token_ends_with_its_maker() {
    let world = World::new();
    world.tree();
    let (maker, id) = make(&world, "maker", "admin").await;
    let body = json!({ "name": "made", "bindings": [{ "role": "developer" }] });
    let (_, made) = ask(&world, &maker, "POST", "/v1/tokens", Some(body)).await;
    let made = made["token"].as_str().unwrap().to_owned();
    assert_eq!(ask(&world, &made, "GET", "/v1/whoami", None).await.0, StatusCode::OK);
    ask(&world, world.token.reveal(), "DELETE", &format!("/v1/tokens/{id}"), None).await;
    assert_eq!(ask(&world, &made, "GET", "/v1/whoami", None).await.0, StatusCode::UNAUTHORIZED);
    let (_, listed) = world.get("/v1/tokens").await;
    assert_eq!(listed[0]["ended"], "whoever made it is gone", "{listed}");
}
