//! Layers in every dialect of tar, and odd ones, unpacked by `umoci` (Go's archive/tar, as podman, containerd
//! and docker have it) and by us: what it takes we take, with the same result, item by item. Where we differ
//! on purpose, the table says so.

use crate::support::{Home, Layer, MANIFEST, Tar, architecture, installed, is_root, put_image, quick_home};
use freehold_model::Digest;
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};
use tar::EntryType;

/// What is expected of a layer besides that both tools say the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expect {
    /// Both take it, with one result.
    Same,
    /// Both refuse it.
    Refused,
    /// We refuse what could do harm or cannot be run, though others may take it.
    OnlyWeRefuse,
    /// We take what GNU tar takes, too.
    OnlyWeTake,
}
use Expect::{OnlyWeRefuse, OnlyWeTake, Refused, Same};

/// An entry whose raw header `more` changes at will; `more` may leave out everything that a dialect lacks.
fn raw(tar: Tar, name: &[u8], kind: u8, content: &[u8], more: impl FnOnce(&mut [u8; 512])) -> Tar {
    tar.with(EntryType::new(kind), "", "", content, |header| {
        let bytes: &mut [u8; 512] = header.as_mut_bytes();
        bytes[..100].fill(0);
        bytes[..name.len()].copy_from_slice(name);
        // As it is: the tar crate writes the oldest kind as the usual one.
        bytes[156] = kind;
        more(bytes);
    })
}

/// Without a magic: the seventh edition of Unix.
fn v7(bytes: &mut [u8; 512]) {
    bytes[257..].fill(0);
}

fn ustar(prefix: &'static [u8]) -> impl FnOnce(&mut [u8; 512]) {
    move |bytes| {
        bytes[257..265].copy_from_slice(b"ustar\x0000");
        bytes[345..].fill(0);
        bytes[345..345 + prefix.len()].copy_from_slice(prefix);
    }
}

