//! Every format of the data directory that was ever released is still read: `tests/fixtures/data-N.tar.gz`
//! was written by a Freehold of format N and never changes. In each, the app `old` was deployed twice
//! (v1, v2) and rolled back to v1, with no instances.

use crate::world::{World, workspace};
use serde_json::Value;
use std::{fs, process::Command};

#[test]
fn data_of_every_released_format_is_brought_up_to_date() {
    let fixtures = workspace().join("doors/cli/tests/fixtures");
    let names =
        fs::read_dir(&fixtures).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut formats: Vec<u32> =
        names.filter_map(|name| name.strip_prefix("data-")?.strip_suffix(".tar.gz")?.parse().ok()).collect();
    formats.sort_unstable();
    for format in &formats {
        let Some(mut world) = World::new() else { return };
        let archive = fixtures.join(format!("data-{format}.tar.gz"));
        let unpacked = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(world.path("")).status();
        assert!(unpacked.unwrap().success());
        world.up(&[]);
        everything_is_there(&world);
        let now = fs::read(world.data().join("format.json")).unwrap();
        let now: Value = serde_json::from_slice(&now).unwrap();
        assert_eq!(now["format"], *formats.last().unwrap(), "the newest format has no fixture yet");
    }
}

fn everything_is_there(world: &World) {
    let status = world.json(&["status", "-a", "old"]);
    assert_eq!(status[0]["release"], 1, "{status}");
    assert_eq!(status[0]["endpoints"][0]["name"], "tcp/8000");
    world.freehold(&["releases", "-a", "old"]).ok().says("v2");
    let receipts = world.json(&["receipt", "list", "-a", "old"]);
    let verdicts: Vec<&Value> =
        receipts.as_array().unwrap().iter().map(|receipt| &receipt["status"]["verdict"]).collect();
    assert_eq!(verdicts, ["succeeded"; 3], "{receipts}");
    world.freehold(&["image", "list"]).ok().says("old:1");
    world.freehold(&["events", "--last", "500"]).ok().says("rollout.succeeded");
    // What was written then is not only read, but worked with.
    world.freehold(&["rollback", "-a", "old", "--to", "2"]).ok();
    world.freehold(&["app", "delete", "old", "--yes"]).ok();
}
