//! Other registries: here a second store of our own on loopback.

use crate::support::{Layer, Tar, home, image_of, listen, put_image, put_manifest};
use axum::{
    body::Body,
    http::{Request, Response},
    middleware::Next,
};
use freehold_image::ImageError;
use freehold_model::Code;
use futures::{FutureExt, StreamExt, future::BoxFuture};
use serde_json::json;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

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
    let summary = near.store.pull(&reference, false).await.unwrap();
    assert_eq!(summary.reference, reference);
    assert_eq!(near.store.list().unwrap(), std::slice::from_ref(&summary));

    // The tag moves over there; pulling again moves it here.
    let (_, manifest) = image_of(&far.store, &[], json!({"Cmd": ["new"]})).await;
    put_manifest(&far.store, "app", "1", &manifest).await;
    let newer = near.store.pull(&reference, false).await.unwrap();
    assert_ne!(newer.digest, summary.digest);
    assert_eq!(near.store.inspect(&reference).unwrap().digest, newer.digest);

    assert_eq!(near.store.pull("app:1", false).await.unwrap_err().problem().code, Code::Invalid);
}

/// A registry that misbehaves as it is told to, in front of a good one. Ends with the test.
async fn misbehaving(
    good: axum::Router,
    how: impl Fn(Request<Body>, Next) -> BoxFuture<'static, Response<Body>> + Clone + Send + Sync + 'static,
) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let router = good.layer(axum::middleware::from_fn(how));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    host
}

fn length(response: &Response<Body>) -> usize {
    response.headers().get("content-length").map_or(0, |length| length.to_str().unwrap().parse().unwrap())
}

/// The first `most` bytes of an answer, then the connection breaks.
fn cut(response: Response<Body>, most: usize) -> Response<Body> {
    let (parts, body) = response.into_parts();
    let mut left = most;
    let pieces = body.into_data_stream().map(move |piece| {
        let piece = piece.unwrap();
        if left == 0 {
            return Err(std::io::Error::other("cut"));
        }
        let kept = left.min(piece.len());
        left -= kept;
        Ok(piece.slice(..kept))
    });
    Response::from_parts(parts, Body::from_stream(pieces))
}

#[tokio::test]
async fn a_download_that_breaks_goes_on_where_it_stopped() {
    for honours_ranges in [true, false] {
        let (far, near) = (home(), home());
        let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        put_image(&far.store, &[Layer::plain(Tar::default().file("a", &content).end())]).await;
        let sent = Arc::new(AtomicUsize::new(0));
        let (breaks, counted) = (Arc::new(AtomicUsize::new(3)), sent.clone());
        let host = misbehaving(far.store.router(), move |mut request: Request<Body>, next| {
            let (breaks, sent) = (breaks.clone(), counted.clone());
            async move {
                if !honours_ranges {
                    request.headers_mut().remove("range");
                }
                let blob = request.uri().path().contains("/blobs/");
                let response = next.run(request).await;
                let length = length(&response);
                if !blob || length < 1_000_000 {
                    return response;
                }
                let again =
                    breaks.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
                sent.fetch_add(if again { 700_000 } else { length }, Ordering::SeqCst);
                if again { cut(response, 700_000) } else { response }
            }
            .boxed()
        })
        .await;
        near.store.pull(&format!("{host}/app:1"), true).await.unwrap();
        let sent = sent.load(Ordering::SeqCst);
        // What was cut off on its way is sent again, but not what had come.
        assert!(!honours_ranges || sent < 2 * content.len(), "{sent} of {}", content.len());
        assert_eq!(near.store.list().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_registry_that_always_breaks_is_given_up_and_leaves_nothing() {
    let (far, near) = (home(), home());
    put_image(&far.store, &[Layer::plain(Tar::default().file("a", &vec![7; 1 << 20]).end())]).await;
    let host = misbehaving(far.store.router(), |request: Request<Body>, next| {
        async move {
            let blob = request.uri().path().contains("/blobs/");
            let response = next.run(request).await;
            if blob { cut(response, 0) } else { response }
        }
        .boxed()
    })
    .await;
    let error = near.store.pull(&format!("{host}/app:1"), false).await.unwrap_err();
    assert_eq!(error.problem().code, Code::Unavailable, "{error}");
    assert!(near.store.list().unwrap().is_empty());
    assert_eq!(std::fs::read_dir(near.dir.path().join("images/uploads")).unwrap().count(), 0);
}

#[tokio::test]
async fn bytes_that_are_not_what_was_asked_for_are_not_kept() {
    let (far, near) = (home(), home());
    let image = put_image(&far.store, &[Layer::plain(Tar::default().file("a", &[7; 1000]).end())]).await;
    let host = misbehaving(far.store.router(), |request: Request<Body>, next| {
        async move {
            let blob = request.uri().path().contains("/blobs/");
            let mut response = next.run(request).await;
            let length = length(&response);
            if blob && length > 1000 {
                *response.body_mut() = Body::from(vec![1; length]);
            }
            response
        }
        .boxed()
    })
    .await;
    let error = near.store.pull(&format!("{host}/app:1"), true).await.unwrap_err();
    assert!(matches!(error, ImageError::Digest { .. }), "{error}");
    assert!(near.store.list().unwrap().is_empty());
    let layer =
        far.store.inspect("app:1").unwrap().manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
    let hex = layer.strip_prefix("sha256:").unwrap();
    assert!(!near.dir.path().join("images/blobs/sha256").join(hex).exists());
    assert_eq!(near.store.resolve(&format!("{host}/app:1")).await.unwrap().digest, image.digest);
}

#[tokio::test]
async fn ten_megabytes_of_junk_are_no_manifest() {
    let near = home();
    let junk = axum::Router::new().fallback(|| async { Body::from(vec![b'{'; 10 << 20]) });
    let host = misbehaving(junk, |request, next| async move { next.run(request).await }.boxed()).await;
    let error = near.store.resolve(&format!("{host}/app:1")).await.unwrap_err();
    assert!(error.to_string().contains("larger than 4 MiB"), "{error}");

    // An endless one is not read to its end either.
    let endless = axum::Router::new().fallback(|| async {
        Body::from_stream(futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 1 << 16])))
    });
    let host = misbehaving(endless, |request, next| async move { next.run(request).await }.boxed()).await;
    let error = near.store.resolve(&format!("{host}/app:1")).await.unwrap_err();
    assert!(error.to_string().contains("larger than 4 MiB"), "{error}");
}

