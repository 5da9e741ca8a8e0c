//! Layers, good and hostile, through `prepare`.

use crate::support::{Home, Layer, Tar, home, is_root, put_image, quick_home};
use freehold_image::{Collect, ImageError, ImageStore, Limits};
use freehold_model::{Digest, api::CollectedKind};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};
use tar::EntryType;

async fn prepare(home: &Home, layers: &[Layer]) -> Result<Vec<PathBuf>, ImageError> {
    let image = put_image(&home.store, layers).await;
    home.store.prepare(&image).await.map(|prepared| prepared.layers)
}

async fn unpacked(home: &Home, tar: Tar) -> PathBuf {
    prepare(home, &[Layer::gzip(&tar.end())]).await.unwrap().remove(0)
}

/// What is in the folder of layers: unpacked ones, and (there should be none) unfinished ones.
fn left_behind(home: &Home) -> usize {
    fs::read_dir(home.dir.path().join("images/layers")).unwrap().count()
}

#[tokio::test]
async fn hostile_layers_are_refused_and_leave_nothing() {
    let device = |kind, path| Tar::default().with(kind, path, "", b"", |h| h.set_device_major(1).unwrap());
    let long_name = vec![b'a'; 8 << 20];
    for (what, tar, reason) in [
        ("goes up", Tar::default().file("../escape", b"x"), "goes up"),
        ("goes up within", Tar::default().file("a/../../escape", b"x"), "goes up"),
        ("whiteout goes up", Tar::default().file("../.wh.escape", b""), "goes up"),
        ("whiteout of ..", Tar::default().file("a/.wh...", b""), "hides nothing"),
        ("whiteout of nothing", Tar::default().file("a/.wh.", b""), "hides nothing"),
        ("hard link up", Tar::default().hard_link("a", "../../secret"), "goes up"),
        ("hard link absolute", Tar::default().hard_link("a", "/etc/passwd"), "not in this layer"),
        ("hard link to a folder", Tar::default().dir("d").hard_link("a", "d"), "not in this layer"),
        ("hard link to itself", Tar::default().file("a", b"").hard_link("a", "a"), "to itself"),
        ("hard link to a lower layer", Tar::default().hard_link("a", "etc/passwd"), "not in this layer"),
        ("block device", device(EntryType::Block, "disk"), "is a device"),
        ("char device", device(EntryType::Char, "etc/mem"), "is a device"),
        ("file as parent", Tar::default().file("a", b"").file("a/b", b""), "not a folder"),
        ("circle", Tar::default().symlink("a", "b").symlink("b", "a").file("a/c", b""), "circle"),
        ("root as a file", Tar::default().file("./", b""), "only a folder"),
        (
            "long name",
            Tar::default().entry(EntryType::GNULongName, "x", "", &long_name).file("x", b""),
            "allowed",
        ),
        ("unknown kind", Tar::default().entry(EntryType::new(b'Z'), "x", "", b""), "of a kind"),
        (
            "owner",
            Tar::default().with(EntryType::Regular, "x", "", b"", |h| h.set_uid(u64::from(u32::MAX))),
            "user id",
        ),
    ] {
        let home = home();
        let error = prepare(&home, &[Layer::gzip(&tar.end())]).await.expect_err(what);
        assert!(error.to_string().contains(reason), "{what}: {error}");
        assert_eq!(left_behind(&home), 0, "{what}");
        assert!(!home.dir.path().join("images/layers/escape").exists(), "{what}");
    }
}

