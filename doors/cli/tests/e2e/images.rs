//! Images come and go: garbage collection spares what releases need, and a rollback says what is gone.

use crate::world::World;
use std::{fs, path::Path};

fn manifest(image: &str) -> String {
    format!(
        r#"
schema = 1
app = "shop"

[process.web]
image = "{image}"
memory = "32MiB"
stop_timeout = "100ms"

[[endpoint]]
process = "web"
listen = 8000
target = 8080
"#
    )
}

fn blobs(world: &World) -> usize {
    fs::read_dir(world.data().join("images/blobs/sha256")).unwrap().count()
}

/// Changes the page that the next image serves.
fn push_with_page(world: &World, name: &str, page: &str) {
    world.push_busybox(name);
    world.write("busybox/www/index.html", page);
    let folder = world.path("busybox");
    world.freehold(&["image", "build", folder.to_str().unwrap(), "-t", name]).ok();
}

#[test]
fn garbage_collection_frees_room_and_spares_what_can_be_rolled_back_to() {
    let Some(world) = World::start() else { return };
    for (image, page) in [("shop:1", "one\n"), ("shop:2", "two\n")] {
        push_with_page(&world, image, page);
        let file = world.write("freehold.toml", &manifest(image));
        world.freehold(&["deploy", "-f", &file]).ok();
    }
    push_with_page(&world, "unused:1", "unused\n");
    for image in ["shop:1", "shop:2", "unused:1"] {
        world.freehold(&["image", "rm", image]).ok();
    }

    let before = blobs(&world);
    world.freehold(&["image", "gc"]).ok().says("Nothing to remove");
    assert_eq!(blobs(&world), before, "all of it came within the hour");
    let planned = world.json(&["image", "gc", "--dry-run", "--grace", "0s"]);
    assert_eq!((blobs(&world), planned["dry_run"].as_bool()), (before, Some(true)));
    world.freehold(&["image", "gc", "--grace", "0s"]).ok().says("freed.");
    assert!(blobs(&world) < before);

    // Neither image has a name any more; both releases can run.
    world.freehold(&["rollback", "-a", "shop", "-y"]).ok();
    assert_eq!(world.get("http://127.0.0.1:8000/"), "one\n");

    // As if the image of v2 had gone after many releases.
    let releases = world.json(&["releases", "-a", "shop"]);
    let second = releases.as_array().unwrap().iter().find(|release| release["spec"]["number"] == 2).unwrap();
    let digest = second["spec"]["templates"]["web"]["image"]["digest"].as_str().unwrap();
    let hex = digest.strip_prefix("sha256:").unwrap();
    fs::remove_file(world.data().join("images/blobs/sha256").join(Path::new(hex))).unwrap();
    let refused = world.freehold(&["rollback", "-a", "shop", "--to", "2", "-y"]);
    refused.exits(4).says("not there any more").says("20 newest releases");
    assert_eq!(world.get("http://127.0.0.1:8000/"), "one\n");
}
