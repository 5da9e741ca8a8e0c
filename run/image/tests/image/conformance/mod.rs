//! The conformance cases of the OCI distribution specification 1.1, ported by behaviour: one test for each
//! case, named as the upstream suite names it, over HTTP against a real server.
//!
//! Where upstream allows an answer that means "not supported", the test asks for the answer that means
//! "supported". Setups and teardowns of the suite are not cases; each test makes what it needs.

mod discovery;
mod management;
mod pull;
mod push;

use crate::support::{Home, INDEX, MANIFEST, home, listen};
use freehold_model::Digest;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};

/// A repository of the suite, and the one it mounts into.
const NAME: &str = "conformance/test";
const OTHER: &str = "conformance/other";
const EMPTY: &[u8] = b"{}";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A registry on loopback, and a client of it.
struct Registry {
    _home: Home,
    base: String,
    client: Client,
}

impl Registry {
    async fn start() -> Registry {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let home = home();
        let base = format!("http://{}", listen(&home.store).await);
        Registry { _home: home, base, client: Client::builder().no_proxy().build().unwrap() }
    }

    /// A request for a path, or for the place that an answer named.
    fn ask(&self, method: &str, path: &str) -> RequestBuilder {
        let method: Method = method.parse().unwrap();
        self.client.request(method, format!("{}{path}", self.base))
    }

    async fn send(&self, method: &str, path: &str) -> Response {
        self.ask(method, path).send().await.unwrap()
    }

    /// Opens an upload; where it is.
    async fn session(&self, name: &str) -> String {
        let begun = self.send("POST", &format!("/v2/{name}/blobs/uploads/")).await;
        assert_eq!(begun.status(), 202);
        header(&begun, "location")
    }

    /// Uploads a blob as the suite's setups do: POST, then PUT.
    async fn blob(&self, bytes: &[u8]) -> Digest {
        let (digest, place) = (Digest::of(bytes), self.session(NAME).await);
        let put = self.ask("PUT", &place).query(&[("digest", digest.as_str())]).body(bytes.to_vec());
        assert_eq!(put.send().await.unwrap().status(), 201);
        digest
    }

    async fn put(&self, reference: &str, manifest: &Value) -> Response {
        let kind = manifest["mediaType"].as_str().unwrap();
        let path = format!("/v2/{NAME}/manifests/{reference}");
        self.ask("PUT", &path).header("content-type", kind).body(manifest.to_string()).send().await.unwrap()
    }

    /// Pushes a manifest by its digest.
    async fn put_by_digest(&self, manifest: &Value) -> (Digest, Response) {
        let digest = digest_of(manifest);
        let response = self.put(digest.as_str(), manifest).await;
        (digest, response)
    }

    /// Uploads config and layer of an image; its manifest, not yet pushed.
    async fn image(&self, label: &str) -> Value {
        let config = json!({"architecture": "amd64", "os": "linux", "author": label, "rootfs": {"type": "layers", "diff_ids": []}});
        let (config, layer) = (config.to_string(), format!("a layer for {label}"));
        let (config_digest, layer_digest) =
            (self.blob(config.as_bytes()).await, self.blob(layer.as_bytes()).await);
        json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG_TYPE, "digest": config_digest, "size": config.len()},
            "layers": [{"mediaType": LAYER_TYPE, "digest": layer_digest, "size": layer.len()}],
        })
    }

    /// Pushes an image under tags; its manifest.
    async fn tagged(&self, label: &str, tags: &[&str]) -> Value {
        let manifest = self.image(label).await;
        for tag in tags {
            assert_eq!(self.put(tag, &manifest).await.status(), 201);
        }
        manifest
    }

    /// The tags that a listing answers with.
    async fn tags(&self, query: &str) -> Vec<String> {
        let response = self.send("GET", &format!("/v2/{NAME}/tags/list{query}")).await;
        assert_eq!(response.status(), 200);
        let list: Value = response.json().await.unwrap();
        serde_json::from_value(list["tags"].clone()).unwrap()
    }
}

fn digest_of(manifest: &Value) -> Digest {
    Digest::of(manifest.to_string().as_bytes())
}

fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name).unwrap_or_else(|| panic!("no {name}: {response:?}"));
    value.to_str().unwrap().to_owned()
}

/// An artifact: an image manifest with an empty config, attached to `subject`.
fn artifact(kind: &str, blob: (&Digest, usize), subject: Option<&Value>, note: &str) -> Value {
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind,
        "config": {"mediaType": EMPTY_TYPE, "digest": Digest::of(EMPTY), "size": EMPTY.len()},
        "layers": [{"mediaType": kind, "digest": blob.0, "size": blob.1}],
        "annotations": {"note": note},
    });
    if let Some(subject) = subject {
        manifest["subject"] =
            json!({"mediaType": MANIFEST, "digest": digest_of(subject), "size": subject.to_string().len()});
    }
    manifest
}

fn index_of(kind: &str, of: &Value, note: &str) -> Value {
    json!({
        "schemaVersion": 2, "mediaType": INDEX, "artifactType": kind, "annotations": {"note": note},
        "manifests": [{"mediaType": of["mediaType"], "digest": digest_of(of), "size": of.to_string().len()}],
    })
}