fn long(kind: EntryType, text: &str) -> Tar {
    Tar::default().entry(kind, "././@LongLink", "", &[text.as_bytes(), b"\0"].concat())
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn table() -> Vec<(&'static str, Expect, Vec<u8>)> {
    let new = Tar::default;
    let name = "n".repeat(150);
    let path = format!("{}/{name}", "d".repeat(120));
    let built = |tar: Tar| tar.end();
    vec![
        // Names.
        ("entry-root", Same, built(new().dir("/").file("app", b"hi"))),
        ("entry-dot", Same, built(new().dir("./").file("./app", b"hi"))),
        ("absolute-file", Same, built(new().dir("/layers").file("/layers/app", b"hi"))),
        ("absolute-link", Same, built(new().file("opt/a", b"hi").hard_link("opt/b", "/opt/a"))),
        ("absolute-symlink", Same, built(new().dir("run").symlink("var", "/run").file("var/pid", b"1"))),
        ("double-slashes", Same, built(new().file("//a//b", b"hi").hard_link(".//c", "//a//b"))),
        (
            "dots-inside",
            Same,
            built(new().file("a/b/../c", b"hi").file("a/./d", b"x").hard_link("e", "a/x/../c")),
        ),
        ("dots-at-the-root", Same, built(new().file("/../a", b"hi"))),
        ("dots-out", OnlyWeRefuse, built(new().file("a/../../b", b"x"))),
        ("trailing-slash", Same, built(new().dir("a//").file("a/f/", b"x"))),
        ("not-utf-8", Same, built(raw(new(), b"\xff\xfe", b'0', b"x", |_| {}))),
        // The seventh edition.
        ("v7", Same, built(raw(raw(new(), b"d/", 0, b"", v7), b"d/f", 0, b"hi", v7))),
        // POSIX.
        ("ustar-prefix", Same, built(raw(new(), b"name", b'0', b"hi", ustar(b"some/where")))),
        ("continuous", OnlyWeTake, built(new().entry(EntryType::Continuous, "c", "", b"hi"))),
        // GNU.
        (
            "gnu-long-name",
            Same,
            built(Tar::chain(long(EntryType::GNULongName, &path), new().file("x", b"hi"))),
        ),
        (
            "gnu-long-link",
            Same,
            built(Tar::chain(long(EntryType::GNULongLink, &path), new().symlink("x", "short"))),
        ),
        (
            "base-256",
            Same,
            built(new().with(EntryType::Regular, "f", "", b"hi", |header| {
                let bytes: &mut [u8; 512] = header.as_mut_bytes();
                bytes[108..116].copy_from_slice(&[0x80, 0, 0, 0, 0x3b, 0x9a, 0xc9, 0xff]);
                bytes[116..124].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 7]);
                bytes[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
                // A second before 1970.
                bytes[136..148].fill(0xff);
            })),
        ),
        (
            "padded-numbers",
            Same,
            built(new().with(EntryType::Regular, "f", "", b"hi", |header| {
                let bytes: &mut [u8; 512] = header.as_mut_bytes();
                bytes[100..108].copy_from_slice(b"   755 \0");
                bytes[108..116].copy_from_slice(b"       \0");
                bytes[116..124].fill(0);
            })),
        ),
        // pax.
        (
            "pax-all",
            Same,
            built(
                new()
                    .pax(&[
                        ("path", path.as_bytes()),
                        ("size", b"2"),
                        ("uid", b"70000"),
                        ("gid", b"70001"),
                        ("mtime", b"1000000000.123456789"),
                        ("SCHILY.xattr.user.one", b"1\x002"),
                        ("comment", b"none"),
                    ])
                    .file("short", b"hi")
                    .pax(&[("linkpath", path.as_bytes())])
                    .hard_link("h", "short"),
            ),
        ),
        (
            "pax-before-1970",
            Same,
            built(new().pax(&[("mtime", b"-1.5")]).file("f", b"").pax(&[("mtime", b"-3")]).file("g", b"")),
        ),
        (
            "pax-global",
            OnlyWeTake,
            built(
                new()
                    .entry(EntryType::XGlobalHeader, "pax_global_header", "", b"19 comment=nothing\n")
                    .file("f", b""),
            ),
        ),
        (
            "libarchive-xattr",
            Same,
            built(
                new()
                    .pax(&[("LIBARCHIVE.xattr.user.one", b"MQ"), ("SCHILY.xattr.user.one", b"1")])
                    .file("f", b""),
            ),
        ),
        // What replaces what.
        ("twice", Same, built(new().file("f", b"one").file("f", b"two"))),
        ("folder-to-file", Same, built(new().file("a/b/c", b"x").file("a", b"file"))),
        ("file-to-folder", Same, built(new().file("a", b"file").dir("a").file("a/b", b"x"))),
        ("symlink-to-folder", Same, built(new().dir("t").symlink("a", "t").dir("a").file("a/b", b"x"))),
        ("folder-to-symlink", Same, built(new().dir("t").file("a/b", b"x").symlink("a", "t"))),
        ("link-over-file", Same, built(new().file("a", b"a").file("b", b"b").hard_link("b", "a"))),
        ("link-first", Refused, built(new().hard_link("b", "a").file("a", b"a"))),
        // How it ends, and how it is packed.
        ("no-files", Same, built(new())),
        ("nothing-at-all", Same, Vec::new()),
        ("no-end", Same, new().file("f", b"hi").bare()),
        ("one-end", Same, [new().file("f", b"hi").bare(), vec![0; 512]].concat()),
        // Harm.
        (
            "device",
            OnlyWeRefuse,
            built(new().with(EntryType::Char, "null", "", b"", |h| h.set_device_major(1).unwrap())),
        ),
        ("fifo", Same, built(new().entry(EntryType::Fifo, "p", "", b""))),
    ]
}

/// Everything there is to see of a tree, by path.
fn seen(top: &Path) -> BTreeMap<PathBuf, String> {
    let mut items = BTreeMap::new();
    let mut inodes: BTreeMap<u64, PathBuf> = BTreeMap::new();
    let mut left = vec![top.to_owned()];
    while let Some(path) = left.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let kind = meta.file_type();
        let what = if kind.is_dir() {
            let mut inside: Vec<_> =
                fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
            inside.sort();
            left.extend(inside);
            "folder".to_owned()
        } else if kind.is_symlink() {
            format!("link to {}", fs::read_link(&path).unwrap().display())
        } else if kind.is_file() {
            format!("file {:?}", fs::read(&path).unwrap())
        } else {
            format!("fifo {} char {}", kind.is_fifo(), kind.is_char_device())
        };
        let below = path.strip_prefix(top).unwrap().to_owned();
        let first = if kind.is_file() {
            inodes.entry(meta.ino()).or_insert(below.clone()).clone()
        } else {
            below.clone()
        };
        let mut value = [0; 64];
        let length = rustix::fs::lgetxattr(&path, "user.one", &mut value[..]).unwrap_or(0);
        // A folder that no entry names has the time of its making.
        let time =
            if kind.is_dir() { String::new() } else { format!("{}.{:09}", meta.mtime(), meta.mtime_nsec()) };
        let mode = meta.mode() & 0o7777;
        let text = format!(
            "{what}; {mode:o} {}:{} at {time}; same as {}; user.one {:?}",
            meta.uid(),
            meta.gid(),
            first.display(),
            &value[..length]
        );
        if !below.as_os_str().is_empty() {
            items.insert(below, text);
        }
    }
    items
}

