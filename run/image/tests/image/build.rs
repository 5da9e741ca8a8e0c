//! Folders become images, the same folder always the same image.

use crate::support::{home, listen, quiet};
use freehold_image::{
    build::{BuildOptions, build_folder},
    push::push_layout,
};
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
    let dated = BuildOptions { epoch: Some(1_700_000_000) };
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
