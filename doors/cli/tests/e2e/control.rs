//! Several control planes on one PostgreSQL: every one answers for all, one leads, and another goes on when it
//! stops, is stopped in its tracks, or dies.

use crate::world::{Ended, FREEHOLD, World, eventually, wait_for};
use freehold_store::testing::Database;
use std::{
    fs,
    path::PathBuf,
    process::{Child, Command},
    time::Duration,
};

/// Generous: a machine that is busy with other tests hands over later than an idle one.
const HAND_OVER: Duration = Duration::from_secs(20);

/// One `freehold control` in the network of a world.
pub(crate) struct Plane {
    folder: PathBuf,
    child: Child,
}

impl Plane {
    fn command(world: &World, name: &str) -> Command {
        let mut command = world.command(FREEHOLD);
        command.env("FREEHOLD_HOME", world.path(name).join("home"));
        command
    }

    /// With the key and the token of the world's own Freehold.
    fn start(world: &World, database: &Database, name: &str, port: u16) -> Plane {
        Plane::start_with(world, database, name, port, &[])
    }

    pub(crate) fn start_with(
        world: &World,
        database: &Database,
        name: &str,
        port: u16,
        more: &[&str],
    ) -> Plane {
        let (folder, data) = (world.path(name), world.path(name).join("data"));
        fs::create_dir_all(data.join("keys")).unwrap();
        for file in ["keys/secrets.key", "token"] {
            // With its mode.
            fs::copy(world.data().join(file), data.join(file)).unwrap();
        }
        let log = fs::File::create(folder.join("log")).unwrap();
        let mut command = Plane::command(world, name);
        command.args(["control", "--store", &database.url(), "--listen", &format!("127.0.0.1:{port}")]);
        command.args(more).arg("--data").arg(&data).stdout(log.try_clone().unwrap()).stderr(log);
        let plane = Plane { folder, child: command.spawn().unwrap() };
        let ready = || plane.freehold(world, &["control", "list"]).code == 0;
        assert!(eventually(Duration::from_secs(30), ready), "it is not ready:\n{}", plane.log());
        plane
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// What it calls itself.
    pub(crate) fn name(&self) -> String {
        let text = fs::read_to_string(self.folder.join("data/control.json")).expect("it has a name");
        let control: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        control["name"].as_str().expect("a name").to_owned()
    }

    /// Runs `freehold ARGS` against it.
    pub(crate) fn freehold(&self, world: &World, args: &[&str]) -> Ended {
        let name = self.folder.file_name().unwrap().to_str().unwrap();
        Ended::of(Plane::command(world, name).args(args))
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of {} ---\n{}", self.folder.display(), self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Who leads the rollouts, by the list of control planes that somebody gives; only one that lives counts.
fn leader(list: &serde_json::Value) -> Option<String> {
    let leads = |it: &&serde_json::Value| {
        it["state"] == "live" && it["leads"].as_array().unwrap().iter().any(|led| led["lease"] == "rollout")
    };
    list["items"].as_array()?.iter().find(leads)?["name"].as_str().map(str::to_owned)
}

fn state_of(world: &World, name: &str) -> String {
    let list = world.json(&["control", "list"]);
    let found = list["items"].as_array().unwrap().iter().find(|it| it["name"] == name).cloned();
    found.map(|it| it["state"].as_str().unwrap().to_owned()).unwrap_or_default()
}

/// Has one of `planes` lead, by giving the world's own Freehold a rest; answers with its place.
fn hand_to_planes(world: &mut World, database: &Database, planes: &[Plane]) -> usize {
    assert_eq!(world.terminate(), Some(0));
    let mut place = None;
    let found = || {
        let list = planes[0].freehold(world, &["control", "list", "--json"]).ok().out;
        let name = leader(&serde_json::from_str(&list).expect("JSON"))?;
        planes.iter().position(|plane| plane.name() == name)
    };
    let led = eventually(HAND_OVER, || {
        place = found();
        place.is_some()
    });
    assert!(led, "none of them leads");
    world.up(&["--store", &database.url()]);
    place.unwrap()
}

fn manifest(round: u32) -> String {
    format!(
        r#"
schema = 1
app = "kept"

[process.web]
image = "busy:1"
env = {{ ROUND = "{round}" }}
count = 2
memory = "32MiB"
stop_timeout = "1s"
check = {{ http = "/", port = 8080, every = "200ms", timeout = "1s", grace = "20s" }}
"#
    )
}

/// Deploys and does not wait; answers with the receipt.
fn deploy(world: &World, round: u32) -> String {
    let file = world.write("freehold.toml", &manifest(round));
    let begun = world.json(&["deploy", "-f", &file, "--detach"]);
    begun["id"].as_str().unwrap_or_else(|| panic!("no receipt: {begun:#}")).to_owned()
}

fn succeeds(world: &World, receipt: &str) {
    world.freehold(&["receipt", receipt, "--wait", "--wait-timeout", "120s"]).ok();
    let healthy = |it: &Vec<serde_json::Value>| it.len() == 2;
    wait_for("two instances, none doubled", || world.instances("kept"), healthy);
}

/// Three control planes: what is written through one is seen by who watches another.
#[test]
fn what_one_control_plane_writes_every_other_shows() {
    let Some(mut world) = World::new() else { return };
    let database = Database::new();
    world.up(&["--store", &database.url()]);
    let planes: Vec<Plane> =
        (0..3).map(|n| Plane::start(&world, &database, &format!("plane-{n}"), 7421 + n)).collect();
    let mut watchers = vec![];
    for (n, _) in planes.iter().enumerate() {
        let seen = world.path(&format!("seen-{n}"));
        let mut command = Plane::command(&world, &format!("plane-{n}"));
        command.args(["events", "--follow"]).stdout(fs::File::create(&seen).unwrap());
        watchers.push((command.spawn().unwrap(), seen));
    }
    for (n, plane) in planes.iter().enumerate() {
        let secret = format!("KEY_{n}");
        let args = ["secret", "set", &secret, "-a", "shop"];
        let name = format!("plane-{n}");
        Ended::of_fed(Plane::command(&world, &name).args(args), "a value").ok();
        let listed = || {
            planes
                .iter()
                .all(|it| it.freehold(&world, &["secret", "list", "-a", "shop"]).out.contains(&secret))
        };
        assert!(eventually(HAND_OVER, listed), "{secret} is not seen everywhere");
        assert!(plane.freehold(&world, &["status"]).code == 0);
    }
    for (mut watcher, seen) in watchers {
        let all =
            || (0..3).all(|n| fs::read_to_string(&seen).unwrap_or_default().contains(&format!("KEY_{n}")));
        let saw = eventually(HAND_OVER, all);
        let _ = watcher.kill();
        let _ = watcher.wait();
        assert!(saw, "{}", fs::read_to_string(&seen).unwrap_or_default());
    }
    let list = planes[2].freehold(&world, &["control", "list"]).ok().out;
    assert_eq!(list.matches(" live ").count(), 4, "{list}");
    assert_eq!(list.matches("rollout (since").count(), 1, "{list}");
    world.freehold(&["key", "rotate"]).exits(5).says("needs the other control planes stopped");
    // Nobody exports or imports behind the back of control planes, though no `up` is left.
    assert_eq!(world.terminate(), Some(0));
    let url = database.url();
    world.freehold(&["state", "export", "--store", &url]).exits(2).says("is in use by process");
    let file = world.write("inventory.json", r#"{ "format": 1 }"#);
    world.freehold(&["state", "import", &file, "--store", &url]).exits(2).says("is in use by process");
    drop(planes);
    world.freehold(&["state", "export", "--store", &url]).ok().says("nodes");
}

/// The leader is stopped in its tracks in the middle of a deploy, then another is killed: each deploy comes
/// to its verdict, once, and who wakes up changes nothing.
#[test]
fn a_leader_that_stops_or_dies_is_replaced() {
    let Some(mut world) = World::new() else { return };
    let database = Database::new();
    world.up(&["--store", &database.url()]);
    world.push_busybox("busy:1");
    let mut planes: Vec<Plane> =
        (0..2).map(|n| Plane::start(&world, &database, &format!("plane-{n}"), 7421 + n)).collect();

    let stopped = hand_to_planes(&mut world, &database, &planes);
    let name = planes[stopped].name();
    let receipt = deploy(&world, 1);
    planes[stopped].signal(rustix::process::Signal::STOP);
    assert!(
        eventually(HAND_OVER, || leader(&world.json(&["control", "list"]))
            .is_some_and(|leader| leader != name)),
        "nobody took over: {:#}",
        world.json(&["control", "list"])
    );
    succeeds(&world, &receipt);
    assert_eq!(state_of(&world, &name), "silent");
    planes[stopped].signal(rustix::process::Signal::CONT);
    wait_for("it to be back", || state_of(&world, &name), |state| state == "live");
    assert_ne!(
        leader(&world.json(&["control", "list"])),
        Some(name),
        "a lease that was lost is not had back while its holder lives"
    );
    succeeds(&world, &receipt);

    let killed = hand_to_planes(&mut world, &database, &planes);
    let receipt = deploy(&world, 2);
    drop(planes.remove(killed));
    succeeds(&world, &receipt);
    let receipts = world.json(&["receipt", "list", "-a", "kept"]);
    let receipts = receipts.as_array().unwrap();
    assert_eq!(receipts.len(), 2);
    assert!(receipts.iter().all(|it| it["status"]["verdict"] == "succeeded"), "{receipts:#?}");

    let file = world.path("freehold.toml");
    let refused = planes[0].freehold(&world, &["deploy", "-f", file.to_str().unwrap()]);
    refused.exits(4).says("Images lie with the control plane that they were pushed to");
    let instance = world.instances("kept")[0]["id"].as_str().unwrap().to_owned();
    let refused = planes[0].freehold(&world, &["exec", "-a", "kept", "--instance", &instance, "--", "true"]);
    refused.says("is not connected to this control plane");
    world.freehold(&["app", "delete", "kept", "-y"]).ok();
    wait_for("every trace to vanish", || world.traces(), |traces| traces.is_empty());
}

/// Another root key, a directory in use, and none of the house's keys: refused with what to do.
#[test]
fn a_control_plane_that_does_not_belong_is_refused() {
    let Some(mut world) = World::new() else { return };
    let database = Database::new();
    world.up(&["--store", &database.url()]);
    let data = world.path("stranger");
    let start = |data: &std::path::Path| {
        world.freehold(&[
            "control",
            "--store",
            &database.url(),
            "--listen",
            "127.0.0.1:7421",
            "--data",
            data.to_str().unwrap(),
        ])
    };
    start(&data).exits(1).says("copy keys/secrets.key");
    assert!(!data.join("keys/secrets.key").exists(), "no key is made beside the house's");
    fs::create_dir_all(data.join("keys")).unwrap();
    // As a house of its own makes it.
    let mut lone = World::new().expect("a machine");
    lone.up(&[]);
    fs::copy(lone.data().join("keys/secrets.key"), data.join("keys/secrets.key")).unwrap();
    start(&data).exits(1).says("the house's root key is").says("copy keys/secrets.key");
    start(&world.data()).exits(1).says("in use by another Freehold");
}
