//! `freehold upgrade`: the program is replaced under a running app, which does not notice; a version that
//! does not work is not kept.

use crate::world::{FREEHOLD, World};
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

const MANIFEST: &str = r#"
schema = 1
app = "steady"

[process.web]
image = "steady:1"
count = 2
memory = "32MiB"
check = { http = "/", port = 8080, every = "200ms" }

[[endpoint]]
process = "web"
listen = 8000
target = 8080
"#;

fn runs(world: &World) -> Vec<(serde_json::Value, serde_json::Value, serde_json::Value)> {
    let instances = world.instances("steady");
    instances.iter().map(|it| (it["id"].clone(), it["started"].clone(), it["restarts"].clone())).collect()
}

#[test]
fn an_upgrade_in_place_keeps_instances_running() {
    let Some(mut world) = World::new() else { return };
    let program = world.path("bin/freehold");
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    fs::copy(FREEHOLD, &program).unwrap();
    world.up_from(&program);
    world.push_busybox("steady:1");
    let file = world.write("freehold.toml", MANIFEST);
    world.freehold(&["deploy", "-f", &file]).ok();
    let before = runs(&world);
    let data = world.data().to_str().unwrap().to_owned();
    let up = |world: &World| -> serde_json::Value {
        serde_json::from_slice(&fs::read(world.data().join("up.json")).unwrap()).unwrap()
    };
    let (first, old) = (up(&world), inode(&program));

    let upgraded = world.json(&["upgrade", FREEHOLD, "--data", &data]);
    assert_eq!(upgraded["program"], program.to_str().unwrap());
    assert_ne!(inode(&program), old, "the file was not replaced");
    let second = up(&world);
    assert_eq!(second["pid"], first["pid"], "a service manager would have lost it");
    assert_ne!(second["since"], first["since"], "it was not started anew");
    assert_eq!(runs(&world), before, "instances were touched");
    assert_eq!(world.get("http://127.0.0.1:8000/"), "hello\n");

    // One that says what it is and then does not start.
    let broken = format!(
        "#!/bin/sh\n[ \"$1\" = upgrade ] && exec {FREEHOLD} \"$@\"\necho it will not start >&2\nexec sleep 60\n"
    );
    let broken = script(&world, "broken", &broken);
    world
        .freehold(&["upgrade", &broken, "--data", &data, "--patience", "3"])
        .exits(1)
        .says("The version before");
    // It hangs where signals do not reach it; whoever keeps the service starts it again.
    world.kill();
    world.up_from(&program);
    assert_eq!(runs(&world), before);

    for (wrong, says) in [("/bin/true", "does not say its version"), ("/no/such", "No such file")] {
        world.freehold(&["upgrade", wrong, "--data", &data]).exits(2).says(says);
    }
    let older =
        script(&world, "old", "#!/bin/sh\necho '{\"freehold\":{\"format\":0,\"version\":\"0.0.9\"}}'\n");
    world.freehold(&["upgrade", &older, "--data", &data]).exits(5).says("reads formats up to 0");
    world.freehold(&["upgrade", FREEHOLD, "--data", "/tmp"]).exits(4).says("no Freehold runs over");
    assert_eq!(runs(&world), before);
}

fn inode(path: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap())
}

fn script(world: &World, name: &str, text: &str) -> String {
    let path = world.write(name, text);
    fs::set_permissions(Path::new(&path), fs::Permissions::from_mode(0o755)).unwrap();
    path
}
