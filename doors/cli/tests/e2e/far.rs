//! A node on another machine: a network namespace of its own, a veth to the first, a process of its own.

use crate::world::{Ended, FREEHOLD, World, eventually, wait_for};
use serde_json::Value;
use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

const DOOR: &str = "10.77.0.1:7412";

const MANIFEST: &str = r#"
schema = 1
app = "wide"

[process.web]
image = "wide:1"
command = ["/bin/sh", "-c", "echo version VERSION started; exec /bin/httpd -f -p 8080 -h /www"]
count = 2
memory = "32MiB"
stop_timeout = "1s"
secrets = ["PASSWORD"]
affinity = { apart = ["web"] }
check = { http = "/", port = 8080, every = "200ms", timeout = "2s", grace = "20s" }

[process.one]
image = "wide:1"
memory = "32MiB"
stop_timeout = "1s"
env = { NUMBER = "VERSION" }

[process.two]
image = "wide:1"
memory = "32MiB"
stop_timeout = "1s"
env = { NUMBER = "VERSION" }
affinity = { apart = ["one"] }

[[volume]]
name = "kept-one"
process = "one"
path = "/kept"

[[volume]]
name = "kept-two"
process = "two"
path = "/kept"

[[endpoint]]
process = "web"
listen = 8000
target = 8080
"#;

/// The other machine.
pub(crate) struct Far {
    netns: String,
    pub(crate) data: PathBuf,
    home: PathBuf,
    log: PathBuf,
    run: Option<Child>,
}

impl Far {
    /// Joined to the world's network, and to the house.
    pub(crate) fn joined(world: &World) -> Far {
        let netns = format!("{}-far", world.netns());
        let (data, home, log) = (world.path("far"), world.path("far-home"), world.path("far.log"));
        let far = Far { netns, data, home, log, run: None };
        far.ip(&["netns", "add", &far.netns]);
        let (near, name) = (world.netns(), far.netns.as_str());
        far.ip(&["-n", near, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", name]);
        for (netns, address) in [(near, "10.77.0.1/24"), (name, "10.77.0.2/24")] {
            far.ip(&["-n", netns, "address", "add", address, "dev", "wire"]);
            far.ip(&["-n", netns, "link", "set", "wire", "up"]);
        }
        far.ip(&["-n", name, "link", "set", "lo", "up"]);
        far
    }

    fn ip(&self, args: &[&str]) {
        Ended::of(Command::new("ip").args(args)).ok();
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.netns)).arg("--").arg(program);
        command.env("FREEHOLD_HOME", &self.home).env("NO_COLOR", "1");
        command.env_remove("FREEHOLD_URL").env_remove("FREEHOLD_TOKEN").stdin(Stdio::null());
        command
    }

    pub(crate) fn join(&self, token: &str, urls: &str) {
        let mut command = self.command(FREEHOLD);
        command.args(["node", "join", urls, "--enrol-only", "--name", "far", "--data"]);
        Ended::of(command.arg(&self.data).env("FREEHOLD_TOKEN", token)).ok();
    }

