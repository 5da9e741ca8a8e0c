//! A house of many hosts under random faults: control planes on one PostgreSQL, nodes, instances; processes
//! killed and paused, lines cut in one direction or both, the database killed, clocks wrong by an hour, a disk
//! full. Afterwards nothing that was acknowledged is lost, and the house is quiet and right.
//!
//! `FREEHOLD_LAB_SECONDS=600 FREEHOLD_LAB_NODES=5 FREEHOLD_LAB_INSTANCES=40 FREEHOLD_SEED=7` makes it longer,
//! larger, and another one. The seed is printed.

use crate::world::{FREEHOLD, workspace};
use freehold_lab::{Host, Lab, Line, Runs, eventually};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How long the house may take to be right after the last fault. The 60 s are for a machine that does
/// nothing else.
const SETTLES: Duration = Duration::from_secs(180);
const CONTROLS: [&str; 3] = ["c1", "c2", "c3"];

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Evenly, from a seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) % sides as u64) as usize
    }

    fn of<'a>(&mut self, all: &'a [String]) -> &'a str {
        &all[self.below(all.len())]
    }
}

struct House {
    lab: Lab,
    postgres: PathBuf,
    nodes: Vec<String>,
    token: String,
    dir: tempfile::TempDir,
    instances: u64,
}

