//! Hand-made layers and images, a registry on loopback, and whether a tool is installed.

use axum::{
    body::{Body, to_bytes},
    http::{Method, Request, Response},
};
use flate2::{Compression, write::GzEncoder};
use freehold_image::ImageStore;
use freehold_model::{Digest, ImageRef};
use serde_json::{Value, json};
use std::{
    io::Write,
    path::Path,
    process::{Command, Output},
    sync::Arc,
};
use tar::{EntryType, Header};
use tower::ServiceExt;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A store in a folder of its own.
pub(crate) struct Home {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) store: ImageStore,
}

pub(crate) fn home() -> Home {
    let dir = tempfile::tempdir().unwrap();
    let store = ImageStore::open(&dir.path().join("images")).unwrap();
    Home { dir, store }
}

/// The same in memory where there is such a place: disks take long to make and remove many folders.
pub(crate) fn quick_home() -> Home {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let store = ImageStore::open(&dir.path().join("images")).unwrap();
    Home { dir, store }
}

/// The registry of `store` on a free port of loopback; ends with the test.
pub(crate) async fn listen(store: &ImageStore) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = store.router();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address.to_string()
}

/// One request to the registry, without a network.
pub(crate) async fn ask(store: &ImageStore, request: Request<Body>) -> Response<Body> {
    store.router().oneshot(request).await.unwrap()
}

pub(crate) fn request(method: Method, path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::builder().method(method).uri(path).body(body.into()).unwrap()
}

pub(crate) async fn body_of(response: Response<Body>) -> Vec<u8> {
    to_bytes(response.into_body(), 1 << 30).await.unwrap().to_vec()
}

pub(crate) async fn put_blob(store: &ImageStore, bytes: &[u8]) -> Digest {
    let digest = Digest::of(bytes);
    let path = format!("/v2/app/blobs/uploads/?digest={digest}");
    let response = ask(store, request(Method::POST, &path, bytes.to_vec())).await;
    assert_eq!(response.status(), 201);
    digest
}

pub(crate) async fn put_manifest(
    store: &ImageStore,
    name: &str,
    tag: &str,
    manifest: &Value,
) -> Response<Body> {
    let kind = if manifest.get("manifests").is_some() { INDEX } else { MANIFEST };
    if name != "app" {
        mount(store, name, manifest).await;
    }
    let mut request =
        request(Method::PUT, &format!("/v2/{name}/manifests/{tag}"), manifest.to_string().into_bytes());
    request.headers_mut().insert("content-type", kind.parse().unwrap());
    ask(store, request).await
}

/// Mounts in `name` the blobs of a manifest, which tests upload to `app`.
async fn mount(store: &ImageStore, name: &str, manifest: &Value) {
    let layers = manifest["layers"].as_array().into_iter().flatten();
    for part in layers.chain(manifest.get("config")) {
        let path = format!("/v2/{name}/blobs/uploads/?mount={}&from=app", part["digest"].as_str().unwrap());
        assert_eq!(ask(store, request(Method::POST, &path, Body::empty())).await.status(), 201);
    }
}

/// A layer as it is stored and as it unpacks.
pub(crate) struct Layer {
    pub(crate) blob: Vec<u8>,
    pub(crate) diff_id: Digest,
}

impl Layer {
    pub(crate) fn plain(tar: Vec<u8>) -> Layer {
        Layer { diff_id: Digest::of(&tar), blob: tar }
    }

    pub(crate) fn gzip(tar: &[u8]) -> Layer {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(tar).unwrap();
        Layer { diff_id: Digest::of(tar), blob: gzip.finish().unwrap() }
    }

    pub(crate) fn zstd(tar: &[u8]) -> Layer {
        Layer { diff_id: Digest::of(tar), blob: zstd::encode_all(tar, 1).unwrap() }
    }
}

/// Pushes an image of these layers as `app:1`.
pub(crate) async fn put_image(store: &ImageStore, layers: &[Layer]) -> ImageRef {
    let (_, manifest) = image_of(store, layers, json!({})).await;
    let response = put_manifest(store, "app", "1", &manifest).await;
    assert_eq!(response.status(), 201);
    store.resolve("app:1").await.unwrap()
}

/// Pushes config and layers; the digest of the manifest and the manifest.
pub(crate) async fn image_of(store: &ImageStore, layers: &[Layer], run: Value) -> (Digest, Value) {
    let diff_ids: Vec<&Digest> = layers.iter().map(|layer| &layer.diff_id).collect();
    let config = json!({"os": "linux", "architecture": architecture(), "config": run, "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let config = config.to_string().into_bytes();
    let mut described = Vec::new();
    for layer in layers {
        let digest = put_blob(store, &layer.blob).await;
        described.push(json!({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": layer.blob.len()}));
    }
    let config_digest = put_blob(store, &config).await;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "layers": described,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": config.len()},
    });
    (Digest::of(manifest.to_string().as_bytes()), manifest)
}

pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Writes archives that well-behaved tools would not.
#[derive(Default)]
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    pub(crate) fn dir(self, path: &str) -> Tar {
        self.entry(EntryType::Directory, path, "", b"")
    }

    pub(crate) fn file(self, path: &str, content: &[u8]) -> Tar {
        self.entry(EntryType::Regular, path, "", content)
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Tar {
        self.entry(EntryType::Symlink, path, target, b"")
    }

    pub(crate) fn hard_link(self, path: &str, target: &str) -> Tar {
        self.entry(EntryType::Link, path, target, b"")
    }

    pub(crate) fn entry(self, kind: EntryType, path: &str, link: &str, content: &[u8]) -> Tar {
        self.with(kind, path, link, content, |_| {})
    }

    pub(crate) fn with(
        mut self,
        kind: EntryType,
        path: &str,
        link: &str,
        content: &[u8],
        more: impl FnOnce(&mut Header),
    ) -> Tar {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_size(content.len() as u64);
        header.set_mtime(1_000_000_000);
        header.set_uid(0);
        header.set_gid(0);
        // Written raw: the tar crate would refuse most of what is tested here.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        more(&mut header);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// A header that gives the next entry extended attributes.
    pub(crate) fn pax(self, pairs: &[(&str, &[u8])]) -> Tar {
        let mut records = Vec::new();
        for (key, value) in pairs {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            records.extend_from_slice(format!("{length} {key}=").as_bytes());
            records.extend_from_slice(value);
            records.push(b'\n');
        }
        self.entry(EntryType::XHeader, "pax", "", &records)
    }

    /// The entries of `first`, then those of `second`.
    pub(crate) fn chain(mut first: Tar, second: Tar) -> Tar {
        first.0.extend(second.0);
        first
    }

    /// Without the blocks that end an archive.
    pub(crate) fn bare(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// Whether a tool is installed; says so when a test is skipped for want of it.
pub(crate) fn installed(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").output().is_ok();
    if !found {
        eprintln!("SKIPPED: {tool} is not installed (apt-get install {tool})");
    }
    found
}

pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: this test needs root");
    }
    root
}

/// Runs a tool to its end without blocking the server in this process.
pub(crate) async fn run(tool: &str, args: &[&str], home: &Path) -> Output {
    let mut command = Command::new(tool);
    command.args(args).env("HOME", home).env("XDG_RUNTIME_DIR", home).env("TMPDIR", home);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(
        output.status.success(),
        "{tool} {args:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

pub(crate) fn quiet() -> freehold_image::push::OnProgress {
    Arc::new(|_| {})
}