/// A server that counts what it is asked and answers with `answer`.
async fn counting(
    answer: impl Fn(&Request<Body>) -> Response<Body> + Clone + Send + Sync + 'static,
) -> (String, Arc<AtomicUsize>) {
    let hits = Arc::new(AtomicUsize::new(0));
    let counted = hits.clone();
    let router = axum::Router::new().fallback(move |request: Request<Body>| {
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::ready(answer(&request))
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (host, hits)
}

fn answer(status: u16, header: (&str, &str), body: &str) -> Response<Body> {
    Response::builder().status(status).header(header.0, header.1).body(Body::from(body.to_owned())).unwrap()
}

#[tokio::test]
async fn a_registry_cannot_send_us_to_the_inside() {
    let near = home();
    let (inside, hits) = counting(|_| answer(200, ("x", "y"), r#"{"token":"inner"}"#)).await;
    for to in [format!("http://{inside}/x"), "https://169.254.169.254/x".into(), "https://localhost/x".into()]
    {
        let location = to.clone();
        let (redirects, _) = counting(move |_| answer(307, ("location", &location), "")).await;
        let realm = format!("Bearer realm=\"{to}\",service=\"s\"");
        let (asks, seen) = counting(move |_| answer(401, ("www-authenticate", &realm), "")).await;
        for host in [redirects, asks] {
            let error = near.store.resolve(&format!("{host}/app:1")).await.unwrap_err();
            assert!(error.to_string().contains("no public address"), "{to}: {error}");
        }
        assert_eq!(seen.load(Ordering::SeqCst), 1, "no token was sent on");
    }
    assert_eq!(hits.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_token_of_the_registry_itself_is_fetched_once_and_shown_to_it_alone() {
    let (far, near) = (home(), home());
    let image = put_image(&far.store, &[Layer::gzip(&Tar::default().file("a", b"a").end())]).await;
    let given = Arc::new(AtomicUsize::new(0));
    let tokens = given.clone();
    let host = misbehaving(far.store.router(), move |request: Request<Body>, next| {
        let tokens = tokens.clone();
        async move {
            let headers = request.headers();
            let own = headers["host"].to_str().unwrap().to_owned();
            if request.uri().path() == "/token" {
                tokens.fetch_add(1, Ordering::SeqCst);
                let query = request.uri().query().unwrap();
                assert!(
                    query.contains("service=s") && query.contains("scope=repository%3Aapp%3Apull"),
                    "{query}"
                );
                assert!(!headers.contains_key("authorization"));
                return answer(200, ("content-type", "application/json"), r#"{"access_token":"secret"}"#);
            }
            match headers.get("authorization") {
                Some(token) if token == "Bearer secret" => {}
                _ => {
                    let realm = format!("Bearer realm=\"http://{own}/token\",service=\"s\"");
                    return answer(401, ("www-authenticate", &realm), "");
                }
            }
            // Blobs are where the registry sends us: at itself.
            let path = request.uri().path().to_owned();
            if path.contains("/blobs/") && request.uri().query().is_none() {
                return answer(307, ("location", &format!("{path}?there")), "");
            }
            next.run(request).await
        }
        .boxed()
    })
    .await;
    let pulled = near.store.pull(&format!("{host}/app:1"), true).await.unwrap();
    assert_eq!((pulled.digest, given.load(Ordering::SeqCst)), (image.digest, 1));
    let (turning, _) = counting(|_| answer(302, ("location", "/v2/again"), "")).await;
    let error = near.store.resolve(&format!("{turning}/app:1")).await.unwrap_err();
    assert!(error.to_string().contains("redirects without end"), "{error}");
}
