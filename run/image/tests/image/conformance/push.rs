//! Category "Push".

use super::{EMPTY, NAME, OTHER, Registry, artifact, digest_of, header, index_of};
use freehold_model::Digest;
use reqwest::Response;
use serde_json::json;

/// The two chunks of the suite's blob B.
const FIRST: &str = "first";
const SECOND: &str = "second!";

impl Registry {
    async fn chunk(&self, place: &str, range: &str, bytes: &'static str) -> Response {
        let patch = self.ask("PATCH", place).header("content-range", range);
        patch.header("content-type", "application/octet-stream").body(bytes).send().await.unwrap()
    }

    async fn finish(&self, place: &str, digest: &Digest, bytes: Vec<u8>) -> Response {
        self.ask("PUT", place).query(&[("digest", digest.as_str())]).body(bytes).send().await.unwrap()
    }
}

#[tokio::test]
async fn patch_request_with_blob_in_body_should_yield_202_response() {
    let registry = Registry::start().await;
    let place = registry.session(NAME).await;
    let patched = registry.ask("PATCH", &place).body("streamed").send().await.unwrap();
    assert_eq!((patched.status().as_u16(), header(&patched, "range").as_str()), (202, "0-7"));
}

#[tokio::test]
async fn put_request_to_session_url_with_digest_should_yield_201_response() {
    let registry = Registry::start().await;
    let place = registry.session(NAME).await;
    let patched = registry.ask("PATCH", &place).body("streamed").send().await.unwrap();
    let digest = Digest::of(b"streamed");
    let put = registry.finish(&header(&patched, "location"), &digest, vec![]).await;
    assert_eq!(put.status(), 201);
    assert_eq!(registry.send("GET", &header(&put, "location")).await.text().await.unwrap(), "streamed");
}

#[tokio::test]
async fn post_request_with_digest_and_blob_should_yield_a_201_or_202() {
    let registry = Registry::start().await;
    let digest = Digest::of(b"whole");
    let path = format!("/v2/{NAME}/blobs/uploads/?digest={digest}");
    let posted = registry.ask("POST", &path).body("whole").send().await.unwrap();
    assert_eq!(posted.status(), 201);
    assert!(!header(&posted, "location").is_empty());
}

#[tokio::test]
async fn get_request_to_blob_url_from_prior_request_should_yield_200_or_404_based_on_response_code() {
    let registry = Registry::start().await;
    let digest = Digest::of(b"whole");
    let path = format!("/v2/{NAME}/blobs/uploads/?digest={digest}");
    let posted = registry.ask("POST", &path).body("whole").send().await.unwrap();
    assert_eq!(registry.send("GET", &header(&posted, "location")).await.status(), 200);
}

#[tokio::test]
async fn post_request_should_yield_a_session_id() {
    let registry = Registry::start().await;
    let place = registry.session(NAME).await;
    assert!(place.starts_with(&format!("/v2/{NAME}/blobs/uploads/")), "{place}");
}

#[tokio::test]
async fn put_upload_of_a_blob_should_yield_a_201_response() {
    let registry = Registry::start().await;
    let place = registry.session(NAME).await;
    let put = registry.finish(&place, &Digest::of(b"config"), b"config".to_vec()).await;
    assert_eq!(put.status(), 201);
    assert!(!header(&put, "location").is_empty());
}

#[tokio::test]
async fn get_request_to_existing_blob_should_yield_200_response() {
    let registry = Registry::start().await;
    let digest = registry.blob(b"config").await;
    assert_eq!(registry.send("GET", &format!("/v2/{NAME}/blobs/{digest}")).await.status(), 200);
}

#[tokio::test]
async fn put_upload_of_a_layer_blob_should_yield_a_201_response() {
    let registry = Registry::start().await;
    let place = registry.session(NAME).await;
    let layer = vec![7; 3 << 20];
    assert_eq!(registry.finish(&place, &Digest::of(&layer), layer.clone()).await.status(), 201);
}

