//! Who gets in: every documented route and the registry, with and without a token.

use crate::world::{World, bytes, is_for_machines, json};
use axum::{
    body::Body,
    http::{Request, StatusCode},
};

/// The routes that anybody may use.
const OPEN: &[&str] = &["/healthz", "/openapi.json"];

/// The routes where what is sent is the proof.
const SIGNING_IN: &[&str] = &["/v1/session", "/v1/invites", "/v1/session/device/poll"];

fn routes() -> Vec<(String, String)> {
    let document = serde_json::to_value(freehold_api::openapi()).unwrap();
    let mut routes = vec![];
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            // The provider speaks its own protocol; tested in `oidc`.
            if is_for_machines(path) || path.starts_with("/oidc/") || path.starts_with("/.well-known/") {
                continue;
            }
            let path = path.replace("{id}", "ins_00000000000000000000000000");
            routes.push((method.to_uppercase(), path));
        }
    }
    for (method, path) in [
        ("GET", "/v2/"),
        ("GET", "/v2"),
        ("PUT", "/v2/x/manifests/1"),
        ("POST", "/v2/x/blobs/uploads/"),
        ("GET", "/v2/_catalog"),
        ("DELETE", "/v2/x/manifests/1"),
        ("HEAD", "/v2/x/blobs/y"),
        ("PATCH", "/v2/x/blobs/uploads/1"),
    ] {
        routes.push((method.into(), path.into()));
    }
    routes
}

#[tokio::test]
async fn nobody_gets_in_without_a_token_and_everybody_is_told_so() {
    let world = World::new();
    let routes = routes();
    assert!(routes.len() > 20, "{routes:?}");
    for (method, path) in routes {
        for wrong in [None, Some("Bearer fh_0"), Some("Basic eDp5"), Some("Bearer "), Some("nonsense")] {
            let mut request = Request::builder().method(method.as_str()).uri(&path);
            if let Some(wrong) = wrong {
                request = request.header("authorization", wrong);
            }
            let response = world.send(request.body(Body::empty()).unwrap()).await;
            if OPEN.contains(&path.as_str()) {
                assert_eq!(response.status(), StatusCode::OK, "{method} {path}");
                continue;
            }
            // Whoever asks to be let in is nobody yet, and stays that until somebody allows it.
            if path == "/v1/session/device" {
                assert_eq!(response.status(), StatusCode::CREATED);
                continue;
            }
            if SIGNING_IN.contains(&path.as_str()) && method == "POST" {
                assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY, "{method} {path}");
                continue;
            }
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{method} {path} {wrong:?}");
            let challenge = response.headers()["www-authenticate"].to_str().unwrap().to_owned();
            let scheme = if path.starts_with("/v2") {
                "Basic realm=\"freehold\""
            } else {
                "Bearer realm=\"freehold\""
            };
            assert_eq!(challenge, scheme, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn the_admin_gets_past_the_guard_everywhere() {
    let world = World::new();
    for (method, path) in routes() {
        let request = world.request(&method, &path).body(Body::empty()).unwrap();
        let response = world.send(request).await;
        let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::METHOD_NOT_ALLOWED];
        assert!(!refused.contains(&response.status()), "{method} {path}: {}", response.status());
    }
}

#[tokio::test]
async fn refusals_speak_the_language_of_their_route() {
    let world = World::new();
    let ask = |path: &str| Request::builder().uri(path).body(Body::empty()).unwrap();
    let (_, problem) = json(world.send(ask("/v1/events")).await).await;
    assert_eq!(problem["code"], "not_signed_in");
    assert!(problem["hint"].as_str().unwrap().contains("Authorization: Bearer"));
    let (_, errors) = json(world.send(ask("/v2/")).await).await;
    assert_eq!(errors["errors"][0]["code"], "UNAUTHORIZED");
}

#[tokio::test]
async fn a_page_of_another_site_is_refused_even_with_the_token() {
    let world = World::new();
    let ask = |origin: &'static str| {
        let request =
            world.request("GET", "/v1/events").header("host", "127.0.0.1:7070").header("origin", origin);
        world.send(request.body(Body::empty()).unwrap())
    };
    assert_eq!(ask("http://127.0.0.1:7070").await.status(), StatusCode::OK);
    for foreign in ["http://evil.example", "null"] {
        let response = ask(foreign).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert!(!String::from_utf8(bytes(response).await).unwrap().contains(world.token.reveal()));
    }
}

#[tokio::test]
async fn health_says_when_the_server_is_not_ready() {
    let world = World::new();
    assert_eq!(world.get("/healthz").await.1["status"], "ready");
    world.ready.send(false).unwrap();
    let (status, problem) = world.get("/healthz").await;
    assert_eq!((status, problem["retry"].as_bool()), (StatusCode::SERVICE_UNAVAILABLE, Some(true)));
    for path in ["/v1/events", "/v2/"] {
        assert_eq!(world.get(path).await.0, StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
    assert_eq!(world.get("/openapi.json").await.0, StatusCode::OK);
}

/// What the node door serves, the other does not, and the other way round; a token counts for nothing there.
#[tokio::test]
async fn the_door_of_machines_takes_certificates_and_no_tokens() {
    let world = World::new();
    let document = serde_json::to_value(freehold_api::openapi()).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let (method, concrete) =
                (method.to_uppercase(), path.replace("{id}", "nod_00000000000000000000000000"));
            let ask = || world.request(&method, &concrete).body(Body::empty()).unwrap();
            let (of_people, of_machines) =
                (world.send(ask()).await.status(), world.send_to_machines(ask()).await.status());
            if !is_for_machines(path) {
                assert_eq!(of_machines, StatusCode::NOT_FOUND, "{method} {path}");
                continue;
            }
            assert_eq!(of_people, StatusCode::NOT_FOUND, "{method} {path}");
            let open = path.starts_with("/v1/join");
            assert_eq!(of_machines == StatusCode::UNAUTHORIZED, !open, "{method} {path}: {of_machines}");
            let as_node = world.send_as_node(ask()).await.status();
            assert!(
                ![StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&as_node),
                "{method} {path}: {as_node}"
            );
        }
    }
}
