//! Garbage collection: what goes, what stays, and what happens beside it.

use crate::support::{
    Home, INDEX, Layer, MANIFEST, Tar, ask, body_of, home, image_of, put_blob, put_image, put_manifest,
    request,
};
use axum::{body::Body, http::Method};
use freehold_image::{Collect, ImageStore};
use freehold_model::{
    Digest, ImageRef,
    api::{Collected, CollectedKind},
};
use proptest::{collection::vec, prelude::*, sample::subsequence};
use serde_json::{Value, json};
use std::{
    collections::{BTreeSet, HashSet},
    fs,
    time::Duration,
};

/// Collects everything that is not needed at this moment, however new it is.
fn collect(store: &ImageStore, roots: &[Digest]) -> Collected {
    collect_as(store, roots, Duration::ZERO, false)
}

fn collect_as(store: &ImageStore, roots: &[Digest], grace: Duration, dry_run: bool) -> Collected {
    let began = store.begin_collection();
    let roots = roots.iter().cloned().collect::<BTreeSet<_>>();
    store.collect(began, &Collect { roots, grace, dry_run }).unwrap()
}

fn layer(content: &str) -> Layer {
    Layer::gzip(&Tar::default().file("content", content.as_bytes()).end())
}

/// Pushes an image of these layers as `app:TAG`.
async fn push(home: &Home, tag: &str, layers: &[&str]) -> ImageRef {
    let layers: Vec<Layer> = layers.iter().map(|content| layer(content)).collect();
    let (_, manifest) = image_of(&home.store, &layers, json!({"Cmd": [tag]})).await;
    assert_eq!(put_manifest(&home.store, "app", tag, &manifest).await.status(), 201);
    home.store.resolve(&format!("app:{tag}")).await.unwrap()
}

fn count(home: &Home, folder: &str) -> usize {
    fs::read_dir(home.dir.path().join("images").join(folder)).unwrap().count()
}

/// The bytes of all blobs.
fn bytes(home: &Home) -> u64 {
    let blobs = fs::read_dir(home.dir.path().join("images/blobs/sha256")).unwrap();
    blobs.map(|blob| blob.unwrap().metadata().unwrap().len()).sum()
}

#[tokio::test]
async fn what_no_tag_and_no_release_needs_goes() {
    let home = home();
    let tagged = push(&home, "tagged", &["shared", "tagged"]).await;
    let root = push(&home, "root", &["shared", "root"]).await;
    let unused = push(&home, "unused", &["shared", "unused"]).await;
    for image in [&tagged, &root, &unused] {
        home.store.prepare(image).await.unwrap();
    }
    home.store.remove("app:root").unwrap();
    home.store.remove("app:unused").unwrap();
    let before = bytes(&home);

    let planned = collect_as(&home.store, std::slice::from_ref(&root.digest), Duration::ZERO, true);
    assert_eq!(bytes(&home), before, "a dry run removes nothing");
    let done = collect(&home.store, std::slice::from_ref(&root.digest));
    assert_eq!((planned.removed, planned.freed), (done.removed.clone(), done.freed));
    let blobs: u64 =
        done.removed.iter().filter(|it| it.kind == CollectedKind::Blob).map(|it| it.size.0).sum();
    assert_eq!(before - bytes(&home), blobs, "it says how much it freed");
    assert!(done.freed.0 > blobs, "layers that were unpacked count too");

    assert_eq!(count(&home, "layers"), 2, "only the root's layers stay unpacked");
    assert_eq!(home.store.prepare(&root).await.unwrap().layers.len(), 2);
    assert_eq!(home.store.prepare(&tagged).await.unwrap().layers.len(), 2, "it is unpacked again");
    assert!(home.store.prepare(&unused).await.is_err());
    assert_eq!(collect(&home.store, &[root.digest, tagged.digest]).removed, [], "nothing is left to do");
}

