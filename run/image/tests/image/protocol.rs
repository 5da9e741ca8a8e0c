//! The registry's protocol, request by request (distribution spec 1.1).

use crate::support::{
    INDEX, Layer, Tar, ask, body_of, home, image_of, put_blob, put_image, put_manifest, request,
};
use axum::{
    body::Body,
    http::{Method, Request, Response},
};
use freehold_image::ImageStore;
use freehold_model::Digest;
use serde_json::{Value, json};

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response.headers().get(name).unwrap_or_else(|| panic!("no {name}: {response:?}")).to_str().unwrap()
}

async fn get(store: &ImageStore, path: &str) -> Response<Body> {
    ask(store, request(Method::GET, path, Body::empty())).await
}

async fn code(response: Response<Body>) -> (u16, String) {
    let status = response.status().as_u16();
    let body: Value = serde_json::from_slice(&body_of(response).await).unwrap();
    (status, body["errors"][0]["code"].as_str().unwrap().to_owned())
}

fn ranged(method: Method, path: &str, name: &str, range: &str, body: impl Into<Body>) -> Request<Body> {
    let mut request = request(method, path, body);
    request.headers_mut().insert(name.parse::<axum::http::HeaderName>().unwrap(), range.parse().unwrap());
    request
}

#[tokio::test]
async fn uploads_in_chunks_can_be_resumed() {
    let store = home();
    let store = &store.store;
    let begun = ask(store, request(Method::POST, "/v2/app/blobs/uploads/", Body::empty())).await;
    assert_eq!(begun.status(), 202);
    let place = header(&begun, "location").to_owned();

    let first = ask(store, ranged(Method::PATCH, &place, "content-range", "0-3", "abcd")).await;
    assert_eq!((first.status().as_u16(), header(&first, "range")), (202, "0-3"));
    for bad in ["6-9", "0-3", "x", "4-9", "4-18446744073709551615"] {
        let mut gap = ranged(Method::PATCH, &place, "content-range", bad, "efgh");
        gap.headers_mut().insert("content-length", "4".parse().unwrap());
        let gap = ask(store, gap).await;
        assert_eq!((gap.status().as_u16(), header(&gap, "range")), (416, "0-3"), "{bad}");
    }
    let status = get(store, &place).await;
    assert_eq!((status.status().as_u16(), header(&status, "range")), (204, "0-3"));

    let digest = Digest::of(b"abcdefgh");
    let end = format!("{place}?digest={digest}");
    let done = ask(store, ranged(Method::PUT, &end, "content-range", "4-7", "efgh")).await;
    assert_eq!(done.status(), 201);
    assert_eq!(header(&done, "docker-content-digest"), digest.as_str());
    assert_eq!(body_of(get(store, header(&done, "location")).await).await, b"abcdefgh");
    assert_eq!(code(get(store, &place).await).await, (404, "BLOB_UPLOAD_UNKNOWN".into()));
}

#[tokio::test]
async fn uploads_can_be_given_up_and_are_verified() {
    let home = home();
    let store = &home.store;
    let begin = || request(Method::POST, "/v2/app/blobs/uploads/", Body::empty());
    let place = header(&ask(store, begin()).await, "location").to_owned();
    assert_eq!(ask(store, request(Method::DELETE, &place, Body::empty())).await.status(), 204);
    assert_eq!(ask(store, request(Method::PATCH, &place, "x")).await.status(), 404);

    let place = header(&ask(store, begin()).await, "location").to_owned();
    let elsewhere = place.replace("/app/", "/other/");
    assert_eq!(ask(store, request(Method::PATCH, &elsewhere, "x")).await.status(), 404);
    let wrong = format!("{place}?digest={}", Digest::of(b"right"));
    assert_eq!(
        code(ask(store, request(Method::PUT, &wrong, "wrong")).await).await,
        (400, "DIGEST_INVALID".into())
    );
    let unfinished = home.dir.path().join("images/uploads");
    assert_eq!(std::fs::read_dir(unfinished).unwrap().count(), 0, "nothing is left of either");

    let half = format!("/v2/app/blobs/uploads/?digest={}", Digest::of(b"right"));
    assert_eq!(ask(store, request(Method::POST, &half, "wrong")).await.status(), 400);
    let digest = put_blob(store, b"right").await;
    let mount = format!("/v2/other/blobs/uploads/?mount={digest}&from=app");
    assert_eq!(ask(store, request(Method::POST, &mount, Body::empty())).await.status(), 201);
    let mount = format!("/v2/other/blobs/uploads/?mount={}&from=app", Digest::of(b"absent"));
    assert_eq!(ask(store, request(Method::POST, &mount, Body::empty())).await.status(), 202);
}