    pub(crate) fn run(&mut self) {
        let log = fs::File::options().create(true).append(true).open(&self.log).unwrap();
        let mut command = self.command(FREEHOLD);
        command.args(["node", "run", "--data"]).arg(&self.data);
        self.run = Some(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    }

    /// `kill -9` of `freehold node run`.
    pub(crate) fn kill(&mut self) {
        let mut run = self.run.take().expect("it runs");
        run.kill().unwrap();
        run.wait().unwrap();
    }

    fn get(&self, url: &str) -> String {
        Ended::of(self.command("curl").args(["-sS", "--max-time", "5", url])).out
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the far node ---\n{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
        if let Some(mut run) = self.run.take() {
            let _ = run.kill();
            let _ = run.wait();
        }
        let _ = Command::new("ip").args(["netns", "delete", &self.netns]).status();
    }
}

pub(crate) fn house() -> Option<(World, Far)> {
    let mut world = World::new()?;
    let mut far = Far::joined(&world);
    // Nodes learn of the range from the control plane.
    world.up(&["--node-listen", DOOR, "--instances-range", "10.99.0.0/16"]);
    let token = world.freehold(&["node", "token", "create"]).ok().out.trim().to_owned();
    world.plant_value(token.split('_').nth(2).expect("a secret"));
    far.join(&token, &format!("https://{DOOR}"));
    far.run();
    wait_ready(&world, true);
    Some((world, far))
}

pub(crate) fn node(world: &World) -> Value {
    let nodes = world.json(&["node", "list"]);
    nodes.as_array().unwrap().iter().find(|it| it["name"] == "far").unwrap().clone()
}

pub(crate) fn ready(node: &Value) -> Option<bool> {
    let conditions = node["status"]["conditions"].as_array()?;
    conditions.iter().find(|it| it["type"] == "Ready")?["state"].as_bool()
}

pub(crate) fn wait_ready(world: &World, wanted: bool) {
    wait_for("the far node's condition", || node(world), |node| ready(node) == Some(wanted));
}

/// The instances that run on the far node, by process.
fn on_far(world: &World) -> Vec<Value> {
    let far = node(world)["id"].clone();
    let all = world.json(&["instance", "list"]);
    let all = all.as_array().unwrap().iter();
    all.filter(|it| it["spec"]["node"] == far && it["spec"]["desired"] == "running").cloned().collect()
}

fn far_web(world: &World) -> Value {
    let all = on_far(world);
    all.iter().find(|it| it["spec"]["process"] == "web").unwrap_or_else(|| panic!("{all:#?}")).clone()
}

fn deploy(world: &World, version: &str) {
    let file = world.write("freehold.toml", &MANIFEST.replace("VERSION", version));
    world.freehold(&["deploy", "-f", &file]).ok();
}

#[test]
fn a_far_node_runs_serves_and_answers_is_adopted_and_outlives_its_link() {
    let Some((world, mut far)) = house() else { return };
    world.push_busybox("wide:1");
    world.plant_value("far-away-hunter2");
    world.freehold_with(&["secret", "set", "PASSWORD", "-a", "wide"], "far-away-hunter2").ok();
    deploy(&world, "1");

    // Two instances of three processes are there: a web server, and one of the two with a volume.
    let there = on_far(&world);
    assert_eq!(there.len(), 2, "{there:#?}");
    let web = far_web(&world)["id"].as_str().unwrap().to_owned();
    let keeper = there.iter().find(|it| it["spec"]["process"] != "web").unwrap();
    let keeper = keeper["spec"]["process"].as_str().unwrap().to_owned();

    // Its endpoint is open there, and the first machine's reaches it as well.
    wait_for("the far endpoint", || far.get("http://10.77.0.2:8000/"), |body| body == "hello\n");
    assert_eq!(world.get("http://127.0.0.1:8000/"), "hello\n");

    // Its logs are read beside those of the first machine; a command runs inside, a secret is there.
    let logs = || world.freehold(&["logs", "-a", "wide", "-p", "web"]).ok().out;
    let lines = wait_for("both lines", logs, |text| text.matches("version 1 started").count() == 2);
    assert!(lines.contains("version 1 started"));
    let last = world.freehold(&["logs", "-a", "wide", "-p", "web", "--tail", "1"]).ok().out;
    assert_eq!(last.lines().count(), 1, "{last}");
    let exec = |args: &[&str]| {
        world.freehold(&[&["exec", "--instance", &web, "--", "/bin/sh", "-c"], args].concat())
    };
    assert_eq!(exec(&["echo ${#PASSWORD}; exit 3"]).exits(3).out, "16\n");
    let fed = world.freehold_with(&["exec", "-i", "--instance", &web, "--", "/bin/cat"], "through and back");
    assert_eq!(fed.ok().out, "through and back");
    let inside =
        |line: &str| world.freehold(&["exec", "-a", "wide", "-p", &keeper, "--", "/bin/sh", "-c", line]);
    inside("echo kept > /kept/file").ok();

    let address = far_web(&world)["spec"]["address"].as_str().unwrap().to_owned();
    assert!(address.starts_with("10.99."), "{address}");

    // What others take away there is put back there, and told here.
    assert!(far.command("nft").args(["flush", "ruleset"]).status().unwrap().success());
    assert!(far.command("ip").args(["route", "del", &address]).status().unwrap().success());
    let healed = || {
        let all = world.json(&["events", "--last", "1000"]);
        let of = |it: &&Value| it["what"] == "node.healed" && it["subject"] == node(&world)["id"];
        all.as_array().unwrap().iter().filter(of).cloned().collect::<Vec<_>>()
    };
    let told = |seen: &Vec<Value>| {
        let said = |part: &str| seen.iter().any(|it| it["data"]["message"].as_str().unwrap().contains(part));
        said("table") && said(&address)
    };
    wait_for("both to be put back", healed, told);
    assert_eq!(far.get("http://10.77.0.2:8000/"), "hello\n");

    // A redeploy replaces what is there, and its volume goes on.
    deploy(&world, "2");
    let text = logs();
    assert_eq!(text.matches("version 2 started").count(), 2, "{text}");
    assert_eq!(inside("cat /kept/file; echo $NUMBER").ok().out, "kept\n2\n");
    assert_eq!(on_far(&world).len(), 2);

    // The process dies and comes back: what ran goes on.
    let before = far_web(&world);
    far.kill();
    assert_eq!(far.get("http://10.77.0.2:8000/"), "", "nobody listens");
    far.run();
    wait_for("the far endpoint again", || far.get("http://10.77.0.2:8000/"), |body| body == "hello\n");
    let after = far_web(&world);
    assert_eq!((&before["id"], &before["status"]["started"]), (&after["id"], &after["status"]["started"]));

    // The link is cut: the node is said to be away, and what runs there goes on.
    far.ip(&["-n", &far.netns, "link", "set", "wire", "down"]);
    wait_ready(&world, false);
    world.freehold(&["exec", "--instance", &web_of(&after), "--", "/bin/true"]).exits(1).says("far");
    assert_eq!(far.get("http://127.0.0.1:8000/"), "hello\n", "it serves what it has");
    far.ip(&["-n", &far.netns, "link", "set", "wire", "up"]);
    wait_ready(&world, true);
    let same = || far_web(&world);
    let again = wait_for("its instance", same, |it| it["status"]["phase"] == "running");
    assert_eq!((&before["id"], &before["status"]["started"]), (&again["id"], &again["status"]["started"]));
    assert_eq!(on_far(&world).len(), 2, "nothing is doubled");
    assert!(eventually(Duration::from_secs(20), || {
        let command = ["exec", "--instance", &web_of(&after), "--", "/bin/true"];
        world.freehold(&command).code == 0
    }));
}

fn web_of(instance: &Value) -> String {
    instance["id"].as_str().unwrap().to_owned()
}

/// The old root goes only after the node was seen under the new one: so it was renewed, by the same process.
#[test]
fn a_running_node_follows_a_rotation_of_the_root_by_itself() {
    let Some((world, mut far)) = house() else { return };
    let before = fs::read_to_string(far.data.join("identity/node.pem")).unwrap();
    world.freehold(&["ca", "rotate-root"]).ok();
    let roots = || world.json(&["ca", "status"])["roots"].as_array().map_or(0, Vec::len);
    assert!(eventually(Duration::from_secs(60), || roots() == 1), "{:#}", world.json(&["ca", "status"]));
    assert_ne!(fs::read_to_string(far.data.join("identity/node.pem")).unwrap(), before);
    assert!(far.run.as_mut().unwrap().try_wait().unwrap().is_none(), "it runs on");
    far.kill();
}
