//! Placement and operating nodes, as far as one machine shows it.

use crate::world::World;

const BOX: &str = r#"schema = 1
app = "box"

[process.web]
image = "box:1"
command = ["sleep", "3600"]
stop_timeout = "100ms"
memory = "32MiB"
"#;

/// Writes the manifest with `more` of the process's keys.
fn with(world: &World, more: &str) -> String {
    world.write("freehold.toml", &format!("{BOX}{more}\n"))
}

#[test]
fn instances_go_where_labels_and_taints_allow_and_say_why() {
    let Some(world) = World::start() else { return };
    world.push_busybox("box:1");
    let node = world.json(&["node", "list"])[0]["name"].as_str().unwrap().to_owned();

    // Nothing has the label: exit code 7, with what the node says.
    let file = with(&world, "affinity = { require = { zone = \"cellar\" } }");
    world.freehold(&["deploy", "-f", &file]).exits(7).says("has no label zone, cellar is required");
    world.freehold(&["node", "label", &node, "zone=cellar", "disk=ssd"]).exits(0).says("zone=cellar");
    let plan = world.freehold(&["plan", "-f", &file]).exits(0);
    assert!(plan.out.contains(&format!("web × 1 on {node}  the only node")), "{plan:#?}");
    world.freehold(&["deploy", "-f", &file]).exits(0);
    let instance = world.json(&["instance", "list"])[0]["id"].as_str().unwrap().to_owned();
    let told = world.freehold(&["describe", &instance]).exits(0);
    assert!(
        told.out.contains("here: the only node") && told.out.contains("memory left before it"),
        "{told:#?}"
    );

    // A taint keeps new ones away, not what runs; whoever tolerates it comes.
    world.freehold(&["node", "taint", &node, "hardware/gpu"]).exits(0).says("hardware/gpu");
    let more = with(&world, "count = 2");
    world.freehold(&["deploy", "-f", &more]).exits(7).says("is tainted hardware/gpu");
    let tolerant = with(&world, "count = 2\ntolerate = [\"hardware/gpu\"]");
    world.freehold(&["deploy", "-f", &tolerant]).exits(0);
    world.freehold(&["node", "taint", &node, "hardware/gpu-"]).exits(0).says("none");
    world.freehold(&["node", "label", &node, "zone"]).exits(2).says("KEY=VALUE");
    world.freehold(&["node", "label", &node, "Zone=a"]).exits(2).says("not a label");
    world.freehold(&["node", "label", "nowhere", "zone=a"]).exits(4);

    // Cordoned, it takes nothing new; drained without another node, everything stays and says why.
    world.freehold(&["node", "cordon", &node]).exits(0);
    let three = with(&world, "count = 3");
    world.freehold(&["deploy", "-f", &three]).exits(7).says("is cordoned");
    world.freehold(&["node", "drain", &node]).exits(7).says("is being drained").says("uncordon");
    assert!(world.freehold(&["node", "list"]).out.contains("draining"));
    world.freehold(&["node", "remove", &node]).exits(2).says("-y");
    world.freehold(&["node", "remove", &node, "-y"]).exits(5).says("the only node");
    world.freehold(&["node", "uncordon", &node]).exits(0);
    world.freehold(&["deploy", "-f", &three]).exits(0);
    let events = world.json(&["node", "describe", &node]).to_string();
    for what in ["node.label", "node.taint", "node.cordon", "node.drain", "node.uncordon"] {
        assert!(events.contains(what), "{what} is not audited");
    }
}
