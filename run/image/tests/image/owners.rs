//! Bytes are shared by all repositories, and yet each serves and runs only what was pushed to it or mounted in
//! it. And what a name means stays what was acknowledged, whatever else happens to it.

use crate::support::{
    INDEX, Layer, MANIFEST, Tar, architecture, ask, body_of, home, image_of, put_blob, put_image,
    put_manifest, request,
};
use async_trait::async_trait;
use axum::{body::Body, http::Method};
use freehold_image::{Collect, House, ImageError, ImageStore, Pieces, Pusher, Upstream, UpstreamError};
use freehold_model::{Code, Digest, ImageRef, api::ImageSummary};
use serde_json::json;
use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// A house with one store; its list of names may be an old one.
#[derive(Default)]
struct Lonely {
    names: Mutex<Vec<ImageSummary>>,
    lists_nothing: AtomicBool,
}

/// What its other stores have.
struct Nothing;

#[async_trait]
impl Upstream for Nothing {
    async fn manifest(&self, image: &Digest) -> Result<Vec<u8>, UpstreamError> {
        Err(UpstreamError { is_final: true, reason: format!("there is no {image}") })
    }

    async fn blob(&self, _: &Digest, blob: &Digest, _: u64) -> Result<Pieces, UpstreamError> {
        Err(UpstreamError { is_final: true, reason: format!("there is no {blob}") })
    }
}

#[async_trait]
impl House for Lonely {
    async fn meaning(&self, name: &str) -> Result<Option<Digest>, UpstreamError> {
        let names = self.names.lock().unwrap();
        Ok(names.iter().find(|image| image.reference == name).map(|image| image.digest.clone()))
    }

    async fn names(&self) -> Result<Vec<ImageSummary>, UpstreamError> {
        match self.lists_nothing.load(Ordering::SeqCst) {
            true => Ok(vec![]),
            false => Ok(self.names.lock().unwrap().clone()),
        }
    }

    async fn name(&self, image: &ImageSummary) -> Result<(), UpstreamError> {
        self.forget(&image.reference).await?;
        self.names.lock().unwrap().push(image.clone());
        Ok(())
    }

    async fn forget(&self, name: &str) -> Result<(), UpstreamError> {
        self.names.lock().unwrap().retain(|image| image.reference != name);
        Ok(())
    }

    fn others(&self, _: &str) -> Arc<dyn Upstream> {
        Arc::new(Nothing)
    }
}

async fn status(store: &ImageStore, path: &str) -> u16 {
    ask(store, request(Method::GET, path, Body::empty())).await.status().as_u16()
}

async fn collect(store: &ImageStore) {
    let store = store.clone();
    let how = Collect { roots: BTreeSet::new(), grace: Duration::ZERO, dry_run: false };
    tokio::task::spawn_blocking(move || store.collect(store.begin_collection(), &how).unwrap())
        .await
        .unwrap();
}

fn secret() -> Layer {
    Layer::gzip(&Tar::default().file("secret", b"theirs").end())
}

#[tokio::test]
async fn a_digest_of_another_repository_is_unknown_and_nothing_is_written() {
    let home = home();
    let image = put_image(&home.store, &[secret()]).await;
    home.store.join_house(Arc::new(Lonely::default())).await.unwrap();
    assert_eq!(status(&home.store, &format!("/v2/app/manifests/{}", image.digest)).await, 200);
    assert_eq!(status(&home.store, &format!("/v2/mine/manifests/{}", image.digest)).await, 404);
    assert!(home.store.resolve(&format!("mine@{}", image.digest)).await.is_err());
    assert!(!home.dir.path().join("images/tags/mine").exists());
}