#[tokio::test]
async fn get_request_to_existing_layer_should_yield_200_response() {
    let registry = Registry::start().await;
    let layer = vec![7; 3 << 20];
    let digest = registry.blob(&layer).await;
    let got = registry.send("GET", &format!("/v2/{NAME}/blobs/{digest}")).await;
    assert_eq!(got.status(), 200);
    assert_eq!(Digest::of(&got.bytes().await.unwrap()), digest);
}

#[tokio::test]
async fn out_of_order_blob_upload_should_return_416() {
    let registry = Registry::start().await;
    let place = registry.session(NAME).await;
    assert_eq!(registry.chunk(&place, "5-11", SECOND).await.status(), 416);
}

#[tokio::test]
async fn patch_request_with_first_chunk_should_return_202() {
    let registry = Registry::start().await;
    let place = registry.session(NAME).await;
    let patched = registry.chunk(&place, "0-4", FIRST).await;
    assert_eq!((patched.status().as_u16(), header(&patched, "range").as_str()), (202, "0-4"));
}

#[tokio::test]
async fn retry_previous_blob_chunk_should_return_416() {
    let registry = Registry::start().await;
    let place = registry.session(NAME).await;
    assert_eq!(registry.chunk(&place, "0-4", FIRST).await.status(), 202);
    assert_eq!(registry.chunk(&place, "0-4", FIRST).await.status(), 416);
}

#[tokio::test]
async fn get_on_stale_blob_upload_should_return_204_with_a_range_and_location() {
    let registry = Registry::start().await;
    let place = registry.session(NAME).await;
    registry.chunk(&place, "0-4", FIRST).await;
    let status = registry.send("GET", &place).await;
    assert_eq!((status.status().as_u16(), header(&status, "range").as_str()), (204, "0-4"));
    assert!(!header(&status, "location").is_empty());
}

#[tokio::test]
async fn patch_request_with_second_chunk_should_return_202() {
    let registry = Registry::start().await;
    let place = registry.session(NAME).await;
    let first = registry.chunk(&place, "0-4", FIRST).await;
    let second = registry.chunk(&header(&first, "location"), "5-11", SECOND).await;
    assert_eq!((second.status().as_u16(), header(&second, "range").as_str()), (202, "0-11"));
}

#[tokio::test]
async fn put_request_with_digest_should_return_201() {
    let registry = Registry::start().await;
    let place = registry.session(NAME).await;
    registry.chunk(&place, "0-4", FIRST).await;
    let second = registry.chunk(&place, "5-11", SECOND).await;
    let digest = Digest::of(b"firstsecond!");
    let put = registry.finish(&header(&second, "location"), &digest, vec![]).await;
    assert_eq!(put.status(), 201);
    assert_eq!(registry.send("GET", &header(&put, "location")).await.text().await.unwrap(), "firstsecond!");
}

#[tokio::test]
async fn cross_mounting_of_a_blob_without_the_from_argument_should_yield_session_id() {
    let registry = Registry::start().await;
    let path = format!("/v2/{OTHER}/blobs/uploads/?mount={}", Digest::of(b"dummy"));
    let mounted = registry.send("POST", &path).await;
    assert_eq!(mounted.status(), 202);
    assert!(header(&mounted, "location").starts_with(&format!("/v2/{OTHER}/blobs/uploads/")));
}

#[tokio::test]
async fn post_request_to_mount_another_repositorys_blob_should_return_201_or_202() {
    let registry = Registry::start().await;
    let digest = registry.blob(b"shared").await;
    let path = format!("/v2/{OTHER}/blobs/uploads/?mount={digest}&from={NAME}");
    let mounted = registry.send("POST", &path).await;
    assert_eq!(mounted.status(), 201);
    assert_eq!(header(&mounted, "location"), format!("/v2/{OTHER}/blobs/{digest}"));
}

#[tokio::test]
async fn get_request_to_test_digest_within_cross_mount_namespace_should_return_200() {
    let registry = Registry::start().await;
    let digest = registry.blob(b"shared").await;
    let place = format!("/v2/{OTHER}/blobs/{digest}");
    assert_eq!(registry.send("GET", &place).await.status(), 404, "it is not mounted yet");
    registry.send("POST", &format!("/v2/{OTHER}/blobs/uploads/?mount={digest}&from={NAME}")).await;
    assert_eq!(registry.send("GET", &place).await.text().await.unwrap(), "shared");
}

