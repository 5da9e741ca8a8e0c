//! Folders become images, the same folder always the same image.

use crate::support::{Layer, Tar, home, image_of, listen, put_manifest, quiet};
use freehold_image::{
    build::{Base, BuildOptions, base_of, build_folder},
    push::push_layout,
};
use serde_json::json;
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
};

fn folder(at: &Path) {
    fs::create_dir_all(at.join("srv/empty")).unwrap();
    fs::write(at.join("srv/index.html"), "hello").unwrap();
    fs::write(at.join("run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(at.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("/run.sh", at.join("srv/run")).unwrap();
    fs::write(at.join("srv").join("n".repeat(150)), "long").unwrap();
    let spec = "entrypoint = [\"/run.sh\"]\ncmd = [\"-v\"]\nworkdir = \"/srv\"\nuser = \"7:7\"\nexposed = [8080]\nstop_signal = \"SIGQUIT\"\n[env]\nB = \"2\"\nA = \"1\"\n[labels]\nz = \"1\"\na = \"2\"\nm = \"3\"\n";
    fs::write(at.join("freehold-image.toml"), spec).unwrap();
}

#[test]
fn the_same_folder_gives_the_same_digest() {
    let dir = tempfile::tempdir().unwrap();
    let digests: Vec<_> = ["a", "b"]
        .map(|name| {
            let at = dir.path().join(name);
            folder(&at);
            build_folder(&at, &dir.path().join(format!("{name}.out")), &BuildOptions::default()).unwrap()
        })
        .into();
    assert_eq!(digests[0], digests[1]);
    let dated = BuildOptions { epoch: Some(1_700_000_000), base: None };
    let other = build_folder(&dir.path().join("a"), &dir.path().join("dated"), &dated).unwrap();
    assert_ne!(other.digest, digests[0].digest);
    fs::write(dir.path().join("a/srv/index.html"), "Hello").unwrap();
    let other =
        build_folder(&dir.path().join("a"), &dir.path().join("other"), &BuildOptions::default()).unwrap();
    assert_ne!(other.digest, digests[0].digest);
}

#[test]
fn what_cannot_be_an_image_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let built = |at: &Path, out: &str| build_folder(at, &dir.path().join(out), &BuildOptions::default());
    let at = dir.path().join("in");
    folder(&at);
    let inside = build_folder(&at, &at.join("out"), &BuildOptions::default()).unwrap_err();
    assert!(inside.to_string().contains("part of itself"), "{inside}");
    assert!(built(&at.join("run.sh"), "file").unwrap_err().to_string().contains("not a folder"));
    let _socket = std::os::unix::net::UnixListener::bind(at.join("srv/socket")).unwrap();
    let socket = built(&at, "socket").unwrap_err().to_string();
    assert!(socket.contains("srv/socket") && socket.contains("a socket"), "{socket}");
    fs::write(at.join("freehold-image.toml"), "comand = []").unwrap();
    let typo = built(&at, "typo").unwrap_err().to_string();
    assert!(typo.contains("freehold-image.toml: line 1") && typo.contains("`cmd`"), "{typo}");
}

#[tokio::test]
async fn a_built_image_is_pushed_and_prepared() {
    let home = home();
    let (at, out) = (home.dir.path().join("in"), home.dir.path().join("out"));
    folder(&at);
    let built = build_folder(&at, &out, &BuildOptions::default()).unwrap();
    let url = format!("http://{}", listen(&home.store).await);
    let digest = push_layout(&out, &url, Some("token"), "team/site:1", quiet()).await.unwrap();
    assert_eq!(digest, built.digest);

    let image = home.store.resolve("team/site:1").await.unwrap();
    assert_eq!(image.digest, built.digest);
    let prepared = home.store.prepare(&image).await.unwrap();
    let run = &prepared.config;
    assert_eq!((&run.entrypoint[..], &run.cmd[..]), (&["/run.sh".to_owned()][..], &["-v".to_owned()][..]));
    assert_eq!(run.env, [("A".into(), "1".into()), ("B".into(), "2".into())]);
    assert_eq!(
        (run.workdir.as_str(), run.user.as_deref(), run.stop_signal.as_deref()),
        ("/srv", Some("7:7"), Some("SIGQUIT"))
    );
    let layer = &prepared.layers[0];
    let script = fs::metadata(layer.join("run.sh")).unwrap();
    assert_eq!((script.mode() & 0o777, script.mtime()), (0o755, 0));
    assert_eq!(fs::read_link(layer.join("srv/run")).unwrap(), Path::new("/run.sh"));
    assert!(layer.join("srv/empty").is_dir());
    assert!(layer.join("srv").join("n".repeat(150)).exists());
    assert!(!layer.join("freehold-image.toml").exists());
    assert_eq!(home.store.list().unwrap()[0].size.0, built.size);
}

#[test]
fn a_folder_is_packed_in_part_and_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("project");
    for file in ["dist/keep.txt", "dist/logs/a.log", "dist/node_modules/x/y.js", "src/main.rs"] {
        fs::create_dir_all(at.join(file).parent().unwrap()).unwrap();
        fs::write(at.join(file), file).unwrap();
    }
    let spec = "folder = \"dist\"\ninto = \"/usr/share/app\"\nignore = [\"*.log\", \"node_modules/\"]\n";
    fs::write(at.join("freehold-image.toml"), spec).unwrap();
    let out = dir.path().join("out");
    build_folder(&at, &out, &BuildOptions::default()).unwrap();
    assert_eq!(
        names_in_last_layer(&out),
        ["usr/", "usr/share/", "usr/share/app/", "usr/share/app/keep.txt", "usr/share/app/logs/"]
    );
}

