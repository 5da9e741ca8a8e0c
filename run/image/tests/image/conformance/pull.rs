//! Category "Pull".

use super::{NAME, Registry, digest_of, header};
use freehold_model::Digest;
use serde_json::Value;

#[tokio::test]
async fn head_request_to_nonexistent_blob_should_result_in_404_response() {
    let registry = Registry::start().await;
    let path = format!("/v2/{NAME}/blobs/{}", Digest::of(b"dummy"));
    assert_eq!(registry.send("HEAD", &path).await.status(), 404);
}

#[tokio::test]
async fn head_request_to_existing_blob_should_yield_200() {
    let registry = Registry::start().await;
    let digest = registry.blob(b"config").await;
    let head = registry.send("HEAD", &format!("/v2/{NAME}/blobs/{digest}")).await;
    assert_eq!(head.status(), 200);
    assert_eq!(header(&head, "docker-content-digest"), digest.as_str());
    assert_eq!(header(&head, "content-length"), "6");
}

#[tokio::test]
async fn get_nonexistent_blob_should_result_in_404_response() {
    let registry = Registry::start().await;
    let path = format!("/v2/{NAME}/blobs/{}", Digest::of(b"dummy"));
    assert_eq!(registry.send("GET", &path).await.status(), 404);
}

#[tokio::test]
async fn get_request_to_existing_blob_url_should_yield_200() {
    let registry = Registry::start().await;
    let digest = registry.blob(b"config").await;
    let got = registry.send("GET", &format!("/v2/{NAME}/blobs/{digest}")).await;
    assert_eq!(got.status(), 200);
    assert_eq!(got.bytes().await.unwrap().as_ref(), b"config");
}

#[tokio::test]
async fn head_request_to_nonexistent_manifest_should_return_404() {
    let registry = Registry::start().await;
    assert_eq!(registry.send("HEAD", &format!("/v2/{NAME}/manifests/.INVALID")).await.status(), 400);
    assert_eq!(registry.send("HEAD", &format!("/v2/{NAME}/manifests/absent")).await.status(), 404);
}

#[tokio::test]
async fn head_request_to_manifest_path_digest_should_yield_200_response() {
    let registry = Registry::start().await;
    let manifest = registry.tagged("a", &["1"]).await;
    let digest = digest_of(&manifest);
    let path = format!("/v2/{NAME}/manifests/{digest}");
    let head = registry.ask("HEAD", &path).header("accept", crate::support::MANIFEST).send().await.unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(header(&head, "docker-content-digest"), digest.as_str());
    assert_eq!(header(&head, "content-length"), manifest.to_string().len().to_string());
}

#[tokio::test]
async fn head_request_to_manifest_path_tag_should_yield_200_response() {
    let registry = Registry::start().await;
    let manifest = registry.tagged("a", &["1"]).await;
    let head = registry.send("HEAD", &format!("/v2/{NAME}/manifests/1")).await;
    assert_eq!(head.status(), 200);
    assert_eq!(header(&head, "docker-content-digest"), digest_of(&manifest).as_str());
}

#[tokio::test]
async fn get_nonexistent_manifest_should_return_404() {
    let registry = Registry::start().await;
    assert_eq!(registry.send("GET", &format!("/v2/{NAME}/manifests/absent")).await.status(), 404);
}

#[tokio::test]
async fn get_request_to_manifest_path_digest_should_yield_200_response() {
    let registry = Registry::start().await;
    let manifest = registry.tagged("a", &["1"]).await;
    let got = registry.send("GET", &format!("/v2/{NAME}/manifests/{}", digest_of(&manifest))).await;
    assert_eq!(got.status(), 200);
    assert_eq!(got.text().await.unwrap(), manifest.to_string());
}

#[tokio::test]
async fn get_request_to_manifest_path_tag_should_yield_200_response() {
    let registry = Registry::start().await;
    let manifest = registry.tagged("a", &["1"]).await;
    let path = format!("/v2/{NAME}/manifests/1");
    let got = registry.ask("GET", &path).header("accept", crate::support::MANIFEST).send().await.unwrap();
    assert_eq!(
        (got.status().as_u16(), header(&got, "content-type").as_str()),
        (200, crate::support::MANIFEST)
    );
    assert_eq!(got.text().await.unwrap(), manifest.to_string());
}

#[tokio::test]
async fn a_400_response_body_should_contain_oci_conforming_json_message() {
    let registry = Registry::start().await;
    let path = format!("/v2/{NAME}/manifests/sha256:totallywrong");
    let put = registry.ask("PUT", &path).header("content-type", crate::support::MANIFEST).body("blablabla");
    let refused = put.send().await.unwrap();
    assert_eq!(refused.status(), 400);
    let body: Value = refused.json().await.unwrap();
    assert_eq!(body["errors"][0]["code"], "DIGEST_INVALID");
    assert!(body["errors"][0]["message"].is_string());
}
