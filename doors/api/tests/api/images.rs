//! Images over the API and the registry, behind one guard.

use crate::world::World;
use axum::{body::Body, http::StatusCode};
use freehold_model::Digest;
use serde_json::json;

async fn blob(world: &World, bytes: &[u8]) -> Digest {
    let digest = Digest::of(bytes);
    let path = format!("/v2/web/blobs/uploads/?digest={digest}");
    let response = world.send(world.request("POST", &path).body(bytes.to_vec().into()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    digest
}

/// Pushes an image that has no layers.
pub(crate) async fn push(world: &World) -> Digest {
    let config =
        br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"config":{}}"#;
    let digest = blob(world, config).await;
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": kind, "layers": [],
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": config.len()},
    });
    let request = world.request("PUT", "/v2/web/manifests/1").header("content-type", kind);
    let response = world.send(request.body(manifest.to_string().into()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    Digest::of(manifest.to_string().as_bytes())
}

#[tokio::test]
async fn what_is_pushed_is_listed_inspected_and_removed() {
    let world = World::new();
    let digest = push(&world).await;
    let (_, images) = world.get("/v1/images").await;
    assert_eq!(
        (images[0]["reference"].as_str(), images[0]["digest"].as_str()),
        (Some("web:1"), Some(digest.as_str()))
    );
    let (status, inspected) = world.get("/v1/images/inspect?reference=web:1").await;
    assert_eq!((status, inspected["config"]["os"].as_str()), (StatusCode::OK, Some("linux")));

    let remove =
        || world.send(world.request("DELETE", "/v1/images?reference=web:1").body(Body::empty()).unwrap());
    assert_eq!(remove().await.status(), StatusCode::NO_CONTENT);
    assert_eq!(remove().await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_layer_may_be_larger_than_any_json() {
    let world = World::new();
    blob(&world, &vec![7; 5 << 20]).await;
}