#[tokio::test]
async fn links_that_point_outside_lead_inside() {
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    fs::write(&secret, "untouched").unwrap();
    let out = outside.path().to_str().unwrap();
    for target in [out.to_owned(), format!("../../../../../../../..{out}")] {
        let home = home();
        let tar = Tar::default().symlink("out", &target).file("out/secret", b"stolen").file("out/new", b"x");
        // The target does not exist inside, so the path cannot be made: refused, and nothing outside changed.
        let result = prepare(&home, &[Layer::gzip(&tar.end())]).await;
        assert!(result.is_err(), "{target}");
        assert_eq!(fs::read_to_string(&secret).unwrap(), "untouched");
        assert!(!outside.path().join("new").exists());

        let tar = Tar::default().symlink("out", &target).hard_link("mine", "out/secret");
        assert!(prepare(&home, &[Layer::gzip(&tar.end())]).await.is_err(), "{target}");
        assert_eq!(fs::metadata(&secret).unwrap().nlink(), 1);

        // A file over a link replaces the link; it does not write through it.
        let tar = Tar::default().symlink("out", &format!("{target}/secret")).file("out", b"new");
        let layer = unpacked(&home, tar).await;
        assert_eq!(fs::read(layer.join("out")).unwrap(), b"new");
        assert_eq!(fs::read_to_string(&secret).unwrap(), "untouched");
    }
}

#[tokio::test]
async fn absolute_links_within_the_image_work_as_in_a_container() {
    let home = home();
    let tar = Tar::default().dir("run").dir("var").symlink("var/run", "/run").file("var/run/pid", b"1");
    let layer = unpacked(&home, tar).await;
    assert_eq!(fs::read(layer.join("run/pid")).unwrap(), b"1");
}

#[tokio::test]
async fn bombs_stop_at_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { bytes: 1 << 20, entries: 5 };
    let store = ImageStore::open_with(dir.path(), limits).unwrap();
    let home = Home { dir, store };
    let big = Tar::default().file("zeros", &vec![0; 2 << 20]);
    let mut many = Tar::default();
    for number in 0..6 {
        many = many.file(&number.to_string(), b"");
    }
    let sparse = Tar::default().with(EntryType::GNUSparse, "sparse", "", &[1; 512], |header| {
        let gnu = header.as_gnu_mut().unwrap();
        gnu.sparse[0].set_offset(0);
        gnu.sparse[0].set_length(512);
        gnu.sparse[1].set_offset(1 << 40);
        gnu.sparse[1].set_length(0);
        gnu.set_real_size(1 << 40);
    });
    for (what, tar, reason) in [
        ("bytes", big, "than is allowed"),
        ("entries", many, "more than 5 entries"),
        ("sparse", sparse, "than is allowed"),
    ] {
        let error = prepare(&home, &[Layer::gzip(&tar.end())]).await.expect_err(what);
        assert!(error.to_string().contains(reason), "{what}: {error}");
        assert_eq!(fs::read_dir(home.dir.path().join("layers")).unwrap().count(), 0, "{what}");
    }
}

#[tokio::test]
async fn folders_are_nested_no_deeper_than_paths_reach() {
    // Each link leads further down, so that no entry's own path is long.
    let folders = "d/".repeat(250);
    let mut chain = Tar::default();
    for link in 0..20 {
        let below = if link == 0 { folders.clone() } else { format!("l{}/{folders}", link - 1) };
        chain = chain.pax(&[("path", below.as_bytes())]).dir("d");
        chain = chain.pax(&[("linkpath", below.as_bytes())]).symlink(&format!("l{link}"), "d");
    }
    let deep = Tar::default().pax(&[("path", "d/".repeat(2040).as_bytes())]).dir("d");
    let long = Tar::default().pax(&[("path", "d/".repeat(3000).as_bytes())]).dir("d");
    for (what, tar, reason) in [
        ("links", chain, "nested too deep"),
        ("folders", deep, "nested too deep"),
        ("one path", long, "longer than the 4,096 bytes"),
    ] {
        let home = quick_home();
        let error = prepare(&home, &[Layer::gzip(&tar.end())]).await.expect_err(what);
        assert!(error.to_string().contains(reason), "{what}: {error}");
        assert_eq!(left_behind(&home), 0, "{what}");
    }

    // What reaches that far is fine, and goes when it is collected or replaced, however long its path is.
    let far = "d/".repeat(1900);
    let home = quick_home();
    let tar = Tar::default().pax(&[("path", far.as_bytes())]).dir("d");
    prepare(&home, &[Layer::gzip(&tar.end())]).await.unwrap();
    let tar = Tar::default().pax(&[("path", far.as_bytes())]).dir("d").file("d", b"now a file");
    let layer = unpacked(&home, tar).await;
    assert_eq!(fs::read(layer.join("d")).unwrap(), b"now a file");
    let how = Collect { roots: BTreeSet::new(), grace: Duration::ZERO, dry_run: false };
    let store = home.store.clone();
    let collected = tokio::task::spawn_blocking(move || store.collect(store.begin_collection(), &how));
    let collected = collected.await.unwrap().unwrap();
    assert_eq!(collected.removed.iter().filter(|item| item.kind == CollectedKind::Layer).count(), 2);
    assert_eq!(left_behind(&home), 0);
}