fn names_in_last_layer(layout: &Path) -> Vec<String> {
    let read = |digest: &serde_json::Value| {
        let hex = digest.as_str().unwrap().trim_start_matches("sha256:");
        fs::read(layout.join("blobs/sha256").join(hex)).unwrap()
    };
    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let manifest: serde_json::Value =
        serde_json::from_slice(&read(&index["manifests"][0]["digest"])).unwrap();
    let layer = read(&manifest["layers"].as_array().unwrap().last().unwrap()["digest"]);
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&layer[..]));
    let entries = archive.entries().unwrap();
    entries.map(|entry| entry.unwrap().path().unwrap().to_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_image_is_built_upon_another_whose_layers_stay_where_they_are() {
    let home = home();
    let base_layer = Layer::gzip(&Tar::default().dir("usr").file("usr/node", b"runtime").end());
    let run = json!({"Entrypoint": ["/usr/node"], "Cmd": ["repl"], "Env": ["PATH=/usr", "A=1"]});
    let (digest, manifest) = image_of(&home.store, &[base_layer], run).await;
    put_manifest(&home.store, "base/node", "22", &manifest).await;

    let (at, out) = (home.dir.path().join("in"), home.dir.path().join("out"));
    fs::create_dir(&at).unwrap();
    fs::write(at.join("app.js"), "1").unwrap();
    fs::write(
        at.join("freehold-image.toml"),
        "from = \"base/node:22\"\ninto = \"/app\"\ncmd = [\"/app/app.js\"]",
    )
    .unwrap();
    assert_eq!(base_of(&at).unwrap().as_deref(), Some("base/node:22"));
    let unfetched = build_folder(&at, &out, &BuildOptions::default()).unwrap_err();
    assert!(unfetched.to_string().contains("base/node:22"), "{unfetched}");

    let seen = home.store.inspect("base/node:22").unwrap();
    assert_eq!(seen.digest, digest);
    let base =
        Base { reference: "base/node:22".into(), digest, manifest: seen.manifest, config: seen.config };
    let built = build_folder(&at, &out, &BuildOptions { epoch: None, base: Some(base) }).unwrap();
    let url = format!("http://{}", listen(&home.store).await);
    push_layout(&out, &url, None, "app:1", quiet()).await.unwrap();

    let image = home.store.resolve("app:1").await.unwrap();
    assert_eq!(image.digest, built.digest);
    let prepared = home.store.prepare(&image).await.unwrap();
    assert_eq!(prepared.layers.len(), 2);
    // The order of layers is the runtime's business; each file is in one of them.
    let holds = |file: &str| prepared.layers.iter().filter(|layer| layer.join(file).exists()).count();
    assert_eq!((holds("usr/node"), holds("app/app.js")), (1, 1));
    assert_eq!(prepared.config.entrypoint, ["/usr/node"]);
    assert_eq!(prepared.config.cmd, ["/app/app.js"]);
    assert_eq!(prepared.config.env, [("PATH".into(), "/usr".into()), ("A".into(), "1".into())]);
}

#[tokio::test]
async fn what_would_hide_a_base_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("in");
    fs::create_dir_all(at.join("bin")).unwrap();
    fs::write(at.join("freehold-image.toml"), "from = \"debian:12\"").unwrap();
    let home = home();
    let (digest, manifest) = image_of(&home.store, &[], json!({})).await;
    let config = json!({"rootfs": {"type": "layers", "diff_ids": []}});
    let base = Base { reference: "debian:12".into(), digest, manifest, config };
    let options = BuildOptions { epoch: None, base: Some(base) };
    let error = build_folder(&at, &dir.path().join("out"), &options).unwrap_err().to_string();
    assert!(error.contains("/usr/bin"), "{error}");
}
