//! What a person and a script may rely on: exit codes, errors with a way out, JSON, a clean stop.

use crate::world::{World, wait_for};

const MANIFEST: &str = r#"
schema = 1
app = "box"

[process.web]
image = "box:1"
memory = "32MiB"

[[endpoint]]
process = "web"
listen = 8000
target = 8080
"#;

#[test]
fn mistakes_are_explained_and_change_nothing() {
    let Some(world) = World::start() else { return };

    let wrong = MANIFEST.replace("memory", "memori").replace("target", "traget");
    let file = world.write("freehold.toml", &wrong);
    let ended = world.freehold(&["deploy", "-f", &file]).exits(2).says("memory").says("target");
    assert!(ended.err.contains("freehold.toml:7:1"), "{ended:#?}");

    let later = MANIFEST.replace("memory", "egress = [\"[2001:db8::1]:53\"]\nmemory");
    let file = world.write("freehold.toml", &later);
    world.freehold(&["deploy", "-f", &file]).exits(2).says("not yet");

    let file = world.write("freehold.toml", MANIFEST);
    world.freehold(&["deploy", "-f", &file]).exits(4).says("box:1");
    world.freehold(&["status", "-a", "box"]).exits(4);
    world.freehold(&["deploy", "-f", "missing.toml"]).exits(2).says("missing.toml");
    world.freehold(&["receipt", "rcp_0"]).exits(2);
    world.freehold(&["--token", "wrong", "status"]).exits(3);
    world.freehold(&["--url", "http://127.0.0.1:1", "status"]).exits(1).says("127.0.0.1:1");
    world.freehold(&["frobnicate"]).exits(2);
    assert_eq!(world.json(&["app", "list"]), serde_json::json!([]), "something was made");
}

#[test]
fn the_token_is_in_its_private_file_and_in_no_log() {
    let Some(world) = World::start() else { return };
    let (token, log) = (world.token(), world.up_log());
    assert!(log.contains("token is kept in") && !log.contains(&token), "{log}");
    let mode = std::fs::metadata(world.data().join("token")).unwrap().permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
}

#[test]
fn an_app_too_large_cannot_be_placed_and_a_taken_port_is_named() {
    let Some(world) = World::start() else { return };
    world.push_busybox("box:1");
    let huge = world.write("huge.toml", &MANIFEST.replace("32MiB", "900TiB"));
    world.freehold(&["deploy", "-f", &huge]).exits(7).says("900TiB");

    let file = world.write("freehold.toml", MANIFEST);
    world.freehold(&["deploy", "-f", &file]).ok();
    let other = world.write("other.toml", &MANIFEST.replace("\"box\"", "\"bag\""));
    world.freehold(&["deploy", "-f", &other]).exits(5).says("8000").says("box");
}

#[test]
fn a_stale_plan_is_refused() {
    let Some(world) = World::start() else { return };
    world.push_busybox("box:1");
    let file = world.write("freehold.toml", MANIFEST);
    let plan = world.json(&["plan", "-f", &file]);
    let hash = plan["hash"].as_str().unwrap().to_owned();
    world.freehold(&["deploy", "-f", &file]).ok();
    let changed = world.write("freehold.toml", &MANIFEST.replace("32MiB", "48MiB"));
    world.freehold(&["deploy", "-f", &changed, "--plan", &hash]).exits(5).says("stale");
}

#[test]
fn instances_outlive_a_clean_stop_and_go_with_stop_apps() {
    let Some(mut world) = World::start() else { return };
    world.push_busybox("box:1");
    let file = world.write("freehold.toml", MANIFEST);
    world.freehold(&["deploy", "-f", &file]).ok();
    let before = world.instances("box");

    assert_eq!(world.terminate(), Some(0));
    let running = world.traces();
    assert!(running.instances.len() == 1 && !running.shims.is_empty(), "it went along: {running:#?}");
    assert!(!running.cgroups.is_empty() && running.links.len() == 1, "traces are not seen: {running:#?}");

    world.up(&["--stop-apps"]);
    let after = world.instances("box");
    assert_eq!(after[0]["id"], before[0]["id"]);
    assert_eq!(after[0]["started"], before[0]["started"], "it was restarted");
    assert_eq!(world.get("http://127.0.0.1:8000/"), "hello\n");

    assert_eq!(world.terminate(), Some(0));
    let traces = world.traces();
    assert!(traces.shims.is_empty() && traces.links.is_empty() && traces.cgroups.is_empty(), "{traces:#?}");

    world.up(&[]);
    wait_for("the app to be back", || world.get("http://127.0.0.1:8000/"), |page| page == "hello\n");
}

#[test]
fn the_process_driver_works_and_says_that_it_isolates_nothing() {
    let Some(world) = World::start() else { return };
    world.push_busybox("box:1");
    let file = world.write("freehold.toml", &MANIFEST.replace("memory", "driver = \"process\"\nmemory"));
    world.freehold(&["plan", "-f", &file]).ok().says("process (no isolation)");
    world.freehold(&["deploy", "-f", &file]).ok();
    assert_eq!(world.get("http://127.0.0.1:8000/"), "hello\n");
    world.freehold(&["app", "delete", "box", "-y"]).ok();
    wait_for("every trace to vanish", || world.traces(), |traces| traces.is_empty());
}

#[test]
fn a_crashed_instance_is_restarted() {
    let Some(world) = World::start() else { return };
    world.push_busybox("box:1");
    let until_told = "rm -f /crash; httpd -p 8080 -h /www; until test -e /crash; do sleep 0.1; done; exit 7";
    let command = format!("command = [\"/bin/sh\", \"-c\", \"{until_told}\"]\nmemory");
    let file = world.write("freehold.toml", &MANIFEST.replace("memory", &command));
    world.freehold(&["deploy", "-f", &file]).ok();
    world.freehold(&["exec", "-a", "box", "--", "sh", "-c", "echo > /crash"]).ok();
    let restarted = |instances: &Vec<serde_json::Value>| {
        instances.len() == 1 && instances[0]["restarts"] == 1 && instances[0]["healthy"] == true
    };
    let instances = wait_for("one restart", || world.instances("box"), restarted);
    let id = instances[0]["id"].as_str().unwrap();
    let instance = world.json(&["describe", id]);
    assert_eq!(instance["resource"]["status"]["last_exit"]["code"], 7, "{instance:#}");
    assert_eq!(world.get("http://127.0.0.1:8000/"), "hello\n");
}
