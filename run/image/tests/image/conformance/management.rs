//! Category "Content Management".

use super::{NAME, Registry, digest_of};
use freehold_model::Digest;

/// Two tagged images, so that a repository remains when one is gone.
async fn populated() -> (Registry, Digest) {
    let registry = Registry::start().await;
    let manifest = registry.tagged("a", &["tagtest0"]).await;
    registry.tagged("b", &["kept"]).await;
    (registry, digest_of(&manifest))
}

async fn delete(registry: &Registry, what: &str) -> u16 {
    registry.send("DELETE", &format!("/v2/{NAME}/{what}")).await.status().as_u16()
}

#[tokio::test]
async fn delete_request_to_manifest_tag_should_return_202() {
    let (registry, digest) = populated().await;
    assert_eq!(delete(&registry, "manifests/tagtest0").await, 202);
    let by_digest = registry.send("GET", &format!("/v2/{NAME}/manifests/{digest}")).await;
    assert_eq!(by_digest.status(), 200, "only the tag was asked for");
}

#[tokio::test]
async fn delete_request_to_manifest_digest_should_return_202() {
    let (registry, digest) = populated().await;
    assert_eq!(delete(&registry, &format!("manifests/{digest}")).await, 202);
    let gone = registry.send("GET", &format!("/v2/{NAME}/manifests/{digest}")).await;
    assert_eq!(gone.status(), 404);
}

#[tokio::test]
async fn get_request_to_tags_list_should_reflect_manifest_deletion() {
    let (registry, digest) = populated().await;
    assert_eq!(delete(&registry, &format!("manifests/{digest}")).await, 202);
    assert_eq!(registry.tags("").await, ["kept"]);
}

#[tokio::test]
async fn delete_request_to_config_blob_url_should_yield_202_response() {
    let (registry, _) = populated().await;
    let config = registry.blob(b"config").await;
    assert_eq!(delete(&registry, &format!("blobs/{config}")).await, 202);
}

#[tokio::test]
async fn delete_request_to_layer_blob_url_should_yield_202_response() {
    let (registry, _) = populated().await;
    let layer = Digest::of(b"a layer for a");
    assert_eq!(delete(&registry, &format!("blobs/{layer}")).await, 202);
}

#[tokio::test]
async fn get_request_to_deleted_blob_url_should_yield_404_response() {
    let (registry, _) = populated().await;
    let config = registry.blob(b"config").await;
    assert_eq!(delete(&registry, &format!("blobs/{config}")).await, 202);
    assert_eq!(registry.send("GET", &format!("/v2/{NAME}/blobs/{config}")).await.status(), 404);
    assert_eq!(delete(&registry, &format!("blobs/{config}")).await, 404);
}
