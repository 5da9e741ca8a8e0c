//! `kill -9` at random moments of deploys, a hundred in all: of `freehold up`, of what it started (the
//! processes that hold instances, and the instances), of both. What must hold after each: the receipt
//! reaches a verdict, and no instance is orphaned, doubled or lost.

use crate::world::{World, wait_for};
use std::{process::Stdio, time::Duration};

const COUNT: usize = 2;

/// Whom `kill -9` meets.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Victim {
    Up,
    Children,
    Both,
}

fn manifest(round: u64) -> String {
    format!(
        r#"
schema = 1
app = "busy"

[process.web]
image = "busy:1"
env = {{ ROUND = "{round}" }}
count = {COUNT}
memory = "32MiB"
stop_timeout = "1s"
check = {{ http = "/", port = 8080, every = "200ms", timeout = "1s", grace = "10s" }}

[[endpoint]]
process = "web"
listen = 8000
target = 8080
"#
    )
}

#[test]
fn a_killed_control_plane_finishes_what_it_began() {
    survives(Victim::Up, 34);
}

#[test]
fn killed_instances_come_back() {
    survives(Victim::Children, 33);
}

#[test]
fn a_machine_on_which_everything_is_killed_recovers() {
    survives(Victim::Both, 33);
}

fn survives(victim: Victim, rounds: u64) {
    let Some(mut world) = World::start() else { return };
    world.push_busybox("busy:1");
    let file = world.write("freehold.toml", &manifest(0));
    world.freehold(&["deploy", "-f", &file]).ok();

    let seed = seed();
    eprintln!("moments come from FREEHOLD_SEED={seed}");
    let mut random = seed;
    for round in 1..=rounds {
        let file = world.write("freehold.toml", &manifest(round));
        let mut deploy = world.command(crate::world::FREEHOLD);
        deploy.args(["deploy", "-f", &file, "--detach"]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut deploy = deploy.spawn().unwrap();
        random = next(random);
        std::thread::sleep(Duration::from_millis(random % 1000));
        if victim != Victim::Children {
            world.kill();
        }
        if victim != Victim::Up {
            world.kill_instances();
        }
        deploy.wait().unwrap();
        if victim != Victim::Children {
            world.up(&[]);
        }
        holds(&world, round);
    }

    world.freehold(&["app", "delete", "busy", "-y"]).ok();
    wait_for("every trace to vanish", || world.traces(), |traces| traces.is_empty());
}

fn holds(world: &World, round: u64) {
    for receipt in world.json(&["receipt", "list", "-a", "busy"]).as_array().unwrap() {
        let id = receipt["id"].as_str().unwrap();
        let ended = world.freehold(&["receipt", id, "--wait", "--json"]);
        let receipt: serde_json::Value = serde_json::from_str(&ended.out).unwrap_or_default();
        assert!(receipt["status"]["verdict"].is_string(), "round {round}: no verdict: {ended:#?}");
    }
    let healthy = |instances: &Vec<serde_json::Value>| {
        instances.len() == COUNT && instances.iter().all(|instance| instance["healthy"] == true)
    };
    wait_for("two healthy instances", || world.instances("busy"), healthy);
    let traces = wait_for(
        "exactly two of everything",
        || world.traces(),
        |traces| {
            traces.shims.len() == COUNT && traces.links.len() == COUNT && traces.instances.len() == COUNT
        },
    );
    assert_eq!(traces.mounts, Vec::<String>::new(), "round {round}");
    assert_eq!(world.get("http://127.0.0.1:8000/"), "hello\n", "round {round}");
}

fn seed() -> u64 {
    let given = std::env::var("FREEHOLD_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| u64::from(std::process::id()) << 20)
}

/// Knuth's linear congruential generator (MMIX); good enough to choose moments.
fn next(state: u64) -> u64 {
    state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) >> 1
}
