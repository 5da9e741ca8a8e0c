//! A disk that is full: the message is right, nothing half is visible, and once there is room the same
//! thing works. The disk is a small tmpfs, so these need root.

use crate::support::{
    Layer, MANIFEST, Tar, ask, body_of, home, image_of, is_root, listen, put_image, request,
};
use axum::{
    body::Body,
    http::{Method, Response},
};
use freehold_image::{Collect, ImageStore};
use freehold_model::{Code, Digest, Problem};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// A file system of a certain size, gone with the test.
struct Disk(tempfile::TempDir);

impl Disk {
    fn of(size: &str) -> Option<Disk> {
        if !is_root() {
            return None;
        }
        let at = tempfile::tempdir().unwrap();
        let options = format!("size={size},mode=0700");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at.path()).status();
        assert!(mount.unwrap().success());
        Some(Disk(at))
    }

    fn images(&self) -> PathBuf {
        self.0.path().join("images")
    }

    fn store(&self) -> ImageStore {
        ImageStore::open(&self.images()).unwrap()
    }

    /// Fills the disk up to the last `left` bytes; remove the file to make room.
    fn fill(&self, left: u64) -> PathBuf {
        let path = self.0.path().join("ballast");
        let disk = rustix::fs::statvfs(self.0.path()).unwrap();
        let free = (disk.f_bavail * disk.f_frsize).saturating_sub(left);
        fs::write(&path, vec![1; usize::try_from(free).unwrap()]).unwrap();
        path
    }

    fn count(&self, folder: &str) -> usize {
        fs::read_dir(self.images().join(folder)).map_or(0, Iterator::count)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l"]).arg(self.0.path()).status();
    }
}

/// Bytes that no file system makes small.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let step = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    std::iter::repeat_with(step).take(length).collect()
}

async fn upload(store: &ImageStore, bytes: &[u8]) -> Response<Body> {
    let path = format!("/v2/app/blobs/uploads/?digest={}", Digest::of(bytes));
    ask(store, request(Method::POST, &path, bytes.to_vec())).await
}

async fn said(response: Response<Body>) -> (u16, String) {
    let status = response.status().as_u16();
    let body: Value = serde_json::from_slice(&body_of(response).await).unwrap();
    (status, body["errors"][0]["message"].as_str().unwrap().to_owned())
}

fn assert_says_full(problem: &Problem) {
    assert_eq!(problem.code, Code::Unavailable, "{problem:?}");
    assert!(problem.title.contains("disk that holds the images is full"), "{problem:?}");
    assert!(problem.hint.as_deref().unwrap().contains("freehold image gc"), "{problem:?}");
}

#[tokio::test]
async fn a_push_without_room_says_so_and_works_once_there_is_some() {
    let Some(disk) = Disk::of("8m") else { return };
    let store = disk.store();
    let blob = noise(3 << 20);
    let ballast = disk.fill(1 << 20);
    let (status, message) = said(upload(&store, &blob).await).await;
    assert_eq!(status, 507);
    assert!(message.contains("disk is full"), "{message}");
    assert_eq!((disk.count("blobs/sha256"), disk.count("uploads")), (0, 0), "nothing half is left");
    let path = format!("/v2/app/blobs/{}", Digest::of(&blob));
    assert_eq!(ask(&store, request(Method::HEAD, &path, Body::empty())).await.status(), 404);

    fs::remove_file(ballast).unwrap();
    assert_eq!(upload(&store, &blob).await.status(), 201);
    assert_eq!(
        Digest::of(&body_of(ask(&store, request(Method::GET, &path, Body::empty())).await).await),
        Digest::of(&blob)
    );
}

#[tokio::test]
async fn a_tag_without_room_is_not_set_and_the_one_before_stays() {
    let Some(disk) = Disk::of("8m") else { return };
    let store = disk.store();
    let before = put_image(&store, &[]).await;
    let (_, manifest) = image_of(&store, &[], json!({"Cmd": ["new"]})).await;
    let ballast = disk.fill(0);
    let put = || {
        let mut put = request(Method::PUT, "/v2/app/manifests/1", manifest.to_string());
        put.headers_mut().insert("content-type", MANIFEST.parse().unwrap());
        ask(&store, put)
    };
    let (status, message) = said(put().await).await;
    assert_eq!((status, message.contains("disk is full")), (507, true), "{message}");
    assert_eq!(store.resolve("app:1").await.unwrap(), before);
    assert_eq!(disk.count("uploads"), 0);
    // What is here is served and removed all the same: that is the way out.
    store.remove("app:1").unwrap();

    fs::remove_file(ballast).unwrap();
    assert_eq!(put().await.status(), 201);
    assert_ne!(store.resolve("app:1").await.unwrap(), before);
}

