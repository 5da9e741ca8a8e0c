//! Sizes that the file system enforces: a node whose data is on a real btrfs, on a loop device.

use crate::world::{World, wait_for};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A file system of its own at the data directory of a machine.
struct Disk {
    place: PathBuf,
}

impl Disk {
    /// `None`, said aloud, where there is no such file system.
    fn btrfs(place: &Path) -> Option<Disk> {
        fs::create_dir_all(place).unwrap();
        let image = place.with_extension("img");
        fs::File::create(&image).unwrap().set_len(1 << 30).unwrap();
        let made = Command::new("mkfs.btrfs").arg("-q").arg(&image).output();
        let mount =
            || Command::new("mount").args(["-o", "loop"]).args([image.as_path(), place]).output().unwrap();
        if !made.is_ok_and(|made| made.status.success()) || !mount().status.success() {
            eprintln!("SKIPPED: no btrfs can be made (Debian: btrfs-progs) or mounted here");
            return None;
        }
        Some(Disk { place: place.to_owned() })
    }

    /// One with very little room.
    fn small(place: &Path) -> Disk {
        fs::create_dir_all(place).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=200m,mode=700", "none"]).arg(place);
        assert!(mount.status().unwrap().success());
        Disk { place: place.to_owned() }
    }

    fn run(&self, words: &[&str]) -> String {
        let output = Command::new("btrfs").args(words).arg(&self.place).output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.place).status();
        #[expect(clippy::disallowed_methods, reason = "files of the test's own making")]
        let _ = self.place.parent().map(fs::remove_dir_all);
    }
}

/// The machine goes before its disk.
struct Machine {
    world: World,
    disk: Disk,
}

impl Machine {
    fn start() -> Option<Machine> {
        let world = World::new()?;
        let disk = Disk::btrfs(&world.data())?;
        let mut machine = Machine { world, disk };
        machine.world.up(&[]);
        machine.world.push_busybox_with("btrfs", "store:1");
        Some(machine)
    }

    fn deploy(&self, size: &str) {
        let text = format!(
            "schema = 1\napp = \"shop\"\n[process.store]\nimage = \"store:1\"\ndisk = \"20MiB\"\n\
             command = [\"/bin/sleep\", \"10000\"]\nstop_timeout = \"100ms\"\n\
             [[volume]]\nname = \"data\"\nprocess = \"store\"\npath = \"/data\"\nsize = \"{size}\"\n"
        );
        let file = self.world.write("freehold.toml", &text);
        self.world.freehold(&["deploy", "-f", &file]).ok();
    }

    fn inside(&self, script: &str) -> crate::world::Ended {
        self.world.freehold(&["exec", "-a", "shop", "--", "sh", "-c", script])
    }

    /// Waits until the volume's description has `text`.
    fn described(&self, text: &str) {
        let describe = || self.world.freehold(&["volume", "describe", "shop/prod/data"]).ok().out;
        wait_for(text, describe, |said| said.contains(text));
    }
}

fn write(mib: u32, file: &str) -> String {
    format!("busybox dd if=/dev/urandom of={file} bs=1M count={mib}")
}

#[test]
fn on_btrfs_sizes_are_enforced_once_quotas_are_on() {
    let Some(machine) = Machine::start() else { return };
    let (world, disk) = (&machine.world, &machine.disk);
    machine.deploy("16MiB");
    machine.described("quotas are off on this btrfs; where they are wanted: `btrfs quota enable MOUNTPOINT`");
    world.freehold(&["volume", "list"]).ok().says("16MiB watched");

    disk.run(&["quota", "enable"]);
    machine.described("keeping: enforced");
    world.freehold(&["volume", "list"]).ok().says("16MiB enforced");
    let full = "Disk quota exceeded";
    assert_ne!(machine.inside(&write(30, "/data/big")).says(full).code, 0);

    // What is in a subvolume of its own would count to no limit.
    machine.inside("btrfs subvolume create /data/more").says("Operation not permitted");

    // A snapshot and a restore take no copy, and what was restored is kept to its size, too.
    machine.inside("rm /data/big; echo one > /data/note").ok();
    world.freehold(&["volume", "snapshot", "shop/prod/data", "a"]).ok();
    machine.inside("echo two > /data/note").ok();
    world.freehold(&["volume", "restore", "shop/prod/data", "a", "--yes"]).ok();
    let read = || machine.inside("cat /data/note").out;
    wait_for("what was restored", read, |said| said == "one\n");
    machine.inside(&write(30, "/data/big")).says(full);
    let subvolumes = disk.run(&["subvolume", "list"]);
    assert!(subvolumes.contains("snapshots/a/data"), "it was copied: {subvolumes}");

    // Another size is another limit, without a restart.
    let before = world.instances("shop")[0]["id"].clone();
    machine.inside("rm /data/big").ok();
    machine.deploy("64MiB");
    wait_for("the new limit", || machine.inside(&write(30, "/data/big")), |it| it.code == 0);
    assert_eq!(world.instances("shop")[0]["id"], before);

    // The same outside of the volume, for an instance that was started with quotas on.
    world.freehold(&["deploy", "-f", "freehold.toml", "--restart"]).ok();
    machine.inside(&write(30, "/junk")).says(full);
    let id = world.instances("shop")[0]["id"].as_str().unwrap().to_owned();
    world.freehold(&["describe", &id]).ok().says("keeping: enforced").says("limit: 20MiB");
    assert_eq!(world.instances("shop")[0]["restarts"], 0);

    world.freehold(&["app", "delete", "shop", "-y"]).ok();
    world.freehold(&["volume", "delete", "shop/prod/data", "--yes"]).ok();
    wait_for("everything to go", || disk.run(&["subvolume", "list"]), String::is_empty);
}