/// An OCI layout with an image for each layer, tagged by its name.
fn layout(dir: &Path, layers: &[(&str, Layer)]) {
    let blobs = dir.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        fs::write(blobs.join(digest.hex()), bytes).unwrap();
        digest
    };
    let mut manifests = Vec::new();
    for (name, layer) in layers {
        let config = json!({"os": "linux", "architecture": architecture(), "config": {}, "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]}}).to_string();
        let config_digest = put(config.as_bytes());
        let blob = put(&layer.blob);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": config.len()},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": blob, "size": layer.blob.len()}],
        })
        .to_string();
        manifests.push(json!({
            "mediaType": MANIFEST, "digest": put(manifest.as_bytes()), "size": manifest.len(),
            "annotations": {"org.opencontainers.image.ref.name": name},
        }));
    }
    fs::write(dir.join("index.json"), json!({"schemaVersion": 2, "manifests": manifests}).to_string())
        .unwrap();
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
}

async fn ours(home: &Home, layer: Layer) -> Result<PathBuf, String> {
    let image = put_image(&home.store, &[layer]).await;
    home.store.prepare(&image).await.map(|prepared| prepared.layers[0].clone()).map_err(|error| error.whole())
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_in_every_dialect_are_unpacked_as_umoci_unpacks_them() {
    if !installed("umoci") || !is_root() {
        return;
    }
    let home = quick_home();
    let tmp = home.dir.path().to_owned();
    let dir = tmp.join("layout");
    let layers: Vec<_> = table().into_iter().map(|(name, _, tar)| (name, Layer::gzip(&tar))).collect();
    layout(&dir, &layers);
    let mut wrong = String::new();
    for ((name, expect, _), (_, layer)) in table().into_iter().zip(layers) {
        let theirs = tmp.join("theirs").join(name);
        fs::create_dir_all(&theirs).unwrap();
        let image = format!("{}:{name}", dir.display());
        let mut umoci = std::process::Command::new("umoci");
        umoci.args(["raw", "unpack", "--image", &image]).arg(&theirs);
        let said = tokio::task::spawn_blocking(move || umoci.output().unwrap()).await.unwrap();
        let ours = ours(&home, layer).await;
        let (they_take, we_take) = (said.status.success(), ours.is_ok());
        let fits = match expect {
            Same => they_take && we_take && seen(&theirs) == seen(ours.as_ref().unwrap()),
            Refused => !they_take && !we_take,
            OnlyWeRefuse => !we_take,
            OnlyWeTake => !they_take && we_take,
        };
        if !fits {
            let theirs = if they_take {
                format!("{:#?}", seen(&theirs))
            } else {
                String::from_utf8_lossy(&said.stderr).into_owned()
            };
            let ours = ours.map_or_else(|error| error, |dir| format!("{:#?}", seen(&dir)));
            wrong.push_str(&format!("{name} ({expect:?})\n  umoci: {theirs}\n  ours: {ours}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[tokio::test]
async fn members_of_gzip_one_after_the_other_are_one_layer() {
    let home = quick_home();
    let tar = Tar::default().file("a", b"a").file("b", b"b").end();
    let (first, second) = tar.split_at(700);
    let blob = [Layer::gzip(first).blob, Layer::gzip(second).blob].concat();
    let layer = ours(&home, Layer { blob, diff_id: Digest::of(&tar) }).await.unwrap();
    assert_eq!(fs::read(layer.join("b")).unwrap(), b"b");
}

#[tokio::test]
async fn a_failure_names_the_layer_the_entry_and_the_reason_of_the_system() {
    if !is_root() {
        return;
    }
    let home = quick_home();
    let name = "n".repeat(256);
    let tar = Tar::default().pax(&[("path", name.as_bytes())]).file("x", b"");
    let layer = Layer::gzip(&tar.end());
    let digest = Digest::of(&layer.blob).to_string();
    let error = ours(&home, layer).await.unwrap_err();
    for part in [digest.as_str(), &name, "File name too long"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let value = vec![b'x'; 70_000];
    let tar = Tar::default().pax(&[("SCHILY.xattr.user.big", &value)]).file("x", b"");
    let error = ours(&home, Layer::gzip(&tar.end())).await.unwrap_err();
    for part in ["at `x`", "attribute `user.big` of 70000 bytes", "(os error"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}