#[tokio::test]
async fn manifests_without_a_tag_go_unless_something_kept_names_them() {
    let home = home();
    let store = &home.store;
    let (part, manifest) = image_of(store, &[layer("part")], json!({})).await;
    put_manifest(store, "app", part.as_str(), &manifest).await;
    let entry = json!({"mediaType": MANIFEST, "digest": part, "size": manifest.to_string().len()});
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry.clone()]});
    put_manifest(store, "app", "index", &index).await;
    let empty = put_blob(store, b"{}").await;
    let attach = |to: &Value, note: &str| {
        json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/sbom", "layers": [],
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2},
            "subject": to, "annotations": {"note": note},
        })
    };
    let digest = |manifest: &Value| Digest::of(manifest.to_string().as_bytes());
    let kept = attach(&entry, "kept");
    let dangling =
        attach(&json!({"mediaType": MANIFEST, "digest": Digest::of(b"absent"), "size": 1}), "loose");
    for manifest in [&kept, &dangling] {
        put_manifest(store, "app", digest(manifest).as_str(), manifest).await;
    }

    let removed: Vec<String> = collect(store, &[]).removed.into_iter().map(|item| item.name).collect();
    assert_eq!(removed, [format!("app@{}", digest(&dangling)), digest(&dangling).to_string()]);
    store.remove("app:index").unwrap();
    collect(store, &[]);
    assert_eq!(
        (count(&home, "blobs/sha256"), count(&home, "tags")),
        (0, 0),
        "the last tag takes all with it"
    );
}

#[tokio::test]
async fn a_push_in_flight_is_not_hit() {
    let home = home();
    let store = &home.store;
    let fresh = put_blob(store, b"fresh").await;
    collect_as(store, &[], Duration::from_secs(3600), false);
    let head = |digest: &Digest| {
        ask(store, request(Method::HEAD, &format!("/v2/app/blobs/{digest}"), Body::empty()))
    };
    assert_eq!(head(&fresh).await.status(), 200, "it came within the grace");

    let upload = request(Method::POST, "/v2/app/blobs/uploads/", Body::empty());
    let place = ask(store, upload).await.headers()["location"].to_str().unwrap().to_owned();
    collect(store, &[]);
    assert_eq!(head(&fresh).await.status(), 200, "somebody uploads to its repository");
    let end = format!("{place}?digest={}", Digest::of(b"rest"));
    assert_eq!(
        ask(store, request(Method::PUT, &end, "rest")).await.status(),
        201,
        "so does what was half here"
    );
    assert_eq!(collect(store, &[]).removed.len(), 2, "then nobody does, and no manifest names them");
    assert_eq!(head(&fresh).await.status(), 404);
}

#[tokio::test]
async fn nothing_goes_when_it_is_not_known_what_a_kept_image_needs() {
    let home = home();
    let image = put_image(&home.store, &[layer("a")]).await;
    put_blob(&home.store, b"loose").await;
    let path = home.dir.path().join("images/blobs/sha256").join(image.digest.hex());
    fs::write(&path, "damaged").unwrap();
    let before = count(&home, "blobs/sha256");
    let how = Collect { roots: BTreeSet::new(), grace: Duration::ZERO, dry_run: false };
    let error = home.store.collect(home.store.begin_collection(), &how).unwrap_err();
    assert!(error.to_string().contains(image.digest.as_str()), "{error}");
    assert_eq!(count(&home, "blobs/sha256"), before);
}

#[tokio::test]
async fn a_collection_that_was_cut_off_is_finished_by_the_next() {
    let home = home();
    let image = push(&home, "1", &["a"]).await;
    home.store.prepare(&image).await.unwrap();
    home.store.remove("app:1").unwrap();
    let images = home.dir.path().join("images");
    // Cut off after the layer was put aside and before its files were removed.
    let unpacked = fs::read_dir(images.join("layers")).unwrap().next().unwrap().unwrap().path();
    fs::rename(unpacked, images.join("layers/.discarded-0")).unwrap();
    let store = ImageStore::open(&images).unwrap();
    assert_eq!(count(&home, "layers"), 0);
    collect(&store, &[]);
    assert_eq!((count(&home, "blobs/sha256"), count(&home, "tags")), (0, 0));
}

