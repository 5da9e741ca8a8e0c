//! An image that Freehold did not make, through its whole life: nginx from distribution packages,
//! packed with umoci, pushed with skopeo, deployed, reached, scaled, redeployed, rolled back, removed.

mod load;

use crate::world::{World, nginx_layout, wait_for};

fn manifest(tag: u32, count: u32) -> String {
    format!(
        r#"
schema = 1
app = "site"

[process.web]
image = "nginx:{tag}"
count = {count}
memory = "64MiB"
check = {{ http = "/", port = 80, every = "500ms", timeout = "1s", grace = "20s" }}

[[endpoint]]
process = "web"
listen = 8000
target = 80
"#
    )
}

const SITE: &str = "http://127.0.0.1:8000/";

#[test]
fn a_strangers_image_lives_its_whole_life() {
    let Some(world) = World::start() else { return };
    for tag in ["1", "2"] {
        world.skopeo_push(&nginx_layout(), tag, &format!("nginx:{tag}"));
    }

    // Deployed with two instances, and reached over IPv4 and IPv6.
    let file = world.write("freehold.toml", &manifest(1, 2));
    world.freehold(&["plan", "-f", &file, "--exit-code"]).exits(10).says("nginx:1");
    world.freehold(&["deploy", "-f", &file]).ok().says("v1");
    assert_eq!(world.get(SITE), "release one\n");
    assert_eq!(world.get("http://[::1]:8000/"), "release one\n");
    let first = world.instances("site");
    assert_eq!(first.len(), 2, "{first:#?}");
    assert!(first.iter().all(|instance| instance["healthy"] == true), "{first:#?}");
    world.freehold(&["plan", "-f", &file, "--exit-code"]).exits(0);

    // Scaled: the two that run go on.
    let file = world.write("freehold.toml", &manifest(1, 3));
    world.freehold(&["deploy", "-f", &file]).ok();
    let scaled = world.instances("site");
    assert_eq!(scaled.len(), 3, "{scaled:#?}");
    for instance in &first {
        assert!(scaled.iter().any(|other| other["id"] == instance["id"]), "{instance} was replaced");
    }

    // Redeployed with another image: all are new.
    let file = world.write("freehold.toml", &manifest(2, 3));
    world.freehold(&["deploy", "-f", &file]).ok();
    assert_eq!(world.get(SITE), "release two\n");
    let replaced = world.instances("site");
    assert!(replaced.iter().all(|new| scaled.iter().all(|old| old["id"] != new["id"])), "{replaced:#?}");

    // What is gone has left its log.
    let gone = first[0]["id"].as_str().unwrap();
    world.freehold(&["logs", "-a", "site", "--instance", gone]).ok().says("GET / HTTP");

    // Rolled back to the release before.
    world.freehold(&["rollback", "-a", "site"]).ok();
    assert_eq!(world.get(SITE), "release one\n");
    assert_eq!(world.json(&["releases", "-a", "site"]).as_array().unwrap().len(), 3);

    // Its receipts say what was seen to run.
    let receipts = world.json(&["receipt", "list", "-a", "site"]);
    for receipt in receipts.as_array().unwrap() {
        assert_eq!(receipt["status"]["verdict"], "succeeded", "{receipt:#}");
        let instances = receipt["status"]["instances"].as_array().unwrap();
        assert!(!instances.is_empty(), "{receipt:#}");
        for instance in instances {
            assert_eq!(instance["image"], receipt["spec"]["images"]["web"], "{receipt:#}");
        }
    }

    its_logs_are_kept(&world);
    commands_run_inside(&world);

    // Removed, with nothing left behind.
    world.freehold(&["app", "delete", "site", "-y"]).ok();
    wait_for("every trace to vanish", || world.traces(), |traces| traces.is_empty());
    assert!(world.get(SITE).contains("connect"), "{}", world.get(SITE));
    world.freehold(&["status", "-a", "site"]).exits(4);
}

fn its_logs_are_kept(world: &World) {
    let logs = wait_for(
        "nginx's access log",
        || world.freehold(&["logs", "-a", "site", "--json"]).ok().out,
        |logs| logs.contains("GET / HTTP"),
    );
    for line in logs.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("each line is JSON");
        assert!(line["time"].is_string() && line["stream"].is_string(), "{line}");
    }
    let tail = world.freehold(&["logs", "-a", "site", "--tail", "1"]).ok().out;
    assert!(!tail.is_empty());
}

fn commands_run_inside(world: &World) {
    world.freehold(&["exec", "-a", "site", "--", "cat", "/etc/debian_version"]).ok();
    world.freehold(&["exec", "-a", "site", "--", "sh", "-c", "exit 42"]).exits(42);
    world.freehold(&["exec", "-a", "site", "--", "no-such-command"]).exits(127);
    let piped = world.sh(&format!("echo through | {} exec -a site -- cat", crate::world::FREEHOLD)).ok();
    assert_eq!(piped.out, "through\n");
    // With a terminal: `script` gives one to the client.
    let line = format!(
        "script -qec '{} exec -a site -t -- sh -c \"test -t 0 && echo a terminal\"' /dev/null",
        crate::world::FREEHOLD
    );
    world.sh(&line).ok().says("a terminal");
}
