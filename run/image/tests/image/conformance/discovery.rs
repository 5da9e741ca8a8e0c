//! Category "Content Discovery".

use super::{EMPTY, NAME, Registry, artifact, digest_of, header, index_of};
use crate::support::INDEX;
use freehold_model::Digest;
use serde_json::{Value, json};

const KIND_A: &str = "application/vnd.nba.strawberry.jam.croissant";
const KIND_B: &str = "application/vnd.nhl.peanut.butter.bagel";

/// What the suite's setup attaches to one image: five manifests, some before it is there.
async fn attach(registry: &Registry) -> (Value, Vec<Digest>) {
    registry.blob(EMPTY).await;
    let blob = registry.blob(b"reference").await;
    let subject = registry.image("subject").await;
    let other = registry.tagged("other", &["other"]).await;
    let config_as_type = |kind: &str, note: &str| {
        let mut manifest = artifact(kind, (&blob, 9), Some(&subject), note);
        manifest.as_object_mut().unwrap().remove("artifactType");
        manifest["config"]["mediaType"] = kind.into();
        manifest
    };
    let mut index = index_of("application/vnd.food.stand", &other, "index");
    index["subject"] = artifact(KIND_A, (&blob, 9), Some(&subject), "")["subject"].clone();
    let before =
        [config_as_type(KIND_A, "a-config"), artifact(KIND_A, (&blob, 9), Some(&subject), "a-layer"), index];
    let after = [config_as_type(KIND_B, "b-config"), artifact(KIND_B, (&blob, 9), Some(&subject), "b-layer")];
    let mut attached = Vec::new();
    for (number, manifest) in before.iter().chain(&after).enumerate() {
        if number == before.len() {
            assert_eq!(registry.put("subject", &subject).await.status(), 201);
        }
        let (digest, put) = registry.put_by_digest(manifest).await;
        assert_eq!(put.status(), 201);
        assert_eq!(header(&put, "oci-subject"), digest_of(&subject).as_str());
        attached.push(digest);
    }
    (subject, attached)
}

/// The entries of a referrers index.
async fn referrers(
    registry: &Registry,
    subject: &Digest,
    query: &str,
) -> (Vec<Value>, reqwest::header::HeaderMap) {
    let answer = registry.send("GET", &format!("/v2/{NAME}/referrers/{subject}{query}")).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "content-type").as_str()), (200, INDEX));
    let headers = answer.headers().clone();
    let index: Value = answer.json().await.unwrap();
    (index["manifests"].as_array().unwrap().clone(), headers)
}

#[tokio::test]
async fn get_request_to_list_tags_should_yield_200_response() {
    let registry = Registry::start().await;
    registry.tagged("a", &["test0", "test1", "test2", "test3"]).await;
    assert_eq!(registry.tags("").await, ["test0", "test1", "test2", "test3"]);
}

#[tokio::test]
async fn get_number_of_tags_should_be_limitable_by_n_query_parameter() {
    let registry = Registry::start().await;
    registry.tagged("a", &["test0", "test1", "test2", "test3"]).await;
    assert_eq!(registry.tags("?n=2").await.len(), 2);
}

#[tokio::test]
async fn get_start_of_tag_is_set_by_last_query_parameter() {
    let registry = Registry::start().await;
    registry.tagged("a", &["test0", "test1", "test2", "test3"]).await;
    assert_eq!(registry.tags("?n=2&last=test1").await, ["test2", "test3"]);
}

#[tokio::test]
async fn get_request_to_nonexistent_blob_should_result_in_empty_200_response() {
    let registry = Registry::start().await;
    assert_eq!(referrers(&registry, &Digest::of(b"dummy"), "").await.0, Vec::<Value>::new());
}

#[tokio::test]
async fn get_request_to_existing_blob_should_yield_200() {
    let registry = Registry::start().await;
    let (subject, attached) = attach(&registry).await;
    let (entries, _) = referrers(&registry, &digest_of(&subject), "").await;
    let mut found: Vec<String> =
        entries.iter().map(|entry| entry["digest"].as_str().unwrap().to_owned()).collect();
    let mut expected: Vec<String> = attached.iter().map(ToString::to_string).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    for entry in entries {
        assert!(entry["annotations"]["note"].is_string() && entry["artifactType"].is_string(), "{entry}");
    }
}

#[tokio::test]
async fn get_request_to_existing_blob_with_filter_should_yield_200() {
    let registry = Registry::start().await;
    let (subject, _) = attach(&registry).await;
    let (entries, headers) =
        referrers(&registry, &digest_of(&subject), &format!("?artifactType={KIND_A}")).await;
    assert_eq!(headers["oci-filters-applied"], "artifactType");
    let mut notes: Vec<&str> = entries.iter().map(|e| e["annotations"]["note"].as_str().unwrap()).collect();
    notes.sort_unstable();
    assert_eq!(notes, ["a-config", "a-layer"]);
}

#[tokio::test]
async fn get_request_to_missing_manifest_should_yield_200() {
    let registry = Registry::start().await;
    registry.blob(EMPTY).await;
    let blob = registry.blob(b"reference").await;
    let absent = registry.image("never pushed").await;
    let (digest, _) = registry.put_by_digest(&artifact(KIND_B, (&blob, 9), Some(&absent), "c")).await;
    let (entries, _) = referrers(&registry, &digest_of(&absent), "").await;
    assert_eq!((entries.len(), &entries[0]["digest"]), (1, &json!(digest)));
}
