//! Deploys of one env one after another: what waits, what takes its place, what is called off, and that
//! a `kill -9` of the control plane changes none of it.

use crate::world::{World, wait_for};
use serde_json::Value;

/// A web server that takes `delay` seconds to listen.
fn manifest(round: u32, delay: u32) -> String {
    format!(
        r#"
schema = 1
app = "shop"

[process.web]
image = "shop:1"
command = ["/bin/sh", "-c", "sleep {delay}; exec httpd -f -p 8080 -h /www"]
env = {{ ROUND = "{round}" }}
memory = "32MiB"
stop_timeout = "1s"
check = {{ http = "/", port = 8080, every = "200ms", timeout = "1s", grace = "60s" }}

[[endpoint]]
process = "web"
listen = 8000
target = 8080
"#
    )
}

fn begin(world: &World, round: u32, delay: u32) -> Value {
    let file = world.write(&format!("{round}.toml"), &manifest(round, delay));
    world.json(&["deploy", "-f", &file, "--detach"])
}

fn id(receipt: &Value) -> &str {
    receipt["id"].as_str().unwrap()
}

#[test]
fn a_deploy_waits_a_newer_one_takes_its_place_and_both_say_so() {
    let Some(mut world) = World::start() else { return };
    world.push_busybox("shop:1");
    let front = begin(&world, 1, 4);
    let second = begin(&world, 2, 0);
    assert_eq!(second["status"]["behind"], front["id"]);
    world.freehold(&["receipt", id(&second)]).ok().says("queued").says("behind");
    let third = world.write("3.toml", &manifest(3, 0));
    world.freehold(&["plan", "-f", &third]).ok().says("takes the place").says(id(&second));
    let third = begin(&world, 3, 0);
    assert_eq!(third["status"]["supersedes"], second["id"]);
    world.freehold(&["status", "-a", "shop"]).ok().says("waits for its turn").says(id(&front));
    world.freehold(&["receipt", id(&second), "--wait"]).exits(5).says("took its place").says(id(&third));

    world.kill();
    world.up(&[]);
    let done = world.json(&["receipt", id(&third), "--wait"]);
    assert_eq!(done["status"]["verdict"], "succeeded", "{done}");
    assert_eq!((&done["spec"]["previous_number"], &done["spec"]["release_number"]), (&1.into(), &2.into()));
    world.freehold(&["receipt", id(&front), "--wait"]).ok();
    assert_eq!(world.get("http://127.0.0.1:8000/"), "hello\n");
    let receipt = world.json(&["receipt", id(&second)]);
    assert_eq!(receipt["status"]["superseded_by"], third["id"]);
}

#[test]
fn what_is_cancelled_leaves_what_ran_before() {
    let Some(world) = World::start() else { return };
    world.push_busybox("shop:1");
    let first = world.write("1.toml", &manifest(1, 0));
    world.freehold(&["deploy", "-f", &first]).ok();
    world.freehold(&["cancel", "-a", "shop"]).exits(4).says("nothing is under way");
    let before = world.instances("shop");

    let starts = begin(&world, 2, 1000);
    let waits = begin(&world, 3, 0);
    let pinned = world.json(&["plan", "-f", &first])["hash"].as_str().unwrap().to_owned();
    world.freehold(&["cancel", id(&waits)]).ok().says("is cancelled").says("has changed nothing");
    let stale = world.json(&["deploy", "-f", &first, "--plan", &pinned, "--detach"]);
    wait_for(
        "the receipt to say what it waits for",
        || world.freehold(&["receipt", id(&starts)]).ok().out,
        |text| text.contains("start") && text.contains("running"),
    );
    world.freehold(&["cancel", id(&starts)]).ok().says("is cancelled").says("v1 serves: ");
    world.freehold(&["receipt", id(&starts), "--wait"]).exits(5).says("cancelled by user:");
    world.freehold(&["receipt", id(&stale), "--wait"]).exits(5).says("the plan is stale");
    world.freehold(&["cancel", id(&starts)]).exits(5).says("has ended already");

    assert_eq!(world.get("http://127.0.0.1:8000/"), "hello\n");
    let ids = |all: &[Value]| all.iter().map(|one| one["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&world.instances("shop")), ids(&before));

    begin(&world, 4, 1000);
    begin(&world, 5, 0);
    let ended = world.json(&["cancel", "-a", "shop"]);
    let verdicts: Vec<_> = ended.as_array().unwrap().iter().map(|it| &it["status"]["verdict"]).collect();
    assert_eq!(verdicts, ["cancelled", "cancelled"]);
    world.freehold(&["deploy", "-f", &first]).ok().says("stays as it is");
}
