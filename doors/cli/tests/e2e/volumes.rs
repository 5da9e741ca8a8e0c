//! Data on a volume through everything that may happen to an app: redis from distribution packages, whose
//! keys survive redeploy, rollback, a broken release, `kill -9` of everything and the app's removal; and
//! snapshots, restores and clones, proved by what redis then says.

use crate::{
    traces::end_everything_under,
    world::{World, redis_layout, wait_for},
};

fn manifest(version: &str, more: &str) -> String {
    format!(
        r#"
schema = 1
app = "cache"

[process.store]
image = "redis:1"
memory = "128MiB"
env = {{ VERSION = "{version}" }}
stop_timeout = "5s"
check = {{ command = ["redis-cli", "ping"], every = "300ms", grace = "20s" }}
{more}

[[volume]]
name = "data"
process = "store"
path = "/data"
size = "64MiB"
"#
    )
}

/// What redis-cli says inside the instance of an env.
fn redis(world: &World, env: &str, words: &[&str]) -> String {
    let exec = ["exec", "-a", "cache", "-e", env, "-p", "store", "--", "redis-cli"];
    world.freehold(&[&exec, words].concat()).ok().out.trim().to_owned()
}

fn deploy(world: &World, env: &str, version: &str) {
    let file = world.write("freehold.toml", &manifest(version, ""));
    world.freehold(&["deploy", "-f", &file, "-e", env]).ok();
}