/// What a client does: it looks for each blob, uploads what is not there, then pushes the manifest. When
/// a collection got between, the registry says so and the client begins again.
async fn push_as_a_client(store: &ImageStore, tag: &str, layers: &[Layer]) {
    let diff_ids: Vec<&Digest> = layers.iter().map(|layer| &layer.diff_id).collect();
    let config = json!({"os": "linux", "architecture": crate::support::architecture(), "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let config = config.to_string().into_bytes();
    let part = |bytes: &[u8]| json!({"mediaType": "application/octet-stream", "digest": Digest::of(bytes), "size": bytes.len()});
    let described: Vec<Value> = layers.iter().map(|layer| part(&layer.blob)).collect();
    let manifest =
        json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": part(&config), "layers": described});
    loop {
        for bytes in layers.iter().map(|layer| &layer.blob).chain([&config]) {
            let path = format!("/v2/app/blobs/{}", Digest::of(bytes));
            if ask(store, request(Method::HEAD, &path, Body::empty())).await.status() == 404 {
                put_blob(store, bytes).await;
            }
        }
        let pushed = put_manifest(store, "app", tag, &manifest).await;
        if pushed.status() == 201 {
            return;
        }
        let said: Value = serde_json::from_slice(&body_of(pushed).await).unwrap();
        assert_eq!(said["errors"][0]["code"], "MANIFEST_BLOB_UNKNOWN");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pushes_and_deploys_beside_collections_never_meet_a_half_image() {
    let home = home();
    let workers = (0..3).map(|worker| {
        let store = home.store.clone();
        tokio::spawn(async move {
            let layers = [layer("shared by all"), layer(&format!("of {worker}"))];
            for round in 0..12 {
                let tag = format!("{worker}-{round}");
                push_as_a_client(&store, &tag, &layers).await;
                // The tag is there, so the image is whole, whatever was collected meanwhile.
                let image = store.resolve(&format!("app:{tag}")).await.unwrap();
                store.ensure(&image).await.unwrap();
                store.remove(&format!("app:{tag}")).unwrap();
            }
        })
    });
    let workers: Vec<_> = workers.collect();
    let (store, mut removed) = (home.store.clone(), 0);
    let collector = tokio::task::spawn_blocking(move || {
        while !workers.iter().all(tokio::task::JoinHandle::is_finished) {
            removed += collect(&store, &[]).removed.len();
        }
        (workers, removed)
    });
    let (workers, removed) = collector.await.unwrap();
    for worker in workers {
        worker.await.unwrap();
    }
    assert!(removed > 0, "the collections had something to do");
    collect(&home.store, &[]);
    assert_eq!(count(&home, "blobs/sha256"), 0);
}

/// An image of a random world: which layers it has, whether it is tagged, a root, unpacked.
#[derive(Debug, Clone)]
struct Made {
    layers: Vec<&'static str>,
    tagged: bool,
    root: bool,
    unpacked: bool,
}

fn made() -> impl Strategy<Value = Made> {
    let layers = subsequence(vec!["a", "b", "c", "d", "e"], 0..4);
    (layers, any::<bool>(), prop::bool::weighted(0.3), any::<bool>())
        .prop_map(|(layers, tagged, root, unpacked)| Made { layers, tagged, root, unpacked })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn exactly_what_is_needed_stays(world in vec(made(), 1..6)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let home = home();
            let (mut kept, mut roots, mut needed, mut stacked) = (vec![], vec![], HashSet::new(), HashSet::new());
            for (number, made) in world.iter().enumerate() {
                let image = push(&home, &format!("t{number}"), &made.layers).await;
                if made.unpacked {
                    home.store.prepare(&image).await.unwrap();
                }
                let manifest = home.store.inspect(&image.reference).unwrap().manifest;
                if !made.tagged {
                    home.store.remove(&image.reference).unwrap();
                }
                if made.root {
                    roots.push(image.digest.clone());
                }
                if made.tagged || made.root {
                    let named = manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]);
                    needed.extend(named.map(|part| part["digest"].as_str().unwrap().to_owned()));
                    needed.insert(image.digest.to_string());
                    kept.push((image, made.clone()));
                }
            }
            // Layers of roots stay unpacked, whichever image unpacked them.
            for made in world.iter().filter(|made| made.unpacked) {
                let of_roots = world.iter().filter(|other| other.root).flat_map(|other| other.layers.clone());
                let of_roots: HashSet<_> = of_roots.collect();
                stacked.extend(made.layers.iter().filter(|layer| of_roots.contains(*layer)).copied());
            }
            collect(&home.store, &roots);
            assert_eq!(count(&home, "blobs/sha256"), needed.len());
            assert_eq!(count(&home, "layers"), stacked.len());
            for (image, made) in &kept {
                let prepared = home.store.prepare(image).await.unwrap();
                assert_eq!(prepared.layers.len(), made.layers.len());
            }
            let everything: Vec<Digest> = kept.iter().map(|(image, _)| image.digest.clone()).collect();
            assert_eq!(collect(&home.store, &everything).removed, []);
        });
    }
}