#[tokio::test]
async fn a_layer_is_used_only_by_an_image_whose_own_blob_unpacks_to_it() {
    let home = home();
    let theirs = put_image(&home.store, &[secret()]).await;
    let folder = home.store.prepare(&theirs).await.unwrap().layers[0].clone();

    // Bytes of one's own that claim to unpack to it.
    let junk = Layer { diff_id: secret().diff_id, ..Layer::gzip(&Tar::default().file("junk", b"").end()) };
    let mine = put_image(&home.store, &[junk]).await;
    let error = home.store.prepare(&mine).await.unwrap_err();
    assert!(matches!(error, ImageError::Digest { .. }), "{error}");

    // Its very blob, named as one that lives elsewhere and need not be pushed.
    let layer = secret();
    let config = json!({"os": "linux", "architecture": architecture(), "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]}}).to_string();
    let config_digest = put_blob(&home.store, config.as_bytes()).await;
    let path = format!("/v2/mine/blobs/uploads/?mount={config_digest}&from=app");
    assert_eq!(ask(&home.store, request(Method::POST, &path, Body::empty())).await.status(), 201);
    let blob = Digest::of(&layer.blob);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": config.len()},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": blob, "size": layer.blob.len(), "urls": ["https://e.example/"]}],
    });
    let mut put = request(Method::PUT, "/v2/mine/manifests/1", manifest.to_string().into_bytes());
    put.headers_mut().insert("content-type", MANIFEST.parse().unwrap());
    assert_eq!(ask(&home.store, put).await.status(), 201);
    assert_eq!(status(&home.store, &format!("/v2/mine/blobs/{blob}")).await, 404);
    let mine = home.store.resolve("mine:1").await.unwrap();
    assert!(matches!(home.store.prepare(&mine).await, Err(ImageError::Incomplete { .. })));

    // Who has other bytes that do unpack to it shares it, also after a restart.
    let plain = put_image(&home.store, &[Layer::plain(Tar::default().file("secret", b"theirs").end())]).await;
    assert_eq!(home.store.prepare(&plain).await.unwrap().layers, std::slice::from_ref(&folder));
    let again = ImageStore::open(&home.dir.path().join("images")).unwrap();
    assert_eq!(again.prepare(&theirs).await.unwrap().layers, [folder]);
}

#[tokio::test]
async fn a_name_that_was_set_after_the_house_was_listed_stays() {
    let home = home();
    let house = Arc::new(Lonely::default());
    home.store.join_house(house.clone()).await.unwrap();
    let image = put_image(&home.store, &[secret()]).await;
    // The list is of before the push.
    house.lists_nothing.store(true, Ordering::SeqCst);
    home.store.follow_house().await.unwrap();
    collect(&home.store).await;
    assert_eq!(status(&home.store, "/v2/app/manifests/1").await, 200);
    home.store.prepare(&image).await.unwrap();
    // What the house has forgotten goes.
    house.forget("app:1").await.unwrap();
    home.store.follow_house().await.unwrap();
    collect(&home.store).await;
    assert_eq!(status(&home.store, "/v2/app/manifests/1").await, 404);
}

#[tokio::test]
async fn an_index_may_name_blobs_that_are_no_manifests() {
    let home = home();
    let (layer, config) = (secret().blob, br#"{"layers":[],"records":[]}"#.to_vec());
    let part = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len()});
    let index = |layer: serde_json::Value| {
        let config = part("application/vnd.buildkit.cacheconfig.v0", &config);
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [layer, config]})
    };
    let cache = index(part("application/vnd.oci.image.layer.v1.tar+gzip", &layer));
    put_blob(&home.store, &config).await;
    assert_eq!(put_manifest(&home.store, "app", "cache", &cache).await.status(), 404, "one is missing");
    put_blob(&home.store, &layer).await;
    assert_eq!(put_manifest(&home.store, "app", "cache", &cache).await.status(), 201);
    assert_eq!(put_manifest(&home.store, "app", "not", &index(part(MANIFEST, &layer))).await.status(), 404);

    // It is no image, and a collection keeps what it names and removes the rest.
    put_blob(&home.store, b"nobody's").await;
    collect(&home.store).await;
    assert_eq!(status(&home.store, "/v2/app/manifests/cache").await, 200);
    assert_eq!(status(&home.store, &format!("/v2/app/blobs/{}", Digest::of(&layer))).await, 200);
    assert_eq!(status(&home.store, &format!("/v2/app/blobs/{}", Digest::of(b"nobody's"))).await, 404);
    assert!(home.store.resolve("app:cache").await.is_err());
    home.store.list().unwrap();
}