#[tokio::test]
async fn blobs_are_served_whole_and_in_part() {
    let home = home();
    let store = &home.store;
    let digest = put_blob(store, b"0123456789").await;
    let path = format!("/v2/app/blobs/{digest}");
    let head = ask(store, request(Method::HEAD, &path, Body::empty())).await;
    assert_eq!((head.status().as_u16(), header(&head, "content-length")), (200, "10"));
    let part = ask(store, ranged(Method::GET, &path, "range", "bytes=2-4", Body::empty())).await;
    assert_eq!((part.status().as_u16(), header(&part, "content-range")), (206, "bytes 2-4/10"));
    assert_eq!(body_of(part).await, b"234");
    let outside = ask(store, ranged(Method::GET, &path, "range", "bytes=10-", Body::empty())).await;
    assert_eq!(outside.status(), 416);
    let absent = format!("/v2/app/blobs/{}", Digest::of(b"absent"));
    assert_eq!(code(get(store, &absent).await).await, (404, "BLOB_UNKNOWN".into()));
    let other = format!("/v2/other/blobs/{digest}");
    assert_eq!(get(store, &other).await.status(), 404, "it is not in that repository");
}

#[tokio::test]
async fn manifests_are_checked_before_they_are_taken() {
    let home = home();
    let store = &home.store;
    let (digest, manifest) = image_of(store, &[Layer::gzip(&Tar::default().end())], json!({})).await;
    let put = |path: &str, kind: &str, body: Vec<u8>| {
        ask(store, ranged(Method::PUT, &format!("/v2/app/manifests/{path}"), "content-type", kind, body))
    };
    let good = manifest.to_string().into_bytes();
    let oci = "application/vnd.oci.image.manifest.v1+json";

    assert_eq!(code(put("1", INDEX, good.clone()).await).await, (400, "MANIFEST_INVALID".into()));
    assert_eq!(code(put("1", oci, b"{}".to_vec()).await).await, (400, "MANIFEST_INVALID".into()));
    let wrong = Digest::of(b"wrong");
    assert_eq!(code(put(wrong.as_str(), oci, good.clone()).await).await, (400, "DIGEST_INVALID".into()));
    assert_eq!(code(put("1", oci, vec![b' '; (4 << 20) + 1]).await).await.0, 413);
    let mut dangling = manifest.clone();
    dangling["layers"][0]["digest"] = wrong.as_str().into();
    let dangling = dangling.to_string().into_bytes();
    assert_eq!(code(put("1", oci, dangling).await).await, (404, "MANIFEST_BLOB_UNKNOWN".into()));
    assert_eq!(code(get(store, "/v2/app/tags/list").await).await, (404, "NAME_UNKNOWN".into()));

    let taken = put("1", oci, good.clone()).await;
    assert_eq!(taken.status(), 201);
    assert_eq!(header(&taken, "docker-content-digest"), digest.as_str());
    for reference in ["1", digest.as_str()] {
        let path = format!("/v2/app/manifests/{reference}");
        let head = ask(store, request(Method::HEAD, &path, Body::empty())).await;
        assert_eq!(
            (header(&head, "content-type"), header(&head, "docker-content-digest")),
            (oci, digest.as_str())
        );
        assert_eq!(header(&head, "content-length"), good.len().to_string());
        assert_eq!(body_of(get(store, &path).await).await, good);
    }
    let other = format!("/v2/other/manifests/{digest}");
    assert_eq!(get(store, &other).await.status(), 404, "it was not pushed there");
}

