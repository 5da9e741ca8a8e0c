//! Secrets from the first value to a rollback, with planted values: inside the instance and nowhere else.

use crate::world::{FREEHOLD, World, wait_for};
use std::fs;

const MANIFEST: &str = r#"
schema = 1
app = "safe"

[process.web]
image = "safe:1"
memory = "32MiB"
stop_timeout = "1s"
secrets = [
    "ADMIN_PASSWORD",
    { name = "TLS_KEY", file = "/run/secrets/tls.key" },
    { name = "TLS_KEY", env = "TLS_TEXT" },
]
check = { command = ["/bin/sh", "-c", "test -n \"$ADMIN_PASSWORD\""], every = "200ms", timeout = "2s", grace = "10s" }

[[endpoint]]
process = "web"
listen = 8000
target = 8080
"#;

impl World {
    /// Runs `freehold secret ARGS -a safe` with `input`.
    fn secret(&self, args: &[&str], input: &str) -> crate::world::Ended {
        self.freehold_with(&[&["secret"], args, &["-a", "safe"]].concat(), input)
    }

    /// What a shell inside the instance says.
    fn inside(&self, line: &str) -> String {
        self.freehold(&["exec", "-a", "safe", "--", "/bin/sh", "-c", line]).ok().out.trim_end().to_owned()
    }

    fn password(&self) -> String {
        self.inside("echo $ADMIN_PASSWORD")
    }
}

#[test]
fn a_secret_is_in_its_instance_and_nowhere_else() {
    let Some(mut world) = World::start() else { return };
    world.push_busybox("safe:1");
    let file = world.write("freehold.toml", MANIFEST);
    let (first, second, key) = (world.plant(), world.plant(), world.plant());

    // Without values nothing is deployed, and it is said how they are given.
    let plan = world.freehold(&["plan", "-f", &file]).exits(2);
    plan.says("secret ADMIN_PASSWORD has no value").says("freehold secret set TLS_KEY -a safe -e prod");
    a_value_is_never_an_argument(&world);
    world.secret(&["set", "ADMIN_PASSWORD"], &format!("{first}\n")).ok().says("version 1").says("is made");
    world.secret(&["set", "ADMIN_PASSWORD"], &first).ok().says("has this value already");
    world.secret(&["set", "TLS_KEY"], &format!("BEGIN\n{key}\nEND\n")).ok();
    world.freehold(&["status", "-a", "safe"]).ok().says("no release has run yet");
    world
        .freehold(&["plan", "-f", &file])
        .ok()
        .says("secret.ADMIN_PASSWORD: version 1 as variable ADMIN_PASSWORD");

    world.freehold(&["deploy", "-f", &file]).ok().says("v1");
    assert_eq!(world.password(), first);
    it_is_a_file_in_memory(&world, &key);
    it_leaves_no_core_file(&world);

    // Another value: what runs keeps the old one until the deploy.
    world.secret(&["rotate", "ADMIN_PASSWORD"], &second).ok().says("What runs keeps the version it has");
    assert_eq!(world.password(), first);
    world.secret(&["rotate", "ADMIN_PASSWORD", "--deploy"], &second).ok().says("v2");
    assert_eq!(world.password(), second);
    let receipts = world.json(&["receipt", "list", "-a", "safe"]);
    let versions = |n: usize| receipts[n]["spec"]["secrets"]["ADMIN_PASSWORD"].as_u64();
    assert_eq!((versions(0), versions(1)), (Some(2), Some(1)), "{receipts:#}");

    // A rollback brings the old value back, so nobody may take it away.
    world.freehold(&["rollback", "-a", "safe"]).ok();
    assert_eq!(world.password(), first);
    world.secret(&["rm", "ADMIN_PASSWORD", "--version", "2"], "").exits(5).says("v2 (version 2)");
    world.secret(&["usage"], "").ok().says("v1, what runs");
    world.secret(&["rm", "ADMIN_PASSWORD", "--version", "2", "--force", "-y"], "").ok();
    world
        .freehold(&["rollback", "-a", "safe", "--to", "2"])
        .exits(5)
        .says("version 2 of secret ADMIN_PASSWORD was removed");
    world.secret(&["history", "ADMIN_PASSWORD"], "").ok().says("removed");

    the_key_is_replaced_under_it(&mut world, &file, &first);
    text_for_git(&world);

    for args in [
        &["events", "--json"][..],
        &["secret", "list", "--json"],
        &["receipt", "list", "-a", "safe", "--json"],
    ] {
        world.freehold(args).ok();
    }
    world.freehold(&["describe", "secret/ADMIN_PASSWORD", "-a", "safe", "--json"]).ok();
    world.assert_nothing_leaked();
    world.freehold(&["app", "delete", "safe", "-y"]).ok();
    world.secret(&["list"], "").exits(4);
    assert_eq!(world.sh(&format!("cd / && {FREEHOLD} secret list --json")).ok().out.trim(), "[]");
}

