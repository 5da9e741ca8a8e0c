//! From the death of the control plane that leads to the next decision, on PostgreSQL: how long a deploy has
//! to wait that comes at that moment.

use super::{deploy::Bench, median, postgres, report::Report, shell};
use anyhow::{Context, Result};
use serde_json::Value;
use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

const ROUNDS: usize = 20;

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let server = postgres::Server::start()?;
    let url = server.database("leader")?;
    // It has the node and serves the deploys; the others lead.
    let mut bench = Bench::start_on(Some(&url))?;
    let mut planes = [Plane::start(&bench, &url, 23414)?, Plane::start(&bench, &url, 23415)?];
    let mut took = vec![];
    for round in 0..ROUNDS {
        let manifest = format!(
            "schema = 1\napp = \"bench\"\n[process.web]\nimage = \"nginx:1\"\nenv = {{ ROUND = \"{round}\" }}\n\
             check = {{ http = \"/\", port = 80 }}\n"
        );
        bench.write_manifest(&manifest)?;
        let led = loop {
            let name = leader(&bench)?;
            match planes.iter().position(|plane| Some(plane.name()) == name) {
                Some(led) => break led,
                None if name.is_some() => bench.restart()?,
                None => std::thread::sleep(std::time::Duration::from_millis(50)),
            }
        };
        let killed = now();
        planes[led].kill();
        bench.freehold(&["deploy"])?;
        took.push(decided(&bench, killed)? - killed);
        planes[led] = Plane::start(&bench, &url, planes[led].port)?;
    }
    report.section(
        "The leader is lost",
        &format!(
            "Three control planes on one PostgreSQL; the one that leads the rollouts is killed with SIGKILL and an app is \
             deployed through another at once. From the signal to the first decision of the new leader: the commit of \
             the new instance. {ROUNDS} leaders killed."
        ),
        &["", "median", "slowest", "aim"],
    );
    let slowest = took.iter().copied().fold(0.0, f64::max);
    let shown = |seconds: f64| format!("{seconds:.2} s");
    report.row(vec!["killed to decided".into(), shown(median(took)), shown(slowest), "≤ 5 s".into()]);
    Ok(())
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Which control plane leads the rollouts.
fn leader(bench: &Bench) -> Result<Option<String>> {
    let list: Value = serde_json::from_str(&bench.freehold(&["control", "list", "--json"])?)?;
    let leads = |it: &&Value| {
        it["state"] == "live"
            && it["leads"].as_array().is_some_and(|all| all.iter().any(|led| led["lease"] == "rollout"))
    };
    let found = list["items"].as_array().context("control planes")?.iter().find(leads);
    Ok(found.and_then(|it| it["name"].as_str()).map(str::to_owned))
}

/// When the first instance was made after `killed`.
fn decided(bench: &Bench, killed: f64) -> Result<f64> {
    let events: Vec<Value> = serde_json::from_str(&bench.freehold(&["events", "--last", "200", "--json"])?)?;
    let mut made = vec![];
    for event in events.iter().filter(|event| event["what"] == "instance.created") {
        let time: jiff::Timestamp = event["time"].as_str().context("a time")?.parse()?;
        made.push(time.as_duration().as_secs_f64());
    }
    made.retain(|time| *time >= killed);
    made.into_iter().min_by(f64::total_cmp).context("no instance was made")
}

/// One `freehold control`.
struct Plane {
    child: Child,
    port: u16,
    data: PathBuf,
}

impl Plane {
    /// With the key and the token of the first.
    fn start(bench: &Bench, url: &str, port: u16) -> Result<Plane> {
        let folder = bench.dir().join(format!("plane-{port}"));
        let data = folder.join("data");
        fs::create_dir_all(data.join("keys"))?;
        for file in ["keys/secrets.key", "token"] {
            fs::copy(bench.dir().join("data").join(file), data.join(file))?;
        }
        let mut command = Command::new("target/release/freehold");
        command.args(["control", "--store", url, "--listen", &format!("127.0.0.1:{port}"), "--data"]);
        command.arg(&data).env("FREEHOLD_HOME", folder.join("home"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let plane = Plane { child, port, data };
        shell::wait("freehold control", || {
            let name = plane.name();
            let list = bench.freehold(&["control", "list", "--json"]).unwrap_or_default();
            let list: Value = serde_json::from_str(&list).unwrap_or_default();
            let lives = |it: &Value| it["name"] == name && it["state"] == "live";
            list["items"].as_array().is_some_and(|all| all.iter().any(lives))
        })?;
        Ok(plane)
    }

    /// What it calls itself; nothing before it has a name.
    fn name(&self) -> String {
        let text = fs::read_to_string(self.data.join("control.json")).unwrap_or_default();
        let about: Value = serde_json::from_str(&text).unwrap_or_default();
        about["name"].as_str().unwrap_or_default().to_owned()
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.kill();
    }
}