#[tokio::test]
async fn a_manifest_is_given_to_those_who_take_its_kind() {
    let home = home();
    let store = &home.store;
    put_image(store, &[]).await;
    let oci = crate::support::MANIFEST;
    for (accept, status) in [
        (oci.to_owned(), 200),
        (format!("{INDEX}, {oci};q=0.5"), 200),
        ("*/*".into(), 200),
        ("application/*".into(), 200),
        ("application/json".into(), 200),
        (INDEX.into(), 404),
        ("text/html".into(), 404),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let asked = ranged(method, "/v2/app/manifests/1", "accept", &accept, Body::empty());
            assert_eq!(ask(store, asked).await.status(), status, "{accept}");
        }
    }
}

#[tokio::test]
async fn a_manifest_names_only_blobs_of_its_own_repository() {
    let home = home();
    let store = &home.store;
    let (_, manifest) = image_of(store, &[Layer::gzip(&Tar::default().end())], json!({})).await;
    let kind = crate::support::MANIFEST;
    let put =
        ranged(Method::PUT, "/v2/other/manifests/1", "content-type", kind, manifest.to_string().into_bytes());
    assert_eq!(code(ask(store, put).await).await, (404, "MANIFEST_BLOB_UNKNOWN".into()));
}

#[tokio::test]
async fn many_pushes_of_one_layer_all_succeed_and_leave_one_blob() {
    let home = home();
    let layer = vec![7; 2 << 20];
    let digest = Digest::of(&layer);
    let pushes = (0..8).map(|number| {
        let (store, layer, digest) = (home.store.clone(), layer.clone(), digest.clone());
        tokio::spawn(async move {
            let name = if number % 2 == 0 { "app" } else { "other" };
            let path = format!("/v2/{name}/blobs/uploads/");
            let begun = ask(&store, request(Method::POST, &path, Body::empty())).await;
            let place = header(&begun, "location").to_owned();
            let (first, second) = layer.split_at(1 << 20);
            assert_eq!(ask(&store, request(Method::PATCH, &place, first.to_vec())).await.status(), 202);
            let end = format!("{place}?digest={digest}");
            ask(&store, request(Method::PUT, &end, second.to_vec())).await.status().as_u16()
        })
    });
    for push in pushes.collect::<Vec<_>>() {
        assert_eq!(push.await.unwrap(), 201);
    }
    let images = home.dir.path().join("images");
    assert_eq!(std::fs::read_dir(images.join("blobs/sha256")).unwrap().count(), 1);
    assert_eq!(std::fs::read_dir(images.join("uploads")).unwrap().count(), 0);
    for name in ["app", "other"] {
        let got = get(&home.store, &format!("/v2/{name}/blobs/{digest}")).await;
        assert_eq!(Digest::of(&body_of(got).await), digest);
    }
}

#[tokio::test]
async fn a_store_of_an_earlier_version_goes_on_showing_its_blobs() {
    let home = home();
    let image = put_image(&home.store, &[Layer::gzip(&Tar::default().end())]).await;
    let images = home.dir.path().join("images");
    let layer =
        home.store.inspect("app:1").unwrap().manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
    freehold_tree::remove(&images.join("tags/app/_blobs")).unwrap();
    let store = ImageStore::open(&images).unwrap();
    assert_eq!(get(&store, &format!("/v2/app/blobs/{layer}")).await.status(), 200);
    assert_eq!(store.resolve("app:1").await.unwrap(), image);
}

