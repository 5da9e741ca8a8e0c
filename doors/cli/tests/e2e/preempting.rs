//! Pre-emption, from the manifest to the processes on the machine: one node with little memory.

use crate::world::{World, eventually, wait_for};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// An app of one process that takes two seconds to stop.
fn manifest(world: &World, app: &str, count: u32, memory: u64, priority: i32) -> String {
    let text = format!(
        r#"schema = 1
app = "{app}"

[process.web]
image = "box:1"
command = ["sh", "-c", "trap 'sleep 2; exit 0' TERM; while :; do sleep 0.1; done"]
stop_timeout = "10s"
count = {count}
memory = "{memory}MiB"
priority = {priority}
"#
    );
    world.write(&format!("{app}.toml"), &text)
}

/// The memory of the node in MiB.
fn memory(world: &World) -> u64 {
    let nodes = world.json(&["node", "list"]);
    let id = nodes[0]["id"].as_str().unwrap_or_else(|| panic!("{nodes}")).to_owned();
    let node = world.json(&["node", "describe", &id]);
    let text = node["resource"]["status"]["capacity"]["memory"].as_str().unwrap_or_else(|| panic!("{node}"));
    text.parse::<freehold_model::Bytes>().unwrap().0 >> 20
}

#[test]
fn the_important_takes_the_room_of_the_unimportant_which_comes_back() {
    let Some(world) = World::start() else { return };
    world.push_busybox("box:1");
    // Two of the wiki fill the node, all but less than half of one.
    let half = memory(&world) * 2 / 5;
    let wiki = manifest(&world, "wiki", 2, half, 0);
    world.freehold(&["deploy", "-f", &wiki]).exits(0);

    let db = manifest(&world, "db", 1, half, 100);
    let refused = world.freehold(&["deploy", "-f", &db]).exits(6);
    refused.says("project `default` may go up to 0").says("quota set --project default --priority 100");
    world.freehold(&["quota", "set", "--project", "default", "--priority", "100"]).exits(0).says("up to 100");
    let above = manifest(&world, "db", 1, half, 101);
    world.freehold(&["deploy", "-f", &above]).exits(6);
    let same = manifest(&world, "db", 1, half, 0);
    world.freehold(&["deploy", "-f", &same]).exits(7).says("memory left");

    let db = manifest(&world, "db", 1, half, 100);
    let plan = world.freehold(&["plan", "-f", &db]).exits(0);
    assert!(plan.out.contains("pre-empts wiki/prod web (ins_"), "{plan:#?}");
    world.freehold(&["deploy", "-f", &db]).exits(0);
    let receipts = world.json(&["receipt", "list", "-a", "db", "-e", "prod"]).to_string();
    assert!(receipts.contains("pre-empts wiki/prod web (ins_"), "{receipts}");

    // Both say so.
    let newcomer = world.instances("db").remove(0);
    let id = newcomer["id"].as_str().unwrap();
    let told = world.freehold(&["describe", id]).exits(0);
    assert!(
        told.out.contains("what is of lower priority makes it")
            && told.out.contains("pre-empts wiki/prod web"),
        "{told:#?}"
    );
    let is_victim = |it: &serde_json::Value| {
        it["phase"] == "stopped" && it["message"].as_str().is_some_and(|it| it.contains(id))
    };
    let waits = wait_for(
        "a victim that waits",
        || world.instances("wiki").into_iter().find(is_victim),
        Option::is_some,
    );
    let victim = waits.as_ref().and_then(|it| it["id"].as_str()).unwrap();
    let told = world.freehold(&["describe", victim]).exits(0);
    told.says(&format!("pre-empted by db/prod web ({id}, priority 100)"));
    // The newcomer began only when the other had taken its two seconds to end.
    let spec = world.json(&["describe", victim])["resource"]["spec"].clone();
    let told: jiff::Timestamp = spec["placed"]["preempted"]["at"].as_str().unwrap().parse().unwrap();
    let began: jiff::Timestamp = newcomer["started"].as_str().unwrap().parse().unwrap();
    assert!(began.duration_since(told) >= jiff::SignedDuration::from_secs(2), "{told} and {began}");
    world.freehold(&["status", "-a", "wiki"]).exits(0).says("It comes back where and when there is room");
    let events = world.json(&["events", victim]);
    let gone = events.as_array().unwrap().iter().find(|it| it["what"] == "instance.preempted");
    assert!(gone.is_some_and(|it| it["data"]["by"] == id), "{events}");
    assert_eq!(world.instances("wiki").iter().filter(|it| it["healthy"] == true).count(), 1);

    world.freehold(&["app", "delete", "db", "-y"]).exits(0);
    let back = || world.instances("wiki").iter().filter(|it| it["healthy"] == true).count() == 2;
    assert!(eventually(SOON, back), "{:?}", world.instances("wiki"));
    assert_eq!(world.instances("wiki").len(), 2);
}