#[tokio::test]
async fn names_of_folders_do_not_fill_the_memory() {
    let home = home();
    let (mut tar, value) = (Tar::default(), vec![b'x'; 900_000]);
    for number in 0..80 {
        tar = tar.pax(&[("SCHILY.xattr.user.note", &value)]).dir(&format!("d{number}"));
    }
    let error = prepare(&home, &[Layer::zstd(&tar.end())]).await.unwrap_err();
    assert!(error.to_string().contains("more than the 64 MiB"), "{error}");
}

#[tokio::test]
async fn damaged_layers_are_refused() {
    let home = home();
    let tar = Tar::default().file("a", b"a").end();
    let lying = Layer { diff_id: Digest::of(b"something else"), ..Layer::gzip(&tar) };
    let error = prepare(&home, &[lying]).await.unwrap_err();
    assert!(matches!(error, ImageError::Digest { .. }), "{error}");

    // The disk turned a bit in gzip's header, which unpacks to the same: only the blob's digest sees it.
    let mut layer = Layer::gzip(&tar);
    let image = put_image(&home.store, std::slice::from_ref(&layer)).await;
    let path = home.dir.path().join("images/blobs/sha256").join(Digest::of(&layer.blob).hex());
    layer.blob[4] ^= 1;
    fs::write(path, &layer.blob).unwrap();
    let error = home.store.prepare(&image).await.unwrap_err();
    assert!(error.to_string().contains("the blob of a layer"), "{error}");

    let tar = Tar::default().file("a", &[1; 400]).end();
    let error = prepare(&home, &[Layer::gzip(&tar[..700])]).await.unwrap_err();
    assert!(matches!(error, ImageError::Layer { .. }), "cut off: {error}");
    assert_eq!(left_behind(&home), 0);
}

#[tokio::test]
async fn an_archive_that_ends_with_its_last_file_is_whole() {
    let home = home();
    // The rest of the last block is left out, as `umoci insert` does.
    let tar = Tar::default().dir("d").file("d/a", &[7; 100]).end();
    let layer = prepare(&home, &[Layer::gzip(&tar[..1024 + 100])]).await.unwrap().remove(0);
    assert_eq!(fs::read(layer.join("d/a")).unwrap(), [7; 100]);
    for cut in [1024 + 99, 1024, 1023, 600] {
        let error = prepare(&home, &[Layer::gzip(&tar[..cut])]).await.unwrap_err();
        assert!(matches!(error, ImageError::Layer { .. }), "cut at {cut}: {error}");
    }
}

