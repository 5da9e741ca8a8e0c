//! Volumes in instances, of both drivers: what is written stays, what the image has there comes first,
//! and nothing gets out.

use crate::world::{World, end, logged, world};
use freehold_runtime::{Launch, RunState, Runtime as _, volume::VolumeMount};
use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::PathBuf,
};

fn volume(world: &World, name: &str) -> PathBuf {
    let dir = world.dir.path().join("volumes").join(name);
    fs::create_dir_all(dir.join("data")).unwrap();
    dir
}

fn with(launch: Launch, dir: &std::path::Path, path: &str) -> Launch {
    Launch { volumes: vec![VolumeMount { dir: dir.to_owned(), path: path.into() }], ..launch }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_to_a_volume_is_there_for_the_next_instance() {
    let world = world!();
    let dir = volume(&world, "a");
    let script = "cat /data/deep/note 2>/dev/null; echo written > /data/deep/note";
    for driver in [World::launch, World::process] {
        freehold_tree::remove(&dir).unwrap();
        fs::create_dir_all(dir.join("data")).unwrap();
        assert_eq!(world.output_of(&with(driver(&world, script), &dir, "/data/deep")).await, "");
        assert_eq!(world.output_of(&with(driver(&world, script), &dir, "/data/deep")).await, "written");
        assert_eq!(fs::read_to_string(dir.join("data/note")).unwrap(), "written\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_carries_no_devices_and_no_set_user_programs() {
    let world = world!();
    let dir = volume(&world, "a");
    let options =
        world.output_of(&with(world.launch("grep ' /data ' /proc/self/mounts"), &dir, "/data")).await;
    assert!(options.contains("nosuid") && options.contains("nodev"), "{options}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_content_is_the_images_and_an_empty_one_is_its_users() {
    let world = world!();
    fs::create_dir_all(world.layer().join("srv/data/sub")).unwrap();
    fs::write(world.layer().join("srv/data/sub/seed"), "from the image\n").unwrap();
    let seeded = volume(&world, "seeded");
    // What a start that was cut short left goes: its own note says that it was one.
    fs::write(seeded.join("data/half"), "x").unwrap();
    fs::write(seeded.join("initialising"), "").unwrap();
    let script = "ls /srv/data; cat /srv/data/sub/seed; echo mine > /srv/data/sub/seed";
    let launch = with(world.launch(script), &seeded, "/srv/data");
    assert_eq!(world.output_of(&launch).await, "sub\nfrom the image");
    let again = with(world.launch("cat /srv/data/sub/seed"), &seeded, "/srv/data");
    assert_eq!(world.output_of(&again).await, "mine", "only the first time");

    // What somebody put there stays.
    let own = volume(&world, "own");
    fs::write(own.join("data/own"), "x").unwrap();
    assert_eq!(world.output_of(&with(world.launch("ls /srv/data"), &own, "/srv/data")).await, "own");

    let empty = volume(&world, "empty");
    let user = Launch { user: Some("1000:1001".into()), ..world.launch("touch /data/mine && echo done") };
    assert_eq!(world.output_of(&with(user, &empty, "/data")).await, "done");
    let owner = fs::metadata(empty.join("data/mine")).unwrap();
    assert_eq!((owner.uid(), owner.gid()), (1000, 1001));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_without_a_name_count_for_who_holds_them() {
    let world = world!();
    let script = "head -c 3145728 /dev/zero > /big; exec 3< /big; rm /big; head -c 3145728 /dev/zero > /dev/shm/memory; \
                  exec 4< /dev/shm/memory; rm /dev/shm/memory; echo held; exec sleep 100";
    let launch = world.launch(script);
    let handle = world.runtime.start(&launch).await.unwrap();
    logged(&launch, "held").await;
    let held = handle.unlinked();
    assert!((3 << 20..4 << 20).contains(&held), "{held}");
    end(&world.runtime, &handle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_cannot_lead_a_volume_out_of_its_root() {
    let world = world!();
    let outside = world.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, world.layer().join("data")).unwrap();
    let dir = volume(&world, "a");
    let launch = with(world.launch("true"), &dir, "/data/sub");
    let (state, _) = world.run(&launch).await;
    assert!(
        matches!(&state, RunState::StartFailed { message } if message.contains("/data/sub")),
        "{state:?}"
    );
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "something was made outside");
    // A link that leads somewhere within the image is followed there.
    fs::create_dir_all(world.layer().join("srv")).unwrap();
    symlink("/../../srv", world.layer().join("link")).unwrap();
    let launch = with(world.launch("echo inside > /srv/sub/note"), &dir, "/link/sub");
    world.output_of(&launch).await;
    assert_eq!(fs::read_to_string(dir.join("data/note")).unwrap(), "inside\n");
}
