//! `freehold logs`: merged, narrowed, marked; followed across a redeploy and a killed server.

use crate::world::{FREEHOLD, World, eventually, wait_for};
use std::{
    collections::BTreeMap,
    fs,
    process::{Child, Stdio},
    time::Duration,
};

/// Two processes; `web` counts aloud for ever, `worker` says two lines and is quiet.
fn manifest(round: u32) -> String {
    format!(
        r#"
schema = 1
app = "talk"

[process.web]
image = "talk:1"
count = 2
memory = "32MiB"
stop_timeout = "1s"
env = {{ ROUND = "{round}" }}
command = ["/bin/sh", "-c", "n=0; while :; do n=$((n+1)); echo count $n; sleep 0.02; done"]

[process.worker]
image = "talk:1"
memory = "32MiB"
stop_timeout = "1s"
env = {{ ROUND = "{round}" }}
command = ["/bin/sh", "-c", "echo worker starts; echo worker fails >&2; sleep 10000"]
"#
    )
}

fn deployed() -> Option<World> {
    let world = World::start()?;
    world.push_busybox("talk:1");
    let file = world.write("freehold.toml", &manifest(1));
    world.freehold(&["deploy", "-f", &file]).ok();
    Some(world)
}

fn objects(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

#[test]
fn lines_are_merged_and_narrowed_also_of_what_is_gone() {
    let Some(world) = deployed() else { return };
    let enough = |lines: &Vec<serde_json::Value>| lines.len() == 40;
    let tail = || objects(&world.freehold(&["logs", "--tail", "40", "--json"]).ok().out);
    let lines = wait_for("forty lines", tail, enough);
    let times: Vec<&str> = lines.iter().map(|line| line["time"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "not in the order of time: {times:#?}");

    let of_worker = world.freehold(&["logs", "-p", "worker", "--grep", "fail|never", "--json"]).ok();
    let found = objects(&of_worker.out);
    assert_eq!((found.len(), &found[0]["text"]), (1, &"worker fails".into()), "{found:#?}");
    assert_eq!(found[0]["stream"], "stderr");
    let worker = found[0]["instance"].as_str().unwrap().to_owned();

    world.freehold(&["logs", "--grep", "a(b"]).exits(2).says("a(b").says("unclosed group");
    world.freehold(&["logs", "-p", "nobody"]).exits(4).says("web, worker");
    world.freehold(&["logs", "--since", "yesterday"]).exits(2).says("2026-01-31");
    let none = world.freehold(&["logs", "--since", "2999-01-01", "--json"]).ok();
    assert_eq!(none.out, "");

    world.freehold(&["app", "delete", "talk", "-y"]).ok();
    wait_for("every trace to vanish", || world.traces(), |traces| traces.is_empty());
    let gone = world.freehold(&["logs", "--instance", &worker]).ok();
    assert!(gone.out.contains("worker starts") && gone.out.contains("worker fails"), "{gone:#?}");
}

/// A running `freehold logs`, which writes into a file.
struct Follower(Child);

impl Follower {
    fn start(world: &World, args: &[&str]) -> Follower {
        let out = fs::File::create(world.path("followed")).unwrap();
        let err = fs::File::create(world.path("followed.err")).unwrap();
        let mut command = world.command(FREEHOLD);
        command.args(["logs", "--follow", "--json"]).args(args).stdout(out).stderr(err).stdin(Stdio::null());
        Follower(command.spawn().unwrap())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The numbers that each instance counted, as far as they were followed.
fn counted(world: &World) -> BTreeMap<String, Vec<u64>> {
    let text = fs::read_to_string(world.path("followed")).unwrap();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut counted = BTreeMap::<String, Vec<u64>>::new();
    for line in objects(whole) {
        let number =
            line["text"].as_str().unwrap().strip_prefix("count ").map(|text| text.parse::<u64>().unwrap());
        counted.entry(line["instance"].as_str().unwrap().into()).or_default().extend(number);
    }
    counted
}

#[test]
fn a_followed_log_loses_and_doubles_nothing_across_a_redeploy_and_a_killed_server() {
    let Some(mut world) = deployed() else { return };
    let follower = Follower::start(&world, &["-p", "web", "--tail", "0"]);
    let grown = |world: &World, instances: usize, by: usize| {
        let before: usize = counted(world).values().map(Vec::len).sum();
        wait_for(
            "more lines",
            || counted(world),
            |now| now.len() == instances && now.values().map(Vec::len).sum::<usize>() > before + by,
        )
    };
    grown(&world, 2, 20);
    let file = world.write("freehold.toml", &manifest(2));
    world.freehold(&["deploy", "-f", &file]).ok();
    grown(&world, 4, 20);
    world.kill();
    world.up(&[]);
    let all = grown(&world, 4, 200);
    for (instance, numbers) in &all {
        let gap = numbers.windows(2).find(|pair| pair[1] != pair[0] + 1);
        assert_eq!(gap, None, "lines of {instance} are missing or doubled");
    }
    let firsts: Vec<u64> = all.values().map(|numbers| numbers[0]).collect();
    assert_eq!(
        firsts.iter().filter(|first| **first == 1).count(),
        2,
        "the first lines of the new ones: {firsts:?}"
    );
    assert!(fs::read_to_string(world.path("followed.err")).unwrap().contains("the connection broke"));
    drop(follower);
}

#[test]
fn half_a_million_lines_come_out_as_they_went_in() {
    let Some(world) = World::start() else { return };
    world.push_busybox("talk:1");
    let count = "i=0; while [ $i -lt 500 ]; do cat /numbers; i=$((i+1)); done; echo end; sleep 10000";
    world.write(
        "busybox/numbers",
        &(1..=1000).map(|n| format!("line {n} of a thousand\n")).collect::<String>(),
    );
    world.push_busybox("talk:1");
    let text = format!(
        "schema = 1\napp = \"talk\"\n[process.web]\nimage = \"talk:1\"\nmemory = \"32MiB\"\n\
         command = [\"/bin/sh\", \"-c\", \"{count}\"]\n"
    );
    let file = world.write("freehold.toml", &text);
    world.freehold(&["deploy", "-f", &file]).ok();
    let ended = || world.freehold(&["logs", "--tail", "1"]).out.contains("| end");
    assert!(eventually(Duration::from_secs(60), ended), "it did not come to its end");
    let lines = world.freehold(&["logs", "--grep", "of a thousand|dropped here"]).ok();
    let (mut seen, mut dropped) = (0_u64, 0);
    for line in lines.out.lines() {
        let text = line.split_once("| ").unwrap().1;
        let number: u64 = text.split(' ').find_map(|word| word.parse().ok()).unwrap();
        if text.contains("dropped here") {
            dropped += number;
        } else {
            seen += 1;
            assert_eq!(number, (seen + dropped - 1) % 1000 + 1, "out of order: {line}");
        }
    }
    assert_eq!(seen + dropped, 500_000);
}
