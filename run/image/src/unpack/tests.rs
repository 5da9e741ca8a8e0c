//! Whatever an archive says, nothing outside its folder changes and nothing panics.

use super::*;
use proptest::{collection::vec, prelude::*, sample::select};
use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt, path::PathBuf};
use tar::{EntryType, Header};

/// One entry of a generated archive.
#[derive(Debug, Clone)]
struct Item {
    kind: EntryType,
    path: String,
    link: String,
    content: Vec<u8>,
}

/// Mostly harmless names from a small set, so that entries meet each other; now and then a bad one, which
/// ends the archive.
fn path() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        30 => select(vec!["a", "a", "out", "out", "out", "secret", "secret", "b"]),
        4 => select(vec![".", "", ".wh.a", ".wh.out", ".wh..wh..opq"]),
        1 => select(vec!["..", ".wh...", "a\0b"]),
    ];
    vec(part, 1..4).prop_map(|parts| parts.join("/"))
}

/// `OUTSIDE` stands for the folder that must stay as it is. No link leads to the machine's own files: should
/// the code under test ever break, this test must not take the machine with it.
fn item() -> impl Strategy<Value = Item> {
    let kinds = prop_oneof![
        30 => select(vec![EntryType::Regular, EntryType::Symlink]),
        10 => select(vec![EntryType::Directory, EntryType::Link, EntryType::Fifo]),
        1 => select(vec![
            EntryType::Char,
            EntryType::GNUSparse,
            EntryType::XHeader,
            EntryType::GNULongName,
            EntryType::GNULongLink,
            EntryType::XGlobalHeader,
        ]),
    ];
    let outside = select(vec!["OUTSIDE", "OUTSIDE", "OUTSIDE/secret", "OUTSIDE/a", "../../OUTSIDE"]);
    let inside = path().prop_map(|path| path.trim_start_matches('/').to_owned());
    let link = prop_oneof![inside, outside.prop_map(str::to_owned)];
    (kinds, path(), link, vec(any::<u8>(), 0..20)).prop_map(|(kind, path, link, content)| Item {
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

/// The folder that must stay as it is, and one for layers, so deep that no path here climbs out of `dir`.
fn places(dir: &tempfile::TempDir) -> (PathBuf, PathBuf) {
    let (outside, layers) = (dir.path().join("outside"), dir.path().join("1/2/3/4/5/6/7/8"));
    fs::create_dir_all(outside.join("a")).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    fs::create_dir_all(&layers).unwrap();
    (outside, layers)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nasty_archives_stay_inside(items in vec(item(), 1..12)) {
        let dir = tempfile::tempdir().unwrap();
        let (outside, layers) = places(&dir);
        let _ = unpack_beside(&outside, &layers, &archive(&items, &outside));
    }

    #[test]
    fn damaged_archives_stay_inside(
        items in vec(item(), 1..6),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
        keep in any::<prop::sample::Index>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (outside, layers) = places(&dir);
        let mut bytes = archive(&items, &outside);
        for (index, byte) in damage {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(keep.index(bytes.len() + 1));
        let _ = unpack_beside(&outside, &layers, &bytes);
    }

    #[test]
    fn noise_is_refused_or_empty(bytes in vec(any::<u8>(), 0..2000)) {
        let dir = tempfile::tempdir().unwrap();
        let (outside, layers) = places(&dir);
        let _ = unpack_beside(&outside, &layers, &bytes);
    }
}