impl House {
    fn new(nodes: usize, instances: u64, seed: u64) -> Option<House> {
        if let Some(lack) = freehold_lab::lack() {
            eprintln!("SKIPPED: no laboratory here: {lack}");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let nodes: Vec<String> = (1..=nodes).map(|n| format!("n{n}")).collect();
        let names = ["db"].into_iter().chain(CONTROLS).chain(nodes.iter().map(String::as_str));
        let lab = Lab::new(dir.path(), &names.collect::<Vec<_>>(), seed).unwrap();
        let postgres = dir.path().join("postgres");
        let mut house = House { lab, postgres, nodes, token: String::new(), dir, instances };
        house.found();
        Some(house)
    }

    /// Database, control planes, nodes.
    fn found(&mut self) {
        for host in self.lab.hosts() {
            // There from the start, so that what is started can be told another time.
            host.set_clock(0).unwrap();
        }
        self.database("own");
        let create = self
            .host("db")
            .command("psql")
            .args(["-q", "-U", "freehold", "-d", "postgres", "-h"])
            .arg(&self.postgres)
            .args(["-c", "CREATE DATABASE freehold"])
            .output()
            .unwrap();
        assert!(create.status.success(), "{create:?}");
        self.start("c1");
        self.eventually("c1 is ready", |house| house.is_ready("c1"));
        self.token = fs::read_to_string(self.host("c1").data().join("token")).unwrap().trim().to_owned();
        for other in ["c2", "c3"] {
            let (from, to) = (self.host("c1").data(), self.host(other).data());
            fs::create_dir_all(to.join("keys")).unwrap();
            for file in ["keys/secrets.key", "token"] {
                fs::copy(from.join(file), to.join(file)).unwrap();
            }
            self.start(other);
        }
        self.eventually("c2 and c3 are ready", |house| house.is_ready("c2") && house.is_ready("c3"));
        for node in self.nodes.clone() {
            let made = self.json("c1", &["node", "token", "create"]);
            let token = made["token"].as_str().expect("a token").to_owned();
            let host = self.host(&node);
            let mut join = host.command(FREEHOLD);
            let door = format!("https://{}:7118", self.host("c1").address());
            join.args(["node", "join", &door, "--enrol-only", "--name", &node, "--data"]).arg(host.data());
            let joined = join.env("FREEHOLD_TOKEN", token).output().unwrap();
            assert!(joined.status.success(), "{joined:?}");
            self.start(&node);
        }
        self.eventually("every node is ready", |house| house.ready_nodes() == house.nodes.len());
        self.eventually("every control plane hears every node", |house| {
            house.nodes.iter().all(|node| house.heard_by(node) == CONTROLS.len())
        });
        self.push_image();
    }

    fn host(&self, name: &str) -> &Host {
        self.lab.host(name).unwrap()
    }

    /// Has the script do something with the database, on its host.
    fn database(&self, verb: &str) {
        let host = self.host("db");
        let mut command = host.command(workspace().join("scripts/test-postgres.sh"));
        command.arg(verb).arg(&self.postgres);
        command.env_remove("LD_PRELOAD").env("FREEHOLD_TEST_POSTGRES_LISTEN", host.address().to_string());
        let done = command.output().unwrap();
        assert!(done.status.success(), "{verb}: {done:?}");
    }

    fn start(&self, name: &str) {
        let host = self.host(name);
        let (data, ip) = (host.data().display().to_string(), host.address());
        let store = format!("postgres://freehold@{}/freehold", self.host("db").address());
        let (listen, door) = (format!("{ip}:7117"), format!("{ip}:7118"));
        let args = match CONTROLS.contains(&name) {
            true => vec![
                "control",
                "--store",
                &store,
                "--listen",
                &listen,
                "--node-listen",
                &door,
                "--data",
                &data,
            ],
            false => vec!["node", "run", "--data", &data],
        };
        host.start(Path::new(FREEHOLD), &args).unwrap();
    }

    /// What a command prints, asked of one control plane; `None` if it failed.
    fn ask(&self, control: &str, args: &[&str]) -> Result<Value, String> {
        let host = self.host(control);
        let mut command = host.command("timeout");
        command.args(["30", FREEHOLD, "--json"]).args(args);
        command.env("FREEHOLD_URL", format!("http://{}:7117", host.address()));
        let output = command.env("FREEHOLD_TOKEN", &self.token).output().unwrap();
        match output.status.success() {
            true => serde_json::from_slice(&output.stdout).map_err(|error| error.to_string()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    fn json(&self, control: &str, args: &[&str]) -> Value {
        self.ask(control, args).unwrap_or_else(|error| panic!("{args:?}: {error}\n{}", self.logs()))
    }

    fn is_ready(&self, control: &str) -> bool {
        self.ask(control, &["status"]).is_ok()
    }

    fn ready_nodes(&self) -> usize {
        let nodes = self.ask("c1", &["node", "list"]).unwrap_or_default();
        let ready = |node: &&Value| {
            let conditions = node["status"]["conditions"].as_array();
            conditions.is_some_and(|all| all.iter().any(|it| it["type"] == "Ready" && it["state"] == true))
        };
        nodes.as_array().map_or(0, |all| all.iter().filter(ready).count())
    }

    fn push_image(&self) {
        let folder = self.dir.path().join("busybox");
        fs::create_dir_all(folder.join("bin")).unwrap();
        fs::copy("/bin/busybox", folder.join("bin/busybox")).expect("busybox-static is installed");
        std::os::unix::fs::symlink("busybox", folder.join("bin/sleep")).unwrap();
        let built = self.ask("c1", &["image", "build", folder.to_str().unwrap(), "-t", "still:1"]);
        built.expect("the image is built");
    }

    /// How many control planes hear a node.
    fn heard_by(&self, name: &str) -> usize {
        let nodes = self.ask("c1", &["node", "list"]).unwrap_or_default();
        let node = nodes.as_array().and_then(|all| all.iter().find(|node| node["name"] == name).cloned());
        node.and_then(|node| node["status"]["heard_by"].as_array().map(Vec::len)).unwrap_or_default()
    }

    /// Deploys the n-th version through one of the control planes, c1 of which has the image; its receipt, if it
    /// was acknowledged.
    fn deploy(&self, control: &str, version: u64) -> Option<String> {
        let manifest = format!(
            "schema = 1\napp = \"still\"\n\n[process.still]\nimage = \"still:1\"\ncommand = [\"/bin/sleep\", \"100000\"]\n\
             env = {{ VERSION = \"{version}\" }}\ncount = {}\nmemory = \"16MiB\"\nstop_timeout = \"1s\"\nlost_after = \"20s\"\nspread = [\"host\"]\n",
            self.instances
        );
        let file = self.dir.path().join("freehold.toml");
        fs::write(&file, manifest).unwrap();
        let answer = self.ask(control, &["deploy", "-f", file.to_str().unwrap(), "--detach"]).ok()?;
        let id = answer["id"].as_str().or(answer["receipt"].as_str());
        Some(id.unwrap_or_else(|| panic!("no receipt in {answer:#}")).to_owned())
    }

    /// Breaks something, for a while.
    fn hurt(&self, dice: &mut Dice) -> String {
        let controls: Vec<String> = CONTROLS.map(str::to_owned).into();
        let all: Vec<String> = controls.iter().chain(&self.nodes).cloned().collect();
        let moment = Duration::from_millis(500 + 500 * dice.below(10) as u64);
        match dice.below(8) {
            0 => {
                let name = dice.of(&all);
                let _ = self.host(name).kill();
                std::thread::sleep(moment);
                self.start(name);
                format!("{name} was killed for {moment:?}")
            }
            1 => {
                let name = dice.of(&controls);
                let _ = self.host(name).pause();
                std::thread::sleep(moment);
                let _ = self.host(name).resume();
                format!("{name} was paused for {moment:?}")
            }
            2 => {
                let name = dice.of(&controls);
                self.lab.part(name, "db").unwrap();
                std::thread::sleep(moment);
                self.lab.heal();
                format!("{name} was without the database for {moment:?}")
            }
            3 => {
                let node = dice.of(&self.nodes);
                let there = dice.below(2) == 0;
                let control = dice.of(&controls);
                let (from, to) = if there { (node, control) } else { (control, node) };
                self.lab.set(from, to, Line::cut()).unwrap();
                std::thread::sleep(moment);
                self.lab.heal();
                format!("nothing came from {from} to {to} for {moment:?}")
            }
            4 => {
                self.database("kill");
                std::thread::sleep(moment / 4);
                self.database("again");
                "the database was killed".into()
            }
            5 => {
                let (name, seconds) = (dice.of(&all), if dice.below(2) == 0 { 3600 } else { -3600 });
                self.host(name).set_clock(seconds).unwrap();
                std::thread::sleep(moment);
                format!("the clock of {name} is off by {seconds} s")
            }
            6 => {
                let name = dice.of(&self.nodes);
                self.host(name).fill().unwrap();
                std::thread::sleep(moment);
                self.host(name).free().unwrap();
                format!("the disk of {name} was full for {moment:?}")
            }
            _ => {
                let (from, to) = (dice.of(&all), dice.of(&all));
                let slow = "delay=80ms,loss=20%,duplicate=20%".parse().unwrap();
                self.lab.set(from, to, slow).unwrap();
                std::thread::sleep(moment);
                self.lab.heal();
                format!("the line from {from} to {to} was bad for {moment:?}")
            }
        }
    }

    /// Makes everything whole.
    fn mend(&self) {
        self.lab.heal();
        for host in self.lab.hosts().filter(|host| host.name() != "db") {
            host.free().unwrap();
            host.set_clock(0).unwrap();
            match host.runs() {
                Runs::No => self.start(host.name()),
                Runs::Paused => host.resume().unwrap(),
                Runs::Yes => {}
            }
        }
    }

    /// What keeps the house from being as it should be.
    fn wrong(&self, receipts: &BTreeMap<u64, String>) -> Option<String> {
        let known = match self.ask("c2", &["receipt", "list", "-a", "still", "--limit", "1000"]) {
            Ok(known) => known,
            Err(error) => return Some(format!("c2 does not answer: {error}")),
        };
        let known = known.as_array().cloned().unwrap_or_default();
        for (version, id) in receipts {
            let found = known.iter().find(|receipt| receipt["id"] == id.as_str());
            let Some(found) = found else {
                return Some(format!("receipt {id} of version {version} is lost"));
            };
            if found["status"]["verdict"].is_null() {
                return Some(format!("receipt {id} has no verdict: {}", found["status"]));
            }
        }
        let running = self.running();
        let count: u64 = running.values().sum();
        if count != self.instances {
            return Some(format!("{count} instances run instead of {}: {running:?}", self.instances));
        }
        let ready = self.ready_nodes();
        if ready != self.nodes.len() {
            return Some(format!("{ready} nodes are ready of {}", self.nodes.len()));
        }
        let status = self.ask("c3", &["status", "-a", "still"]).unwrap_or_default();
        let healthy = status[0]["instances"].as_array().map_or(0, |all| {
            all.iter().filter(|it| it["phase"] == "running" && it["desired"] != "stopped").count()
        });
        (healthy as u64 != self.instances).then(|| format!("{healthy} are known to run: {status:#}"))
    }

    /// How many instances run on each node: shims, whatever the store says.
    fn running(&self) -> BTreeMap<&str, u64> {
        let lines: Vec<Vec<u8>> = fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
            .collect();
        let of = |node: &str| {
            let needle = format!("{}/instances/", self.host(node).data().display());
            let ours = |line: &&Vec<u8>| String::from_utf8_lossy(line).contains(&needle);
            lines.iter().filter(ours).count() as u64
        };
        self.nodes.iter().map(|node| (node.as_str(), of(node))).collect()
    }

    fn eventually(&self, what: &str, condition: impl Fn(&House) -> bool) {
        assert!(eventually(SETTLES, || condition(self)), "{what}: not after {SETTLES:?}\n{}", self.logs());
    }

    /// The last lines of everybody's log.
    fn logs(&self) -> String {
        let tail = |host: &Host| {
            let log = host.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(25)..].join("\n");
            format!("--- {} ---\n{last}\n", host.name())
        };
        self.lab.hosts().map(tail).collect()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let mut command = self.host("db").command(workspace().join("scripts/test-postgres.sh"));
        let _ = command.arg("stop").arg(&self.postgres).status();
    }
}

#[test]
fn a_house_of_many_hosts_survives_whatever_goes_wrong() {
    let seed = setting("FREEHOLD_SEED", 1);
    let (nodes, instances) = (setting("FREEHOLD_LAB_NODES", 3), setting("FREEHOLD_LAB_INSTANCES", 12));
    let Some(house) = House::new(nodes as usize, instances, seed) else { return };
    let mut receipts = BTreeMap::new();
    receipts.insert(0, house.deploy("c1", 0).expect("the first deploy is accepted"));
    house.eventually("the first deploy is done", |house| house.wrong(&receipts).is_none());

    // A node that is cut from the control plane by which it joined goes on with the others, and is not lost.
    house.lab.part("n1", "c1").unwrap();
    house.eventually("c1 hears it no more", |house| house.heard_by("n1") == CONTROLS.len() - 1);
    receipts.insert(1, house.deploy("c1", 1).expect("it is accepted"));
    house.eventually("it is told of by the others", |house| house.wrong(&receipts).is_none());
    let events = house.json("c2", &["events", "--last", "1000"]);
    let lost = events.as_array().unwrap().iter().filter(|event| event["what"] == "node.lost").count();
    assert_eq!(lost, 0, "{}", house.logs());
    house.lab.heal();

    let (mut dice, mut told) = (Dice(seed), vec![]);
    let end = Instant::now() + Duration::from_secs(setting("FREEHOLD_LAB_SECONDS", 40));
    let mut version = 1;
    while Instant::now() < end {
        told.push(house.hurt(&mut dice));
        version += 1;
        let control = CONTROLS[dice.below(CONTROLS.len())];
        if let Some(receipt) = house.deploy(control, version) {
            receipts.insert(version, receipt);
        }
    }
    house.mend();
    let faults = format!(
        "seed {seed}, {} of {} deploys acknowledged:\n{}",
        receipts.len(),
        version + 1,
        told.join("\n")
    );
    println!("{faults}");
    let mut wrong = None;
    let right = eventually(SETTLES, || {
        wrong = house.wrong(&receipts);
        wrong.is_none()
    });
    assert!(right, "{}\n{faults}\n{}", wrong.unwrap_or_default(), house.logs());
    house.json("c3", &["audit", "verify"]);
}