#[tokio::test]
async fn names_outside_the_grammar_are_refused() {
    let home = home();
    let digest = Digest::of(b"");
    for path in [
        "/v2/App/manifests/1".to_owned(),
        "/v2/a..b/tags/list".into(),
        "/v2/../manifests/1".into(),
        "/v2/a/../b/manifests/1".into(),
        format!("/v2/_x/blobs/{digest}"),
        format!("/v2/a%2F..%2Fb/blobs/{digest}"),
    ] {
        assert_eq!(code(get(&home.store, &path).await).await, (400, "NAME_INVALID".into()), "{path}");
    }
    for (path, expected) in [
        ("/v2/a/manifests/.hidden", "MANIFEST_INVALID"),
        ("/v2/a/manifests/sha256:12", "DIGEST_INVALID"),
        ("/v2/a/blobs/sha256:..%2F..", "DIGEST_INVALID"),
    ] {
        assert_eq!(code(get(&home.store, path).await).await, (400, expected.into()), "{path}");
    }
}

#[tokio::test]
async fn lists_come_in_pages() {
    let home = home();
    let store = &home.store;
    let (_, manifest) = image_of(store, &[], json!({})).await;
    for (name, tag) in [("b", "1"), ("b", "2"), ("b", "3"), ("a/x", "1"), ("c", "1")] {
        assert_eq!(put_manifest(store, name, tag, &manifest).await.status(), 201);
    }
    let page = get(store, "/v2/b/tags/list?n=2").await;
    assert_eq!(header(&page, "link"), "</v2/b/tags/list?n=2&last=2>; rel=\"next\"");
    assert_eq!(body_of(page).await, br#"{"name":"b","tags":["1","2"]}"#);
    let rest = get(store, "/v2/b/tags/list?n=2&last=2").await;
    assert!(rest.headers().get("link").is_none());
    assert_eq!(body_of(rest).await, br#"{"name":"b","tags":["3"]}"#);
    assert_eq!(body_of(get(store, "/v2/b/tags/list?n=0").await).await, br#"{"name":"b","tags":[]}"#);
    assert_eq!(get(store, "/v2/b/tags/list?n=x").await.status(), 400);
    let page = get(store, "/v2/_catalog?n=2").await;
    assert_eq!(header(&page, "link"), "</v2/_catalog?n=2&last=b>; rel=\"next\"");
    assert_eq!(body_of(page).await, br#"{"repositories":["a/x","b"]}"#);
}

#[tokio::test]
async fn referrers_are_listed_and_filtered() {
    let home = home();
    let store = &home.store;
    let (subject, manifest) = image_of(store, &[], json!({})).await;
    put_manifest(store, "app", "1", &manifest).await;
    let empty = put_blob(store, b"{}").await;
    for kind in ["application/sbom", "application/signature"] {
        let attached = json!({
            "schemaVersion": 2, "mediaType": crate::support::MANIFEST, "artifactType": kind, "layers": [],
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2},
            "subject": {"mediaType": crate::support::MANIFEST, "digest": subject, "size": manifest.to_string().len()},
            "annotations": {"made": "by hand"},
        });
        let digest = Digest::of(attached.to_string().as_bytes());
        let response = put_manifest(store, "app", digest.as_str(), &attached).await;
        assert_eq!(header(&response, "oci-subject"), subject.as_str());
    }
    let path = format!("/v2/app/referrers/{subject}");
    let all: Value = serde_json::from_slice(&body_of(get(store, &path).await).await).unwrap();
    assert_eq!(all["manifests"].as_array().unwrap().len(), 2);
    let some = get(store, &format!("{path}?artifactType=application/sbom")).await;
    assert_eq!(
        (header(&some, "oci-filters-applied"), header(&some, "content-type")),
        ("artifactType", INDEX)
    );
    let some: Value = serde_json::from_slice(&body_of(some).await).unwrap();
    assert_eq!(some["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(some["manifests"][0]["artifactType"], "application/sbom");
    assert_eq!(some["manifests"][0]["annotations"]["made"], "by hand");
    let none = format!("/v2/app/referrers/{}", Digest::of(b"other"));
    let none: Value = serde_json::from_slice(&body_of(get(store, &none).await).await).unwrap();
    assert_eq!(none["manifests"], json!([]));
    assert_eq!(store.list().unwrap().len(), 1, "what is attached to an image is not listed as one");
}

#[tokio::test]
async fn tags_and_manifests_can_be_removed_but_what_runs_stays() {
    let home = home();
    let store = &home.store;
    let image = put_image(store, &[Layer::gzip(&Tar::default().file("a", b"a").end())]).await;
    let (_, manifest) =
        image_of(store, &[Layer::gzip(&Tar::default().file("a", b"a").end())], json!({})).await;
    put_manifest(store, "app", "2", &manifest).await;
    assert_eq!(store.list().unwrap().len(), 2);

    let delete = |path: String| ask(store, request(Method::DELETE, &path, Body::empty()));
    assert_eq!(delete("/v2/app/manifests/2".into()).await.status(), 202);
    assert_eq!(delete("/v2/app/manifests/2".into()).await.status(), 404);
    assert!(store.resolve("app:1").await.is_ok());
    store.remove("app:1").unwrap();
    assert!(store.list().unwrap().is_empty());
    let error = store.resolve("app:1").await.unwrap_err();
    assert_eq!(error.problem().code, freehold_model::Code::NotFound);
    assert!(error.problem().hint.unwrap().contains("freehold image list"));
    assert!(store.remove("app:1").is_err());
    assert_eq!(store.prepare(&image).await.unwrap().layers.len(), 1, "instances that have it go on");

    put_manifest(store, "app", "3", &manifest).await;
    assert_eq!(delete(format!("/v2/app/manifests/{}", image.digest)).await.status(), 202);
    assert!(store.list().unwrap().is_empty(), "tags go with their manifest");
}

#[tokio::test]
async fn an_index_resolves_to_this_platform() {
    let home = home();
    let store = &home.store;
    let (here, manifest) = image_of(store, &[], json!({"Cmd": ["/here"], "Env": ["A=1"]})).await;
    let (far, other) = image_of(store, &[], json!({"Cmd": ["/far"]})).await;
    for (digest, manifest) in [(&here, &manifest), (&far, &other)] {
        put_manifest(store, "app", digest.as_str(), manifest).await;
    }
    let entry = |digest: &Digest, arch: &str| json!({"mediaType": crate::support::MANIFEST, "digest": digest, "size": 1, "platform": {"os": "linux", "architecture": arch}});
    let index = |arch| json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry(&far, "s390x"), entry(&here, arch)]});
    assert_eq!(put_manifest(store, "app", "1", &index(crate::support::architecture())).await.status(), 201);
    assert_eq!(store.resolve("app:1").await.unwrap().digest, here);
    let inspected = store.inspect("app:1").unwrap();
    assert_eq!((inspected.digest, &inspected.config["config"]["Cmd"][0]), (here.clone(), &json!("/here")));
    assert_eq!(store.list().unwrap().len(), 1, "the parts of an index are not listed beside it");

    put_manifest(store, "app", "2", &index("riscv64")).await;
    let error = store.resolve("app:2").await.unwrap_err();
    assert!(error.to_string().contains("no variant for linux/"), "{error}");
}

#[tokio::test]
async fn uploads_that_are_begun_and_left_do_not_use_up_the_machines_files() {
    let home = home();
    let begin = async || {
        let begun = ask(&home.store, request(Method::POST, "/v2/app/blobs/uploads/", Body::empty())).await;
        (begun.status().as_u16(), begun.headers().get("location").map(|at| at.to_str().unwrap().to_owned()))
    };
    let mut places = vec![];
    let refused = loop {
        match begin().await {
            (202, Some(place)) => places.push(place),
            (status, _) => break status,
        }
        assert!(places.len() < 1000, "nobody counts them");
    };
    assert_eq!(refused, 429);
    let given_up = ask(&home.store, request(Method::DELETE, &places[0], Body::empty())).await;
    assert_eq!(given_up.status(), 204);
    assert_eq!(begin().await.0, 202, "there is room for another one");
}
