//! Other registries: here a second store of our own on loopback.

use crate::support::{Layer, Tar, home, image_of, listen, put_image, put_manifest};
use freehold_model::Code;
use serde_json::json;

#[tokio::test]
async fn images_of_other_registries_are_resolved_fetched_and_kept() {
    let (far, near) = (home(), home());
    let layers = [
        Layer::gzip(&Tar::default().file("a", b"a").end()),
        Layer::zstd(&Tar::default().file("b", b"b").end()),
    ];
    let image = put_image(&far.store, &layers).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let router = far.store.router();
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let reference = format!("{host}/app:1");

    let resolved = near.store.resolve(&reference).await.unwrap();
    assert_eq!(resolved.digest, image.digest);
    assert!(near.store.list().unwrap().is_empty(), "resolving fetches nothing but the manifest");
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let (store, image) = (near.store.clone(), resolved.clone());
            tokio::spawn(async move { store.prepare(&image).await.unwrap() })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().layers.len(), 2);
    }
    assert_eq!(near.store.list().unwrap()[0].reference, reference);

    let error = near.store.resolve(&format!("{host}/app:absent")).await.unwrap_err();
    assert_eq!(error.problem().code, Code::NotFound, "{error}");

    server.abort();
    let _ = server.await;
    assert_eq!(near.store.resolve(&reference).await.unwrap(), resolved, "our copy answers");
    assert!(near.store.ensure(&resolved).await.is_ok());
    let error = near.store.resolve(&format!("{host}/other:1")).await.unwrap_err();
    assert_eq!(error.problem().code, Code::Unavailable, "{error}");
}

#[tokio::test]
async fn pull_keeps_an_image_under_its_full_reference() {
    let (far, near) = (home(), home());
    put_image(&far.store, &[Layer::gzip(&Tar::default().file("a", b"a").end())]).await;
    let host = listen(&far.store).await;
    let reference = format!("{host}/app:1");
    let summary = near.store.pull(&reference).await.unwrap();
    assert_eq!(summary.reference, reference);
    assert_eq!(near.store.list().unwrap(), std::slice::from_ref(&summary));

    // The tag moves over there; pulling again moves it here.
    let (_, manifest) = image_of(&far.store, &[], json!({"Cmd": ["new"]})).await;
    put_manifest(&far.store, "app", "1", &manifest).await;
    let newer = near.store.pull(&reference).await.unwrap();
    assert_ne!(newer.digest, summary.digest);
    assert_eq!(near.store.inspect(&reference).unwrap().digest, newer.digest);

    assert_eq!(near.store.pull("app:1").await.unwrap_err().problem().code, Code::Invalid);
}
