//! How long `freehold up` takes over a large store until it says it is ready, and until a client has
//! its first `status`: 10,000 resources of real apps, a log of a million events.

use super::{deploy::Bench, median, report::Report, shell};
use anyhow::{Context, Result};
use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Instant,
};

const ROUNDS: usize = 5;
const RESOURCES: u64 = 10_000;
const EVENTS: u64 = 1_000_000;
const API: &str = "127.0.0.1:23412";
/// A process without instances: what is measured is the control plane, not containers.
const MANIFEST: &str = "schema = 1\napp = \"grown\"\n[process.web]\nimage = \"nginx:1\"\ncount = 0\n\
                        env = { N = \"0\" }\n[[endpoint]]\nprocess = \"web\"\nlisten = 24000\ntarget = 80\n";
/// Releases of the app that is copied, each with its rollout and receipt.
const RELEASES: usize = 30;

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let bench = Bench::start()?;
    for n in 0..RELEASES {
        let manifest = MANIFEST.replace("\"0\"", &format!("\"{n}\""));
        fs::write(bench.dir().join("freehold.toml"), manifest)?;
        bench.freehold(&["deploy"])?;
    }
    let dir = bench.stop();
    let data = dir.path().join("data");
    let mut grow = Command::new("target/release/examples/grow_store");
    grow.arg(data.join("state.db")).args([RESOURCES.to_string(), EVENTS.to_string()]);
    let grown: serde_json::Value = serde_json::from_str(&shell::run(&mut grow)?)?;
    let size = fs::metadata(data.join("state.db"))?.len() >> 20;

    let (mut ready, mut answered) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut command = Command::new("target/release/freehold");
        command.args(["up", "--json", "--listen", API, "--data"]).arg(&data);
        command.env("FREEHOLD_HOME", dir.path().join("home"));
        let mut up = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut said = BufReader::new(up.stdout.take().context("a pipe")?);
        said.read_line(&mut String::new())?;
        ready.push(start.elapsed().as_secs_f64());
        let mut status = Command::new("target/release/freehold");
        shell::run(status.args(["status", "--json"]).env("FREEHOLD_HOME", dir.path().join("home")))?;
        answered.push(start.elapsed().as_secs_f64());
        shell::run(Command::new("kill").arg(up.id().to_string()))?;
        up.wait()?;
    }
    report.section(
        "Start over a large store",
        &format!(
            "`freehold up` over {} resources and {} events (a database of {size} MiB): until it says it is ready, and until `freehold status` has \
             printed every app; median of {ROUNDS}.",
            grown["resources"], grown["events"]
        ),
        &["", "median", "slowest"],
    );
    for (what, times) in [("ready", ready), ("first `freehold status`", answered)] {
        let slowest = times.iter().copied().fold(0.0, f64::max);
        report.row(vec![what.into(), format!("{:.2} s", median(times)), format!("{slowest:.2} s")]);
    }
    Ok(())
}
