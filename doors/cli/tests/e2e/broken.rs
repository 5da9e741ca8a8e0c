//! A broken release: the deploy fails fast and says why, and the release before serves all the while.

use crate::world::{World, wait_for};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

fn manifest(command: &str) -> String {
    format!(
        r#"
schema = 1
app = "shop"

[process.web]
image = "shop:1"
command = {command}
count = 2
memory = "32MiB"
check = {{ http = "/", port = 8080, every = "200ms", timeout = "1s", grace = "2s" }}

[[endpoint]]
process = "web"
listen = 8000
target = 8080
"#
    )
}

const GOOD: &str = r#"["/bin/httpd", "-f", "-p", "8080", "-h", "/www"]"#;
const CRASHES: &str = r#"["/bin/sh", "-c", "echo cannot open the till; exit 3"]"#;
const NEVER_HEALTHY: &str = r#"["/bin/sleep", "1000"]"#;
const NOT_THERE: &str = r#"["/bin/no-such-program"]"#;

#[test]
fn a_broken_release_fails_and_the_one_before_serves() {
    let Some(world) = World::start() else { return };
    world.push_busybox("shop:1");
    let good = world.write("good.toml", &manifest(GOOD));
    world.freehold(&["deploy", "-f", &good]).ok();
    let before = world.instances("shop");

    let stop = AtomicBool::new(false);
    let failures = std::thread::scope(|scope| {
        let visitor = scope.spawn(|| visit_until(&world, &stop));
        let visiting = Visiting(&stop);
        for (command, reason) in
            [(CRASHES, "exited with code 3"), (NEVER_HEALTHY, "check"), (NOT_THERE, "no-such-program")]
        {
            let broken = world.write("broken.toml", &manifest(command));
            world.freehold(&["deploy", "-f", &broken]).exits(8).says(reason);
        }
        let crashed = world.write("broken.toml", &manifest(CRASHES));
        world.freehold(&["deploy", "-f", &crashed]).exits(8).says("cannot open the till");
        drop(visiting);
        visitor.join().unwrap()
    });
    assert_eq!(failures, Vec::<String>::new());

    let after = world.instances("shop");
    let ids =
        |list: &[serde_json::Value]| list.iter().map(|instance| instance["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&after), ids(&before), "the release before was touched");
    let receipts = world.json(&["receipt", "list", "-a", "shop"]);
    let verdicts: Vec<_> =
        receipts.as_array().unwrap().iter().map(|receipt| &receipt["status"]["verdict"]).collect();
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == "failed").count(), 4, "{verdicts:?}");
}

/// Ends the visits when it is dropped, so that a failed assertion ends the test.
struct Visiting<'a>(&'a AtomicBool);

impl Drop for Visiting<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Asks for the page again and again; answers with every answer that was not the page.
fn visit_until(world: &World, stop: &AtomicBool) -> Vec<String> {
    let mut failures = vec![];
    while !stop.load(Ordering::Relaxed) {
        let page = world.get("http://127.0.0.1:8000/");
        if page != "hello\n" {
            failures.push(page);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    failures
}

#[test]
fn a_port_that_another_program_has_is_said_before_anything_starts() {
    let Some(world) = World::start() else { return };
    world.push_busybox("shop:1");
    let mut squatter = world.command("/bin/busybox").args(["nc", "-l", "-p", "8000"]).spawn().unwrap();
    wait_for("the squatter", || world.sh("ss -Hltn sport = :8000").out, |out| out.contains("8000"));
    let good = format!("{}\n[deploy]\ndrain_timeout = \"1s\"\n", manifest(GOOD));
    let file = world.write("good.toml", &good);
    let refused = world.freehold(&["deploy", "-f", &file]).exits(5);
    refused.says("port 8000 is taken by busybox");

    squatter.kill().unwrap();
    squatter.wait().unwrap();
    world.freehold(&["deploy", "-f", &file]).ok();
    assert_eq!(world.get("http://127.0.0.1:8000/"), "hello\n");
}
