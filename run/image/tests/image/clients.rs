//! The clients that other people use: skopeo, umoci, podman. What they push is what they pull.

use crate::support::{Home, home, installed, is_root, listen, quiet, run};
use freehold_image::{
    build::{BuildOptions, build_folder},
    fetch::save_archive,
    push::push_layout,
};
use std::{fs, path::Path};

async fn built(home: &Home) -> (String, String) {
    let (at, out) = (home.dir.path().join("in"), home.dir.path().join("layout"));
    fs::create_dir_all(at.join("srv")).unwrap();
    fs::write(at.join("srv/data"), vec![42; 3 << 20]).unwrap();
    fs::write(at.join("freehold-image.toml"), "cmd = [\"/srv/data\"]").unwrap();
    let built = build_folder(&at, &out, &BuildOptions::default()).unwrap();
    (out.to_str().unwrap().to_owned(), built.digest.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_pushes_and_pulls() {
    if !installed("skopeo") {
        return;
    }
    let home = home();
    let tmp = home.dir.path();
    let (layout, digest) = built(&home).await;
    let host = listen(&home.store).await;
    let remote = format!("docker://{host}/team/app:1");
    let skopeo = async |from: &str, to: &str, more: &[&str]| {
        let tls = ["--src-tls-verify=false", "--dest-tls-verify=false"];
        let args = [&["copy", "--insecure-policy"], &tls[..], more, &[from, to]].concat();
        run("skopeo", &args, tmp).await
    };
    skopeo(&format!("oci:{layout}"), &remote, &[]).await;
    assert_eq!(home.store.resolve("team/app:1").await.unwrap().digest.to_string(), digest);
    skopeo(&remote, &format!("oci:{}/back:1", tmp.display()), &[]).await;
    let index = fs::read_to_string(tmp.join("back/index.json")).unwrap();
    assert!(index.contains(&digest), "{index}");

    // As Docker schema 2, which skopeo converts to; and back out of its own archive format.
    let docker = format!("docker://{host}/docker:1");
    skopeo(&remote, &docker, &["--format", "v2s2"]).await;
    let image = home.store.resolve("docker:1").await.unwrap();
    assert_eq!(home.store.prepare(&image).await.unwrap().layers.len(), 1);
    let archive = tmp.join("docker.tar");
    skopeo(&docker, &format!("docker-archive:{}:x:1", archive.display()), &[]).await;
    push(&archive, &host, "saved:1").await;
    let saved = home.store.resolve("saved:1").await.unwrap();
    assert_eq!(home.store.prepare(&saved).await.unwrap().config.cmd, ["/srv/data"]);

    let archive = tmp.join("oci.tar");
    skopeo(&remote, &format!("oci-archive:{}", archive.display()), &[]).await;
    push(&archive, &host, "archived:1").await;
    assert_eq!(home.store.resolve("archived:1").await.unwrap().digest.to_string(), digest);

    let out = tmp.join("saved.tar");
    save_archive(&format!("http://{host}"), None, "team/app:1", &out, quiet()).await.unwrap();
    skopeo(&format!("oci-archive:{}", out.display()), &format!("docker://{host}/again:1"), &[]).await;
    assert_eq!(home.store.resolve("again:1").await.unwrap().digest.to_string(), digest);

    let tags =
        run("skopeo", &["list-tags", "--tls-verify=false", &format!("docker://{host}/team/app")], tmp).await;
    assert!(String::from_utf8_lossy(&tags.stdout).contains("\"1\""));
    run("skopeo", &["delete", "--tls-verify=false", &remote], tmp).await;
    assert!(home.store.resolve("team/app:1").await.is_err());
}

async fn push(archive: &Path, host: &str, reference: &str) {
    push_layout(archive, &format!("http://{host}"), None, reference, quiet()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_made_with_umoci_is_unpacked() {
    if !installed("skopeo") || !installed("umoci") || !is_root() {
        return;
    }
    let home = home();
    let tmp = home.dir.path();
    let layout = tmp.join("made");
    let at = |tag: &str| format!("{}:{tag}", layout.display());
    run("umoci", &["init", "--layout", layout.to_str().unwrap()], tmp).await;
    run("umoci", &["new", "--image", &at("1")], tmp).await;
    let bundle = tmp.join("bundle");
    for (step, name) in ["first", "second"].iter().enumerate() {
        let _ = freehold_tree::remove(&bundle);
        run("umoci", &["unpack", "--image", &at("1"), bundle.to_str().unwrap()], tmp).await;
        fs::write(bundle.join("rootfs").join(name), name).unwrap();
        if step == 1 {
            fs::remove_file(bundle.join("rootfs/first")).unwrap();
        }
        run("umoci", &["repack", "--image", &at("1"), bundle.to_str().unwrap()], tmp).await;
    }
    let host = listen(&home.store).await;
    let args = ["copy", "--insecure-policy", "--dest-tls-verify=false"];
    let remote = format!("docker://{host}/umoci:1");
    run("skopeo", &[&args[..], &[&format!("oci:{}", at("1")), &remote]].concat(), tmp).await;
    let image = home.store.resolve("umoci:1").await.unwrap();
    let layers = home.store.prepare(&image).await.unwrap().layers;
    assert_eq!(fs::read_to_string(layers[0].join("first")).unwrap(), "first");
    assert_eq!(fs::read_to_string(layers[1].join("second")).unwrap(), "second");
    assert!(fs::symlink_metadata(layers[1].join("first")).is_ok(), "the removal is a whiteout");
}

#[tokio::test(flavor = "multi_thread")]
async fn podman_pulls_and_pushes() {
    if !installed("podman") || !is_root() {
        return;
    }
    let home = home();
    let tmp = home.dir.path();
    let (layout, digest) = built(&home).await;
    let host = listen(&home.store).await;
    push(Path::new(&layout), &host, "app:1").await;
    let (root, runroot) = (tmp.join("podman"), tmp.join("podman-run"));
    let storage = [
        "--root",
        root.to_str().unwrap(),
        "--runroot",
        runroot.to_str().unwrap(),
        "--storage-driver",
        "vfs",
        "--cgroup-manager",
        "cgroupfs",
    ];
    let podman = async |args: &[&str]| run("podman", &[&storage[..], args].concat(), tmp).await;
    let (image, copy) = (format!("{host}/app:1"), format!("{host}/copy:1"));
    podman(&["pull", "--tls-verify=false", &image]).await;
    let shown = podman(&["image", "inspect", &image, "--format", "{{.Digest}}"]).await;
    assert_eq!(String::from_utf8_lossy(&shown.stdout).trim(), digest);
    podman(&["push", "--tls-verify=false", &image, &copy]).await;
    let copy = home.store.resolve("copy:1").await.unwrap();
    assert_eq!(home.store.prepare(&copy).await.unwrap().config.cmd, ["/srv/data"]);
}