#[test]
fn a_disk_with_too_little_room_is_said_before_it_is_full() {
    let Some(world) = World::new() else { return };
    let disk = Disk::small(&world.data());
    let mut machine = Machine { world, disk };
    machine.world.up(&[]);
    let world = &machine.world;
    let low = "free where the data is, and 512MiB should be";
    world.freehold(&["doctor"]).ok().says(low).says("writes fail when nothing is left");
    let status = || world.freehold(&["status"]).ok().err;
    wait_for("the word of the node", status, |said| said.contains(low));
    world.freehold(&["events"]).ok().says("node.low_disk");
    assert!(world.json(&["status"]).is_array(), "JSON alone on standard output");
}

/// Makes folders nested so deep that whatever recurses into them overflows its stack.
const NEST: &str =
    "for my $top ('/', '/data') { chdir $top; for (1..20000) { mkdir 'd'; chdir 'd' or die } }";

#[test]
fn folders_nested_without_end_hurt_nobody_and_go_like_all_others() {
    let Some(world) = World::new() else { return };
    let disk = Disk::small(&world.data());
    let mut machine = Machine { world, disk };
    machine.world.up(&[]);
    machine.world.push_busybox_with("perl", "store:1");
    machine.deploy("100MiB");
    let nest = |machine: &Machine| {
        let id = machine.world.instances("shop")[0]["id"].as_str().unwrap().to_owned();
        machine.world.freehold(&["exec", "-a", "shop", "--", "perl", "-e", NEST]).ok();
        id
    };

    // They are counted, copied, and removed with the release that wrote them.
    let first = nest(&machine);
    machine.world.freehold(&["volume", "snapshot", "shop/prod/data", "deep"]).ok();
    machine.world.freehold(&["volume", "restore", "shop/prod/data", "deep", "--yes"]).ok();
    machine.world.freehold(&["deploy", "-f", "freehold.toml", "--restart"]).ok();
    let instances = machine.world.data().join("instances");
    wait_for("the layer to go", || instances.join(&first).exists(), |there| !there);

    // An instance that ended while nobody looked leaves them to the next start.
    let second = nest(&machine);
    let pid = machine.world.pid_of("shop", "store");
    machine.world.kill();
    machine.world.sh(&format!("kill -9 {pid}")).ok();
    machine.world.up(&[]);
    let run = || machine.world.instances("shop").first().cloned().unwrap_or_default();
    let again =
        |it: &serde_json::Value| it["id"] == second.as_str() && it["restarts"] != 0 && it["healthy"] == true;
    wait_for("it to run again", run, again);
    let deepest = machine.inside("ls /").ok();
    assert!(!deepest.out.lines().any(|name| name == "d"), "it began empty: {deepest:#?}");

    machine.world.freehold(&["app", "delete", "shop", "-y"]).ok();
    machine.world.freehold(&["volume", "delete", "shop/prod/data", "--yes"]).ok();
    let volumes = machine.world.data().join("volumes");
    let left = || {
        [&instances, &volumes]
            .map(|dir| fs::read_dir(dir).unwrap().flatten().filter(|it| it.path().is_dir()).count())
    };
    wait_for("everything to go", left, |left| *left == [0, 0]);
}