#[tokio::test]
async fn a_blob_that_reads_as_an_index_stops_no_collection() {
    let home = home();
    let part = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len()});
    let index = |entry| json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]});
    // No manifest, and named as one by what nobody checked.
    put_blob(&home.store, b"garbage").await;
    let disguised = index(part(MANIFEST, b"garbage")).to_string();
    put_blob(&home.store, disguised.as_bytes()).await;
    let outer = index(part("application/x-odd", disguised.as_bytes()));
    assert_eq!(put_manifest(&home.store, "app", "1", &outer).await.status(), 201);
    put_blob(&home.store, b"nobody's").await;
    collect(&home.store).await;
    assert_eq!(status(&home.store, &format!("/v2/app/blobs/{}", Digest::of(b"nobody's"))).await, 404);
    assert_eq!(status(&home.store, "/v2/app/manifests/1").await, 200);
}

#[tokio::test]
async fn an_image_for_another_platform_is_refused_when_it_is_resolved() {
    let home = home();
    let layer = secret();
    let config = json!({"os": "linux", "architecture": "s390x", "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]}}).to_string();
    let (_, mut manifest) = image_of(&home.store, &[layer], json!({})).await;
    let digest = put_blob(&home.store, config.as_bytes()).await;
    manifest["config"]["digest"] = json!(digest);
    manifest["config"]["size"] = json!(config.len());
    assert_eq!(put_manifest(&home.store, "app", "1", &manifest).await.status(), 201);
    let far = crate::support::listen(&home.store).await;
    let near = crate::support::home();
    for (store, reference) in [(&home.store, "app:1".to_owned()), (&near.store, format!("{far}/app:1"))] {
        let error = store.resolve(&reference).await.unwrap_err();
        assert!(
            error.to_string().contains("was made for linux/s390x, and this server runs linux/"),
            "{error}"
        );
        assert_eq!(error.problem().code, Code::Invalid);
    }
    home.store.inspect("app:1").unwrap();
}

#[tokio::test]
async fn what_the_disk_spoiled_can_be_pushed_again() {
    let home = home();
    let image = put_image(&home.store, &[secret()]).await;
    let blobs = home.dir.path().join("images/blobs/sha256");
    let layer = blobs.join(Digest::of(&secret().blob).hex());
    fs::write(&layer, b"spoiled").unwrap();
    assert!(home.store.prepare(&image).await.unwrap_err().to_string().contains("the blob of a layer"));
    // A client that looks first now sees that it is wanted.
    assert_eq!(status(&home.store, &format!("/v2/app/blobs/{}", Digest::of(&secret().blob))).await, 404);
    fs::write(blobs.join(image.digest.hex()), b"{}").unwrap();
    let again = put_image(&home.store, &[secret()]).await;
    assert_eq!(again, ImageRef { reference: "app:1".into(), digest: image.digest });
    home.store.prepare(&again).await.unwrap();
}

#[tokio::test]
async fn no_caller_keeps_others_from_pushing() {
    let home = home();
    let open = async |caller: &str| {
        let mut post = request(Method::POST, "/v2/app/blobs/uploads/", Body::empty());
        post.extensions_mut().insert(Pusher(caller.into()));
        let response = ask(&home.store, post).await;
        let place = response.headers().get("location").map(|place| place.to_str().unwrap().to_owned());
        (response.status().as_u16(), place.unwrap_or_default())
    };
    let first = open("one").await.1;
    for _ in 0..63 {
        assert_eq!(open("one").await.0, 202);
    }
    assert_eq!(open("one").await.0, 429, "64 are enough for one");
    for caller in ["two", "three", "four"] {
        for _ in 0..64 {
            assert_eq!(open(caller).await.0, 202);
        }
    }
    let (code, place) = open("five").await;
    assert_eq!(code, 202, "all are taken, and yet there is one for whoever has none");
    assert_eq!(status(&home.store, &place).await, 204);
    assert_eq!(status(&home.store, &first).await, 404, "the oldest of those who have most gave way");
    let response = ask(&home.store, request(Method::GET, "/v2/", Body::empty())).await;
    assert_eq!(body_of(response).await, b"{}");
}
