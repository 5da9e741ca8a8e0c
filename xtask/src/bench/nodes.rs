//! A control plane that a thousand nodes beat to: its processor time, its memory, what it commits.

use super::{memory, report::Report, shell};
use anyhow::{Context, Result};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const NODES: u32 = 1000;
const SECONDS: u64 = 60;
const API: &str = "127.0.0.1:23412";
const DOOR: &str = "127.0.0.1:23413";

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    shell::build("freehold-daemon", "many_nodes")?;
    let dir = tempfile::tempdir_in(fs::canonicalize("target")?)?;
    let (data, home) = (dir.path().join("data"), dir.path().join("home"));
    let mut command = Command::new("target/release/freehold");
    command.args(["control", "--listen", API, "--node-listen", DOOR, "--data"]).arg(&data);
    command.env("FREEHOLD_HOME", &home).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let control = Ends(command.spawn()?);
    shell::wait("freehold control", || {
        let mut list = Command::new("target/release/freehold");
        list.args(["control", "list"])
            .env("FREEHOLD_HOME", &home)
            .output()
            .is_ok_and(|it| it.status.success())
    })?;
    let token = fs::read_to_string(data.join("token"))?;
    let mut command = Command::new("target/release/examples/many_nodes");
    command.args([&format!("http://{API}"), &format!("https://{DOOR}"), &NODES.to_string()]);
    command.env("FREEHOLD_TOKEN", token.trim()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let start = Instant::now();
    let mut nodes = Ends(command.spawn()?);
    let mut said = String::new();
    BufReader::new(nodes.0.stdout.take().context("a pipe")?).read_line(&mut said)?;
    anyhow::ensure!(said.trim() == "ready", "many_nodes ended");
    let joined = start.elapsed();
    // What follows from joining settles: what was changed is read by all.
    std::thread::sleep(Duration::from_secs(15));

    let pid = control.0.id();
    let (cpu, events) = (cpu(pid)?, newest_event(&home)?);
    std::thread::sleep(Duration::from_secs(SECONDS));
    let cpu = (self::cpu(pid)? - cpu) / SECONDS as f64;
    let commits = newest_event(&home)? - events;
    let (pss, rss) = memory::of(pid)?;
    report.section(
        "A thousand nodes",
        &format!(
            "`freehold control` on SQLite with {NODES} nodes, each over mutual TLS with a heartbeat every 5 s, an \
             open request for calls and changes, and questions about its certificate, for {SECONDS} s; the nodes are one \
             process with the node's own code (`many_nodes`). All had joined and registered after {:.0} s. K3s publishes for \
             a server with one node and a workload: 6 % of a core, 1,596 MB.",
            joined.as_secs_f64()
        ),
        &["", "measured", "aim"],
    );
    let row = |what: &str, measured: String, aim: &str| vec![what.into(), measured, aim.into()];
    report.row(row("processor", format!("{:.1} % of a core", cpu * 100.0), "≤ 25 %"));
    report.row(row("memory, PSS", memory::mib(pss), "≤ 150 MiB"));
    report.row(row("memory, RSS", memory::mib(rss), "–"));
    report.row(row("commits", format!("{:.2}/s", commits as f64 / SECONDS as f64), "heartbeats are none"));
    Ok(())
}

/// A process that ends along with this.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The sequence number of the newest event.
fn newest_event(home: &Path) -> Result<u64> {
    let mut events = Command::new("target/release/freehold");
    let events = shell::run(events.args(["events", "--last", "1", "--json"]).env("FREEHOLD_HOME", home))?;
    let events: serde_json::Value = serde_json::from_str(&events)?;
    events[0]["seq"].as_u64().context("an event")
}

/// Seconds of processor time of a process so far.
fn cpu(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // After the name, which ends with a bracket: utime and stime are the 12th and 13th.
    let after = stat.rsplit_once(')').context("stat")?.1;
    let ticks = after.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<f64>());
    // A tick of these is a hundredth of a second, whatever the kernel's own are (proc(5), USER_HZ).
    Ok(ticks.sum::<Result<f64, _>>()? / 100.0)
}