#[tokio::test]
async fn unpacking_without_room_leaves_nothing_and_works_once_there_is_some() {
    let Some(disk) = Disk::of("16m") else { return };
    let store = disk.store();
    // Two files of one content: compressed well, unpacked large.
    let part = noise(1 << 20);
    let tar = (0..4).fold(Tar::default(), |tar, number| tar.file(&number.to_string(), &part));
    let image = put_image(&store, &[Layer::zstd(&tar.end())]).await;
    for left in [2 << 20, 3 << 20] {
        let ballast = disk.fill(left);
        let error = store.prepare(&image).await.unwrap_err();
        assert_says_full(&error.problem());
        assert_eq!(disk.count("layers"), 0);
        fs::remove_file(ballast).unwrap();
    }
    let layers = store.prepare(&image).await.unwrap().layers;
    assert_eq!(fs::read(layers[0].join("3")).unwrap(), part);
}

#[tokio::test]
async fn a_pull_without_room_leaves_nothing_and_works_once_there_is_some() {
    let Some(disk) = Disk::of("8m") else { return };
    let far = home();
    put_image(&far.store, &[Layer::plain(Tar::default().file("noise", &noise(3 << 20)).end())]).await;
    let reference = format!("{}/app:1", listen(&far.store).await);
    let store = disk.store();
    let ballast = disk.fill(1 << 20);
    assert_says_full(&store.pull(&reference, false).await.unwrap_err().problem());
    assert_eq!(disk.count("uploads"), 0);
    assert!(store.list().unwrap().is_empty(), "no image is here by half");
    fs::remove_file(ballast).unwrap();
    assert_eq!(store.pull(&reference, false).await.unwrap().reference, reference);
}

#[tokio::test]
async fn a_collection_makes_room_on_a_full_disk() {
    let Some(disk) = Disk::of("8m") else { return };
    let store = disk.store();
    assert_eq!(upload(&store, &noise(2 << 20)).await.status(), 201);
    disk.fill(0);
    let how = Collect { roots: BTreeSet::new(), grace: Duration::ZERO, dry_run: false };
    let done = store.collect(store.begin_collection(), &how).unwrap();
    assert_eq!(done.freed.0, 2 << 20);
    assert_eq!(upload(&store, &noise(1 << 20)).await.status(), 201);
}

/// The header and the map of a sparse file of `size` bytes that holds nothing, as GNU tar writes it.
fn hole(path: &str, size: u64) -> Tar {
    Tar::default().with(tar::EntryType::GNUSparse, path, "", b"", |header| {
        let gnu = header.as_gnu_mut().unwrap();
        gnu.sparse[0].set_offset(size);
        gnu.sparse[0].set_length(0);
        gnu.set_real_size(size);
    })
}

#[tokio::test]
async fn a_layer_of_five_sparse_gigabytes_takes_no_room() {
    let Some(disk) = Disk::of("16m") else { return };
    let store = disk.store();
    let image = put_image(&store, &[Layer::gzip(&hole("hole", 5 << 30).end())]).await;
    let layers = store.prepare(&image).await.unwrap().layers;
    assert_eq!(fs::metadata(layers[0].join("hole")).unwrap().len(), 5 << 30);
    assert!(used(&layers[0]) < 1 << 20);
}

#[tokio::test]
async fn a_bomb_of_zeros_takes_no_room() {
    let Some(disk) = Disk::of("16m") else { return };
    let store = disk.store();
    let tar = Tar::default().file("zeros", &vec![0; 64 << 20]).end();
    let layer = Layer::gzip(&tar);
    assert!(layer.blob.len() < 1 << 20);
    let image = put_image(&store, &[layer]).await;
    let layers = store.prepare(&image).await.unwrap().layers;
    assert_eq!(fs::metadata(layers[0].join("zeros")).unwrap().len(), 64 << 20);
    assert!(used(&layers[0]) < 1 << 20);
}

#[tokio::test]
async fn a_bomb_of_bytes_stops_before_the_disk_is_full() {
    let Some(disk) = Disk::of("16m") else { return };
    let store = disk.store();
    let image =
        put_image(&store, &[Layer::gzip(&Tar::default().file("ones", &vec![1; 64 << 20]).end())]).await;
    let error = store.prepare(&image).await.unwrap_err();
    assert_says_full(&error.problem());
    assert!(error.problem().detail.unwrap().contains("more than is free"));
    assert_eq!(disk.count("layers"), 0);
}

fn used(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().blocks() * 512).sum()
}