#[tokio::test]
async fn cross_mounting_of_nonexistent_blob_should_yield_session_id() {
    let registry = Registry::start().await;
    let path = format!("/v2/{OTHER}/blobs/uploads/?mount={}&from={NAME}", Digest::of(b"dummy"));
    let mounted = registry.send("POST", &path).await;
    assert_eq!(mounted.status(), 202);
    assert!(header(&mounted, "location").starts_with(&format!("/v2/{OTHER}/blobs/uploads/")));
}

#[tokio::test]
async fn cross_mounting_without_from_and_automatic_content_discovery_disabled_should_return_a_202() {
    let registry = Registry::start().await;
    let digest = registry.blob(b"shared").await;
    let mounted = registry.send("POST", &format!("/v2/{OTHER}/blobs/uploads/?mount={digest}")).await;
    assert_eq!(mounted.status(), 202);
}

#[tokio::test]
async fn put_should_accept_a_manifest_upload() {
    let registry = Registry::start().await;
    let manifest = registry.image("a").await;
    for number in 0..4 {
        let put = registry.put(&format!("test{number}"), &manifest).await;
        assert_eq!(put.status(), 201);
        assert!(!header(&put, "location").is_empty());
    }
}

#[tokio::test]
async fn registry_should_accept_a_manifest_upload_with_no_layers() {
    let registry = Registry::start().await;
    let mut manifest = registry.image("a").await;
    manifest["layers"] = json!([]);
    let put = registry.put("empty", &manifest).await;
    assert_eq!(put.status(), 201);
    assert!(!header(&put, "location").is_empty());
}

#[tokio::test]
async fn get_request_to_manifest_url_digest_should_yield_200_response() {
    let registry = Registry::start().await;
    let (digest, put) = registry.put_by_digest(&registry.image("a").await).await;
    assert_eq!(put.status(), 201);
    assert_eq!(registry.send("GET", &format!("/v2/{NAME}/manifests/{digest}")).await.status(), 200);
}

#[tokio::test]
async fn registry_should_accept_a_manifest_upload_with_custom_config_media_type_as_artifact_type() {
    let registry = Registry::start().await;
    let mut manifest = registry.image("a").await;
    manifest["config"]["mediaType"] = "application/vnd.nhl.peanut.butter.bagel".into();
    assert_eq!(registry.put_by_digest(&manifest).await.1.status(), 201);
}

#[tokio::test]
async fn registry_should_accept_a_manifest_upload_with_custom_artifact_type() {
    let registry = Registry::start().await;
    registry.blob(EMPTY).await;
    let blob = registry.blob(b"peanut").await;
    let manifest = artifact("application/vnd.nhl.peanut.butter", (&blob, 6), None, "a");
    assert_eq!(registry.put_by_digest(&manifest).await.1.status(), 201);
}

#[tokio::test]
async fn registry_should_accept_a_manifest_upload_with_image_index() {
    let registry = Registry::start().await;
    let manifest = registry.tagged("a", &["1"]).await;
    let index = index_of("application/vnd.food.stand", &manifest, "index");
    assert_eq!(registry.put_by_digest(&index).await.1.status(), 201);
}

#[tokio::test]
async fn registry_should_accept_a_manifest_upload_with_nested_image_index() {
    let registry = Registry::start().await;
    let manifest = registry.tagged("a", &["1"]).await;
    let index = index_of("application/vnd.food.stand", &manifest, "inner");
    registry.put_by_digest(&index).await;
    let outer = index_of("application/vnd.food.stand", &index, "outer");
    assert_eq!(registry.put_by_digest(&outer).await.1.status(), 201);
}

#[tokio::test]
async fn dangling_subject() {
    let registry = Registry::start().await;
    registry.blob(EMPTY).await;
    let blob = registry.blob(b"peanut").await;
    let absent = registry.image("never pushed").await;
    let manifest = artifact("application/vnd.nhl.peanut.butter", (&blob, 6), Some(&absent), "c");
    let (_, put) = registry.put_by_digest(&manifest).await;
    assert_eq!(put.status(), 201);
    assert_eq!(header(&put, "oci-subject"), digest_of(&absent).as_str());
}
