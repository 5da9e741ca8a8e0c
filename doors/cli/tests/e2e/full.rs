//! A machine whose disk is full: what runs goes on, what cannot be done is said, nothing is damaged, and
//! with room again everything works again.

use crate::world::World;
use std::{fs, path::PathBuf, process::Command};

/// A small disk in memory, which goes when this does.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf) -> SmallDisk {
        fs::create_dir_all(&at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=48m,mode=700", "small"]).arg(&at);
        assert!(mount.status().unwrap().success());
        SmallDisk(at)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
        // The world could not remove its directory while a disk was mounted there.
        #[expect(clippy::disallowed_methods, reason = "files of the test's own making")]
        let _ = fs::remove_dir_all(self.0.parent().unwrap());
    }
}

fn deploy(world: &World, greeting: &str) -> crate::world::Ended {
    let file = world.write(
        "freehold.toml",
        &format!(
            "schema = 1\napp = \"shop\"\n[process.web]\nimage = \"shop:1\"\nstop_timeout = \"1s\"\nenv = {{ GREETING = \"{greeting}\" }}\n\
             check = {{ http = \"/\", port = 8080 }}\n[[endpoint]]\nprocess = \"web\"\nlisten = 8000\ntarget = 8080\n"
        ),
    );
    world.freehold(&["deploy", "-f", &file])
}

#[test]
fn a_full_disk_stops_changes_and_nothing_else() {
    // Dropped after the world.
    let disk;
    let Some(mut world) = World::new() else { return };
    disk = SmallDisk::mount(world.data());
    world.up(&[]);
    world.push_busybox("shop:1");
    deploy(&world, "one").ok();

    let filler = disk.0.join("filler");
    world.sh(&format!("cat /dev/zero > {}", filler.display())).says("No space left");
    let folder = world.path("busybox");
    world.write("busybox/www/more.html", &"news ".repeat(100_000));
    let push = world.freehold(&["image", "build", folder.to_str().unwrap(), "-t", "shop:2"]);
    assert!(push.code != 0 && push.err.contains("full"), "{push:#?}");
    let refused = deploy(&world, "two");
    assert!(refused.code != 0 && refused.err.contains("full"), "{refused:#?}");
    assert_eq!(world.get("http://127.0.0.1:8000/"), "hello\n");
    world.freehold(&["status"]).ok().says("shop");
    // What can make room has some in reserve, also for its record.
    world.freehold(&["exec", "-a", "shop", "--", "true"]).ok();
    world.freehold(&["events", "--json"]).ok().says("instance.exec");

    // A restart needs no room: what runs is found again.
    world.kill();
    world.up(&[]);
    assert_eq!(world.get("http://127.0.0.1:8000/"), "hello\n");

    fs::remove_file(filler).unwrap();
    deploy(&world, "three").ok();
    world.freehold(&["image", "build", folder.to_str().unwrap(), "-t", "shop:2"]).ok();
    let env = world.freehold(&["exec", "-a", "shop", "--", "env"]).ok();
    assert!(env.out.contains("GREETING=three"), "{env:#?}");
    world.freehold(&["app", "delete", "shop", "-y"]).ok();
    assert_eq!(world.terminate(), Some(0));
}