#[test]
fn a_volume_outlives_everything_but_its_own_deletion() {
    let Some(mut world) = World::start() else { return };
    world.skopeo_push(&redis_layout(), "1", "redis:1");
    let file = world.write("freehold.toml", &manifest("1", ""));
    world.freehold(&["plan", "-f", &file]).ok().says("volume cache/prod/data").says("to store at /data");
    deploy(&world, "prod", "1");
    assert_eq!(redis(&world, "prod", &["set", "key", "first"]), "OK");

    // Redeployed: the plan says that it stops first, and where it goes and why.
    let file = world.write("freehold.toml", &manifest("2", ""));
    let plan = world.freehold(&["plan", "-f", &file]).ok();
    plan.says("its volume has one writer").says("volume cache/prod/data is there");
    deploy(&world, "prod", "2");
    assert_eq!(redis(&world, "prod", &["get", "key"]), "first");

    // A broken release: the old one is stopped, and started again.
    let file = world.write("freehold.toml", &manifest("3", "command = [\"sh\", \"-c\", \"exit 3\"]"));
    world.freehold(&["deploy", "-f", &file]).exits(8).says("exited with code 3");
    assert_eq!(redis(&world, "prod", &["get", "key"]), "first");

    world.freehold(&["rollback", "-a", "cache", "--to", "v1"]).ok();
    assert_eq!(redis(&world, "prod", &["get", "key"]), "first");

    // kill -9 of the control plane, the shims and redis.
    assert_eq!(redis(&world, "prod", &["set", "key", "second"]), "OK");
    world.kill();
    end_everything_under(&world.data());
    world.up(&[]);
    let answer = || world.freehold(&["exec", "-a", "cache", "--", "redis-cli", "get", "key"]).out;
    wait_for("redis after the kill", answer, |said| said.trim() == "second");

    there_is_no_second_writer(&world);
    a_snapshot_is_restored_and_cloned(&world);

    // The app goes, the volume stays, and is there for the next app of that name.
    world.freehold(&["app", "delete", "cache", "-y"]).ok().says("is removed; kept: volumes cache/prod/data");
    wait_for("every trace but the volume to vanish", || world.traces(), |traces| traces.is_empty());
    world.freehold(&["volume", "list"]).ok().says("cache/prod/data");
    deploy(&world, "prod", "1");
    assert_eq!(redis(&world, "prod", &["get", "key"]), "second");

    // Only its own deletion removes it.
    world.freehold(&["app", "delete", "cache", "-y"]).ok();
    world.freehold(&["volume", "delete", "cache/prod/data"]).exits(2).says("--yes");
    for name in ["cache/prod/data", "cache/test/data"] {
        world.freehold(&["volume", "delete", name, "--yes"]).ok().says("is gone");
        world.freehold(&["volume", "describe", name]).exits(4);
    }
    let left: Vec<_> = std::fs::read_dir(world.data().join("volumes")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

fn there_is_no_second_writer(world: &World) {
    let file = world.write("freehold.toml", &manifest("1", "count = 2"));
    world.freehold(&["deploy", "-f", &file]).exits(2).says("one instance at most");
    world.freehold(&["volume", "delete", "cache/prod/data", "--yes"]).exits(5).says("is attached");
}

fn a_snapshot_is_restored_and_cloned(world: &World) {
    let volume = |args: &[&str]| world.freehold(&[&["volume"], args].concat());
    volume(&["snapshot", "cache/prod/data", "before"]).ok().says("taken");
    volume(&["snapshot", "cache/prod/data", "before"]).exits(5).says("already");
    assert_eq!(redis(world, "prod", &["set", "key", "third"]), "OK");

    volume(&["clone", "cache/prod/data", "cache/test/data"]).ok().says("ready");
    volume(&["restore", "cache/prod/data", "after", "--yes"]).exits(4).says("It has: before");
    volume(&["restore", "cache/prod/data", "before"]).exits(2).says("--yes");
    volume(&["restore", "cache/prod/data", "before", "--yes"]).ok().says("restored");
    let answer = || world.freehold(&["exec", "-a", "cache", "--", "redis-cli", "get", "key"]).out;
    wait_for("redis after the restore", answer, |said| said.trim() == "second");

    // The clone has what was there when it was made, and goes its own way.
    deploy(world, "test", "1");
    assert_eq!(redis(world, "test", &["get", "key"]), "third");
    assert_eq!(redis(world, "test", &["set", "key", "fourth"]), "OK");
    assert_eq!(redis(world, "prod", &["get", "key"]), "second");

    let snapshots = world.json(&["volume", "snapshots", "cache/prod/data"]);
    assert_eq!(snapshots.as_array().unwrap().len(), 1, "{snapshots:#}");
    volume(&["delete", "cache/prod/data", "--snapshot", "before", "--yes"]).ok().says("removed");
    assert_eq!(world.json(&["volume", "snapshots", "cache/prod/data"]), serde_json::json!([]));
}

#[test]
fn a_restore_leaves_those_alone_who_come_after() {
    let Some(mut world) = World::start() else { return };
    world.push_busybox("app:1");
    let text = "schema = 1\napp = \"notes\"\n[process.web]\nimage = \"app:1\"\nafter = [\"db\"]\n\
                command = [\"/bin/sleep\", \"1000\"]\n\
                [process.db]\nimage = \"app:1\"\nstop_timeout = \"1s\"\ncommand = [\"/bin/sleep\", \"1000\"]\n\
                [[volume]]\nname = \"data\"\nprocess = \"db\"\npath = \"/data\"\n";
    let file = world.write("freehold.toml", text);
    world.freehold(&["deploy", "-f", &file]).ok();
    let web = world.pid_of("notes", "web");
    let volume = |args: &[&str]| world.freehold(&[&["volume"], args].concat());
    let db = |line: &str| world.freehold(&["exec", "-a", "notes", "-p", "db", "--", "sh", "-c", line]);
    db("echo one > /data/note").ok();
    volume(&["cancel", "notes/prod/data"]).exits(5).says("nothing is under way");
    volume(&["snapshot", "notes/prod/data", "before"]).ok().says("taken");
    db("echo two > /data/note").ok();
    volume(&["restore", "notes/prod/data", "before", "--yes", "--wait-timeout", "30s"]).ok().says("restored");
    wait_for("the database", || db("cat /data/note").out, |said| said == "one\n");
    assert_eq!(world.pid_of("notes", "web"), web, "web was stopped");
    its_data_is_lost(&mut world);
}

/// The state comes back without the volumes: nothing starts on an empty one unless somebody says so.
fn its_data_is_lost(world: &mut World) {
    world.kill();
    end_everything_under(&world.data());
    std::fs::rename(world.data().join("volumes"), world.path("away")).unwrap();
    world.up(&[]);
    let list = || world.freehold(&["volume", "list"]).ok().out;
    wait_for("the loss", list, |said| said.contains("freehold volume recreate notes/prod/data"));
    world.freehold(&["events", "--json"]).ok().says("volume.lost");
    let db = |line: &str| world.freehold(&["exec", "-a", "notes", "-p", "db", "--", "sh", "-c", line]);
    assert!(db("true").code != 0, "it runs without its data");
    world.freehold(&["volume", "recreate", "notes/prod/data"]).exits(2).says("--yes");
    world.freehold(&["volume", "recreate", "notes/prod/data", "--yes"]).ok().says("is ready");
    wait_for("an empty start", || db("ls /data | wc -l").out, |said| said.trim() == "0");
}

#[test]
fn a_volume_that_holds_more_than_its_size_says_so() {
    let Some(world) = World::start() else { return };
    world.push_busybox("app:1");
    let text = manifest("1", "command = [\"/bin/sleep\", \"1000\"]")
        .replace("redis:1", "app:1")
        .replace("64MiB", "1MiB")
        .replace("check = ", "# ");
    let file = world.write("freehold.toml", &text);
    world.freehold(&["deploy", "-f", &file]).ok();
    let fill = "i=0; while [ $i -lt 20000 ]; do echo 'a line that is to fill up a volume that is too small for it, and then some'; i=$((i+1)); done > /data/big";
    world.freehold(&["exec", "-a", "cache", "--", "sh", "-c", fill]).ok();
    wait_for(
        "the condition",
        || world.freehold(&["volume", "describe", "cache/prod/data"]).ok().out,
        |said| said.contains("holds more than its size of 1MiB"),
    );
    world.freehold(&["events", "--json"]).ok().says("volume.over_size");
    world.freehold(&["exec", "-a", "cache", "--", "sh", "-c", "echo > /data/big"]).ok();
    wait_for(
        "the condition to go",
        || world.freehold(&["volume", "list"]).ok().out,
        |said| said.contains("ready"),
    );
}
