//! Whatever an archive says, nothing outside its folder changes and nothing panics.

use super::*;
use proptest::{collection::vec, prelude::*, sample::select};
use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt};
use tar::{EntryType, Header};

/// One entry of a generated archive.
#[derive(Debug, Clone)]
struct Item {
    kind: EntryType,
    path: String,
    link: String,
    content: Vec<u8>,
}

fn path() -> impl Strategy<Value = String> {
    let part = select(vec![
        "a",
        "b",
        "out",
        "up",
        "secret",
        "dev",
        "..",
        ".",
        "",
        ".wh.a",
        ".wh.out",
        ".wh..wh..opq",
        ".wh...",
        "a\0b",
    ]);
    vec(part, 1..5).prop_map(|parts| parts.join("/"))
}

/// `OUTSIDE` stands for the folder that must stay as it is.
fn item() -> impl Strategy<Value = Item> {
    let kinds = vec![
        EntryType::Regular,
        EntryType::Regular,
        EntryType::Directory,
        EntryType::Symlink,
        EntryType::Symlink,
        EntryType::Link,
        EntryType::Fifo,
        EntryType::Char,
        EntryType::GNUSparse,
        EntryType::XHeader,
        EntryType::GNULongName,
        EntryType::GNULongLink,
        EntryType::XGlobalHeader,
    ];
    let link = prop_oneof![
        path(),
        select(vec![
            "OUTSIDE",
            "OUTSIDE/secret",
            "../../OUTSIDE",
            "../../../../../..OUTSIDE",
            "/proc/self/root",
            "/"
        ])
        .prop_map(str::to_owned),
    ];
    (select(kinds), path(), link, vec(any::<u8>(), 0..20)).prop_map(|(kind, path, link, content)| Item {
        kind,
        path,
        link,
        content,
    })
}

fn archive(items: &[Item], outside: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for item in items {
        let link = item.link.replace("OUTSIDE", outside.to_str().unwrap());
        let mut header = Header::new_gnu();
        header.set_entry_type(item.kind);
        header.set_mode(0o4755);
        header.set_size(item.content.len() as u64);
        header.set_mtime(1);
        header.set_uid(1);
        header.set_gid(1);
        let old = header.as_old_mut();
        old.name[..item.path.len()].copy_from_slice(item.path.as_bytes());
        let kept = link.len().min(100);
        old.linkname[..kept].copy_from_slice(&link.as_bytes()[..kept]);
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(&item.content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// Everything there is to know of a folder.
fn picture(dir: &Path) -> BTreeMap<String, (u32, u32, u64, i64, Vec<u8>)> {
    let look = |path: &Path| {
        let meta = fs::symlink_metadata(path).unwrap();
        let content = if meta.is_file() { fs::read(path).unwrap() } else { Vec::new() };
        (meta.mode(), meta.uid(), meta.nlink(), meta.mtime(), content)
    };
    let mut seen = BTreeMap::from([(".".to_owned(), look(dir))]);
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        seen.insert(path.display().to_string(), look(&path));
    }
    seen
}

/// Unpacks `bytes` beside a folder that must not change, and checks that it did not.
fn unpack_beside(outside: &Path, layers: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    let before = picture(outside);
    let blob = layers.join("blob");
    fs::write(&blob, bytes).unwrap();
    let target = layers.join("layer");
    let digest = Digest::of(bytes);
    let limits = Limits { bytes: 1 << 20, entries: 50 };
    let result = unpack(&blob, &digest, &digest, &target, &limits);
    assert_eq!(picture(outside), before);
    let mut names: Vec<_> = fs::read_dir(layers).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.retain(|name| name != "blob" && name != "layer");
    assert!(names.is_empty(), "{names:?}");
    assert_eq!(target.exists(), result.is_ok());
    result
}

fn places() -> (tempfile::TempDir, tempfile::TempDir) {
    let (outside, layers) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(outside.path().join("secret"), "secret").unwrap();
    fs::create_dir(outside.path().join("a")).unwrap();
    (outside, layers)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nasty_archives_stay_inside(items in vec(item(), 1..12)) {
        let (outside, layers) = places();
        let _ = unpack_beside(outside.path(), layers.path(), &archive(&items, outside.path()));
    }

    #[test]
    fn damaged_archives_stay_inside(
        items in vec(item(), 1..6),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
        keep in any::<prop::sample::Index>(),
    ) {
        let (outside, layers) = places();
        let mut bytes = archive(&items, outside.path());
        for (index, byte) in damage {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(keep.index(bytes.len() + 1));
        let _ = unpack_beside(outside.path(), layers.path(), &bytes);
    }

    #[test]
    fn noise_is_refused_or_empty(bytes in vec(any::<u8>(), 0..2000)) {
        let (outside, layers) = places();
        let _ = unpack_beside(outside.path(), layers.path(), &bytes);
    }
}
