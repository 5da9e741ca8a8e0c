//! What people look at before and after: diffs, drift, receipts found again and exported, and rollbacks
//! that go further back each time.

use crate::world::{FREEHOLD, World, wait_for};
use serde_json::Value;

fn manifest(round: u32) -> String {
    format!(
        r#"
schema = 1
app = "shop"

[process.web]
image = "shop:1"
env = {{ ROUND = "{round}", DB_PASSWORD = "hunter{round}" }}
memory = "32MiB"
stop_timeout = "1s"
check = {{ http = "/", port = 8080, every = "200ms", timeout = "1s", grace = "10s" }}

[deploy]
timeout = "90s"

[[endpoint]]
process = "web"
listen = 8000
target = 8080
"#
    )
}

#[test]
fn what_differs_and_what_was_done_can_be_seen() {
    let Some(world) = World::start() else { return };
    world.push_busybox("shop:1");
    let files: Vec<String> =
        (1..=3).map(|round| world.write(&format!("{round}.toml"), &manifest(round))).collect();
    for file in &files {
        world.freehold(&["deploy", "-f", file]).ok();
    }

    let diff = world.freehold(&["diff", "v1", "v3", "-a", "shop"]).ok();
    assert!(diff.out.contains("~ env.ROUND: 1 → 3") && diff.out.contains("~ env.DB_PASSWORD"), "{diff:#?}");
    assert!(!diff.out.contains("hunter"), "{diff:#?}");
    let plan = world.freehold(&["plan", "-f", &files[0]]).ok().says("freehold secret set");
    assert!(!plan.out.contains("hunter"), "{plan:#?}");
    world.freehold(&["diff", "-f", &files[0], "--exit-code"]).exits(10).says("v3 → ");
    world.freehold(&["diff", "-f", &files[2], "--exit-code"]).ok().says("Nothing differs.");
    world.freehold(&["diff", "--drift", "-a", "shop", "--exit-code"]).ok().says("is what is wanted");
    world.freehold(&["diff", "v9", "-a", "shop"]).exits(4).says("no release v9");
    assert_eq!(world.json(&["diff", "v1", "v2", "-a", "shop"])["to"], "v2");

    for back in [2, 1] {
        world.freehold(&["rollback", "-a", "shop"]).ok().says(&format!("→ v{back}"));
    }
    world.freehold(&["rollback", "-a", "shop"]).exits(4).says("no earlier release");
    world.freehold(&["releases", "-a", "shop"]).ok().says("succeeded");

    let list = |args: &[&str]| {
        let found = world.json(&[&["receipt", "list", "-a", "shop"], args].concat());
        found.as_array().unwrap().len()
    };
    assert_eq!(list(&[]), 5);
    assert_eq!(list(&["--verdict", "failed"]), 0);
    assert_eq!(list(&["--actor", "nobody"]), 0);
    assert_eq!(list(&["--search", "V3 RUNS"]), 1);
    assert_eq!(list(&["--since", "1h", "--limit", "2"]), 2);
    let export = world.freehold(&["receipt", "export", "-a", "shop"]).ok().out;
    let lines: Vec<Value> = export.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 5);
    for line in &lines {
        assert_eq!(line["manifest"]["app"], "shop", "{line}");
        assert!(line["receipt"]["status"]["instances"][0]["image"].is_string(), "{line}");
    }
    assert_eq!(lines[4]["manifest"]["deploy"]["timeout"], "90s", "the first one is the last line");
}

#[test]
fn a_backup_taken_while_it_runs_begins_another_house() {
    let Some(mut world) = World::start() else { return };
    world.push_busybox("shop:1");
    let file = world.write("freehold.toml", &manifest(1));
    world.freehold(&["deploy", "-f", &file]).ok();
    let value = world.plant();
    world.freehold_with(&["secret", "set", "KEY", "-a", "shop"], &value).ok();
    let (data, backup) = (world.data().display().to_string(), world.path("backup.db").display().to_string());
    world.freehold(&["state", "backup", &backup, "--data", &data]).ok().says("read back");
    world.freehold(&["state", "backup", &backup, "--data", &data]).exits(2).says("nothing is written over");
    world.freehold(&["state", "restore", &backup, "--data", &data]).exits(2).says("is there already");
    world.freehold(&["app", "delete", "shop", "-y"]).ok();
    assert_eq!(world.terminate(), Some(0));

    // The same machine, its state lost: what was deleted after the backup is wanted again.
    world.sh(&format!("rm {data}/state.db*")).ok();
    world.freehold(&["state", "restore", &backup, "--data", &data]).ok().says("goes on from there");
    world.up(&[]);
    let well = |all: &Vec<Value>| all.len() == 1 && all[0]["healthy"] == true;
    wait_for("the app", || world.instances("shop"), well);
    assert_eq!(world.get("http://127.0.0.1:8000/"), "hello\n");
    world.freehold(&["secret", "list", "-a", "shop"]).ok().says("KEY");
    world.freehold(&["audit", "verify"]).ok();
}

#[test]
fn the_log_proves_itself_to_its_reader() {
    let Some(world) = World::start() else { return };
    world.push_busybox("shop:1");
    let file = world.write("freehold.toml", &manifest(1));
    world.freehold(&["deploy", "-f", &file]).ok();
    let early = world.json(&["audit", "verify"])["anchor"].as_str().unwrap().to_owned();
    world.freehold(&["app", "delete", "shop", "-y"]).ok();
    world.freehold(&["audit", "verify", "--anchor", &early]).ok().says("hold together");

    world.sh(&format!("{FREEHOLD} audit export > all.jsonl")).ok();
    let all = world.path("all.jsonl").display().to_string();
    world.freehold(&["audit", "verify", &all, "--anchor", &early]).ok();
    world.sh("sed -i '7s/\"request\":\"[^\"]*\"/\"request\":\"another\"/' all.jsonl").ok();
    world.freehold(&["audit", "verify", &all]).exits(1).says("event 7 does not carry");
    world.sh("sed -i '$d' all.jsonl; echo junk >> all.jsonl").ok();
    world.freehold(&["audit", "verify", &all]).exits(1);

    let (seq, _) = early.split_once(':').unwrap();
    world.sh(&format!("{FREEHOLD} audit export --after {seq} > rest.jsonl")).ok();
    let rest = world.path("rest.jsonl").display().to_string();
    world.freehold(&["audit", "verify", &rest]).exits(2).says("what came before is not known");
    world.freehold(&["audit", "verify", &rest, "--anchor", &early]).ok();
}
