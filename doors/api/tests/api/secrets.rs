//! Secrets by HTTP: set, told, removed; and that no route ever says one, sealed or in clear.

use crate::world::{World, bytes};
use axum::http::StatusCode;
use serde_json::json;

/// `planted-hunter2` in base64.
const VALUE: &str = "cGxhbnRlZC1odW50ZXIy";

fn body(name: &str) -> serde_json::Value {
    json!({ "app": "web", "name": name, "value": VALUE })
}

#[tokio::test]
async fn a_secret_is_set_told_and_removed() {
    let world = World::new();
    world.tree();
    let (status, set) = world.post("/v1/secrets", &body("KEY")).await;
    assert_eq!(
        (status, set["version"].as_u64(), set["changed"].as_bool()),
        (StatusCode::OK, Some(1), Some(true))
    );
    let (_, listed) = world.get("/v1/secrets?app=web").await;
    assert_eq!((&listed[0]["name"], &listed[0]["current"]), (&json!("KEY"), &json!(1)));
    assert_eq!(listed[0]["versions"][0]["actor"], json!({ "type": "user", "name": "admin" }));
    let path = format!("/v1/secrets/{}", listed[0]["id"].as_str().unwrap());
    let request = |path: &str| world.request("DELETE", path).body(axum::body::Body::empty()).unwrap();
    let unknown = world.send(request(&format!("{path}?version=7"))).await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    assert_eq!(world.send(request(&path)).await.status(), StatusCode::OK);
    let (_, listed) = world.get("/v1/secrets?app=web").await;
    assert_eq!(listed[0]["current"], json!(null));
    assert!(listed[0]["versions"][0]["removed"].is_string());
}

#[tokio::test]
async fn no_route_says_a_value_sealed_or_in_clear() {
    let world = World::new();
    let (org, project, app, env) = world.tree();
    let (_, set) = world.post("/v1/secrets", &body("KEY")).await;
    let id = set["secret"]["id"].as_str().unwrap().to_owned();
    let sealed = {
        use freehold_reconcile::{Store as _, ViewExt as _};
        let view = world.store.view().await.unwrap();
        let all = view.all::<freehold_model::SecretSpec>(None).unwrap();
        all[0].spec.versions[0].sealed.clone()
    };
    assert!(sealed.len() > 100);
    let (_, rotated) = world.post("/v1/key/rotation", &json!({})).await;
    assert_eq!(rotated["resealed"], json!(1));
    let mut paths: Vec<String> = [org.any_id(), project.any_id(), app.any_id(), env.any_id()]
        .map(|id| format!("/v1/resources/{id}/description"))
        .into();
    paths.extend([
        "/v1/resources?kind=secret".into(),
        format!("/v1/resources/{id}"),
        format!("/v1/resources/{id}/description"),
        "/v1/secrets".into(),
        "/v1/events".into(),
        "/v1/key".into(),
        "/v1/summaries".into(),
    ]);
    let now = {
        use freehold_reconcile::{Store as _, ViewExt as _};
        let view = world.store.view().await.unwrap();
        view.all::<freehold_model::SecretSpec>(None).unwrap()[0].spec.versions[0].sealed.clone()
    };
    assert_ne!(now, sealed, "it was not sealed again");
    for path in paths {
        let response = world.send(world.request("GET", &path).body(axum::body::Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let text = String::from_utf8(bytes(response).await).unwrap();
        for hidden in [&sealed, &now, VALUE, "planted-hunter2", "AGE-SECRET-KEY", "\"sealed\""] {
            assert!(!text.contains(hidden), "{path} says {hidden}: {text}");
        }
    }
}

#[tokio::test]
async fn what_is_in_the_wrong_place_is_not_repeated() {
    let world = World::new();
    world.tree();
    let wrong = [
        json!("hunter2-hunter2"),
        json!({ "app": "web", "name": "hunter2-hunter2", "value": VALUE }),
        json!({ "app": "hunter2_hunter2", "name": "KEY", "value": VALUE }),
        json!({ "app": "web", "name": "KEY", "value": "hunter2-hunter2" }),
        json!({ "app": "web", "name": "KEY", "value": { "hunter2-hunter2": 1 } }),
        json!({ "app": "web", "name": "KEY", "hunter2_hunter2": VALUE }),
        json!({ "app": "web", "name": "KEY", "must_exist": "hunter2-hunter2" }),
        json!({ "app": "web", "name": "KEY", "sealed": "hunter2-hunter2" }),
    ];
    for body in wrong {
        let (status, problem) = world.post("/v1/secrets", &body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
        let text = problem.to_string();
        assert!(!text.contains("hunter2"), "{text}");
        assert!(problem["hint"].is_string(), "{text}");
    }
    let (_, problem) = world.post("/v1/secrets", &json!({ "app": "web", "name": 1, "value": VALUE })).await;
    assert!(problem["detail"].as_str().unwrap().starts_with("name: "), "{problem}");
}