fn a_value_is_never_an_argument(world: &World) {
    for args in [
        &["set", "ADMIN_PASSWORD", "hunter2"][..],
        &["set", "ADMIN_PASSWORD=hunter2"],
        &["set", "ADMIN_PASSWORD", "--value=hunter2"],
        &["set", "hunter-2"],
        &["rotate", "ADMIN_PASSWORD", "hunter2"],
    ] {
        let ended = world.secret(args, "x").exits(2);
        assert!(!ended.err.contains("hunter"), "{ended:#?}");
    }
    let ended = world.secret(&["set", "ADMIN_PASSWORD", "hunter2"], "x").exits(2);
    ended.says("freehold secret set NAME < file");
    world.secret(&["set", "ADMIN_PASSWORD"], "").exits(2).says("the value is empty");
    world.secret(&["rotate", "ADMIN_PASSWORD"], "x").exits(4);
}

fn it_is_a_file_in_memory(world: &World, key: &str) {
    assert_eq!(world.inside("cat /run/secrets/tls.key"), format!("BEGIN\n{key}\nEND"));
    assert_eq!(world.inside("echo \"$TLS_TEXT\""), format!("BEGIN\n{key}\nEND"));
    let listed = world.inside("ls -ln /run/secrets/tls.key");
    assert!(listed.starts_with("-r--------") && listed.contains(" 0 "), "{listed}");
    let mounts = world.inside("cat /proc/mounts");
    let mount = mounts.lines().find(|line| line.contains(" /run/secrets/tls.key ")).expect("it is a mount");
    assert!(mount.starts_with("tmpfs") && mount.contains(" ro,"), "{mount}");
    // Nobody inside can find the others of it, or write to it.
    let write = ["exec", "-a", "safe", "--", "/bin/sh", "-c", "echo x > /run/secrets/tls.key"];
    assert_ne!(world.freehold(&write).code, 0);
}

fn it_leaves_no_core_file(world: &World) {
    assert_eq!(world.inside("ulimit -c; ulimit -Hc"), "0\n0");
    let crash = ["exec", "-a", "safe", "--", "/bin/sh", "-c", "kill -SEGV $$"];
    world.freehold(&crash).exits(128 + 11);
    let pid = fs::read_to_string(world.data().join("freehold.pid")).unwrap();
    let limits = fs::read_to_string(format!("/proc/{}/limits", pid.trim())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
}

/// A new root key and `kill -9`, while the app runs on; then it is started again from what is sealed anew.
fn the_key_is_replaced_under_it(world: &mut World, file: &str, first: &str) {
    let key = |world: &World| world.freehold(&["key", "show"]).ok().out;
    let before = (key(world), fs::read_to_string(world.data().join("keys/secrets.key")).unwrap());
    let running = world.instances("safe");
    world.freehold(&["key", "rotate"]).ok().says("sealed again");
    let after = fs::read_to_string(world.data().join("keys/secrets.key")).unwrap();
    assert!(key(world) != before.0 && after.matches("AGE-SECRET-KEY-").count() == 1);
    world.kill();
    world.up(&[]);
    assert_eq!(world.instances("safe")[0]["id"], running[0]["id"]);
    assert_eq!(world.password(), first);
    // Ended by force, it is started again by its node.
    for pid in crate::traces::instance_processes(&world.data()) {
        world.sh(&format!("kill -9 {pid}"));
    }
    let restarted =
        |all: &Vec<serde_json::Value>| all[0]["restarts"].as_u64() > Some(0) && all[0]["healthy"] == true;
    wait_for("the instance to be started again", || world.instances("safe"), restarted);
    assert_eq!(world.password(), first);
    world.freehold(&["deploy", "-f", file, "--restart"]).ok();
    assert_eq!(world.password(), first);
}

fn text_for_git(world: &World) {
    let value = world.plant();
    let sealed = world.secret(&["seal", "FROM_GIT"], &value).ok().out;
    assert!(sealed.starts_with("-----BEGIN AGE ENCRYPTED FILE-----"), "{sealed}");
    world.secret(&["set", "OTHER", "--sealed"], &sealed).exits(2).says("sealed for another");
    world.secret(&["set", "FROM_GIT", "--sealed"], &sealed).ok().says("version 1");
    world.secret(&["set", "FROM_GIT", "--sealed"], "hunter2").exits(2).says("no sealed text");
    world.freehold(&["key", "rotate"]).ok();
    world.secret(&["set", "FROM_GIT", "--sealed"], &sealed).exits(2).says("seal it again");
}

#[test]
fn a_key_that_others_can_read_stops_the_start_with_the_way_out() {
    let Some(mut world) = World::start() else { return };
    assert_eq!(world.terminate(), Some(0));
    let key = world.data().join("keys/secrets.key");
    world.sh(&format!("chmod 644 {}", key.display())).ok();
    let mut up = world.command(FREEHOLD);
    let ended =
        crate::world::Ended::of(up.args(["up", "--listen", "127.0.0.1:7411", "--data"]).arg(world.data()));
    ended.exits(1).says("chmod 600");
    let data = world.data().display().to_string();
    let fixed = world.freehold(&["doctor", "--fix", "--data", &data]).ok();
    assert!(fixed.err.contains("chmod go=") && fixed.out.contains("✓ private files"), "{fixed:#?}");
    world.up(&[]);
    let fixed = world.freehold(&["doctor", "--fix", "--data", &data]).ok();
    assert!(!fixed.err.contains("chmod"), "there was nothing left to mend: {fixed:#?}");
}