#[tokio::test]
async fn files_come_out_as_they_went_in() {
    if !is_root() {
        return;
    }
    let home = home();
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let tar = Tar::default()
        .with(EntryType::Directory, "./", "", b"", |h| h.set_mode(0o711))
        .with(EntryType::Regular, "bin/su", "", b"su", |h| {
            h.set_mode(0o4755);
            h.set_uid(0);
            h.set_gid(42);
        })
        .hard_link("bin/login", "bin/su")
        .pax(&[
            ("SCHILY.xattr.security.capability", &capability),
            ("SCHILY.xattr.user.note", b"kept"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("mtime", b"1000000000.25"),
        ])
        .file("bin/ping", b"ping")
        .with(EntryType::Symlink, "bin/sh", "dash", b"", |h| h.set_uid(7))
        .entry(EntryType::Fifo, "run/pipe", "", b"")
        .with(EntryType::Char, "dev/null", "", b"", |h| h.set_device_major(1).unwrap());
    let layer = unpacked(&home, tar).await;

    assert_eq!(fs::metadata(&layer).unwrap().permissions().mode() & 0o7777, 0o711);
    let su = fs::metadata(layer.join("bin/su")).unwrap();
    assert_eq!((su.mode() & 0o7777, su.uid(), su.gid(), su.mtime()), (0o4755, 0, 42, 1_000_000_000));
    assert_eq!(su.ino(), fs::metadata(layer.join("bin/login")).unwrap().ino());
    let sh = fs::symlink_metadata(layer.join("bin/sh")).unwrap();
    assert_eq!((sh.uid(), fs::read_link(layer.join("bin/sh")).unwrap()), (7, PathBuf::from("dash")));
    assert!(fs::metadata(layer.join("run/pipe")).unwrap().file_type().is_fifo());
    assert!(!layer.join("dev/null").exists(), "a container has a /dev of its own");

    let ping = layer.join("bin/ping");
    assert_eq!(fs::metadata(&ping).unwrap().mtime_nsec(), 250_000_000);
    assert_eq!(attribute(&ping, "security.capability").as_deref(), Some(&capability[..]));
    assert_eq!(attribute(&ping, "user.note").as_deref(), Some(&b"kept"[..]));
    assert_eq!(attribute(&ping, "trusted.overlay.redirect"), None);
}

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut buffer = [0; 256];
    let length = rustix::fs::lgetxattr(path, name, &mut buffer[..]).ok()?;
    Some(buffer[..length].to_vec())
}

#[tokio::test]
async fn every_compression_gives_the_same_layer_once() {
    let home = home();
    let tar = Tar::default().file("a", b"a").end();
    let gzip = prepare(&home, &[Layer::gzip(&tar)]).await.unwrap();
    for other in [Layer::plain(tar.clone()), Layer::zstd(&tar)] {
        assert_eq!(prepare(&home, &[other]).await.unwrap(), gzip);
    }
    assert_eq!(left_behind(&home), 1);
}

#[tokio::test]
async fn concurrent_calls_share_the_work() {
    let home = home();
    let image =
        put_image(&home.store, &[Layer::gzip(&Tar::default().file("a", &vec![7; 4 << 20]).end())]).await;
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let (store, image) = (home.store.clone(), image.clone());
            tokio::spawn(async move { store.prepare(&image).await.unwrap() })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().layers.len(), 1);
    }
    assert_eq!(left_behind(&home), 1);
}

#[tokio::test]
async fn overlayfs_shows_what_whiteouts_mean() {
    if !is_root() {
        return;
    }
    let home = home();
    let lower = Tar::default()
        .file("gone", b"")
        .file("kept", b"low")
        .file("opaque/hidden", b"")
        .file("remade/hidden", b"")
        .file("made-then-hidden/low", b"")
        .file("into/low", b"");
    let upper = Tar::default()
        .file(".wh.gone", b"")
        .file("opaque/.wh..wh..opq", b"")
        .file("opaque/new", b"")
        .file(".wh.remade", b"")
        .dir("remade")
        .file("remade/new", b"")
        .file("made-then-hidden/up", b"")
        .file(".wh.made-then-hidden", b"")
        .file(".wh.into", b"")
        .file("into/up", b"")
        .file(".wh..wh.plnk", b"");
    let layers = prepare(&home, &[Layer::gzip(&lower.end()), Layer::gzip(&upper.end())]).await.unwrap();
    let whiteout = fs::symlink_metadata(layers[1].join("gone")).unwrap();
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);

    let at = home.dir.path().join("merged");
    fs::create_dir(&at).unwrap();
    let options = format!("lowerdir={}:{}", layers[1].display(), layers[0].display());
    let script =
        format!("mount -t overlay overlay -o {options} {0} && cd {0} && find . -type f | sort", at.display());
    let output = std::process::Command::new("unshare").args(["-m", "sh", "-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        shown.split_whitespace().collect::<Vec<_>>(),
        ["./into/up", "./kept", "./made-then-hidden/up", "./opaque/new", "./remade/new"]
    );
}
