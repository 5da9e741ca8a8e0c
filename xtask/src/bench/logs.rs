//! What a flood of log lines costs: how fast an instance can print, how much processor time its shim takes for
//! it, and whether a line was dropped; beside podman's conmon, which does the same job.

use super::{
    deploy::{Bench, Podman},
    median,
    report::Report,
    shell,
};
use anyhow::{Context, Result};
use std::fs;

const ROUNDS: usize = 5;
/// What a log keeps holds them all, and so every word on what was dropped.
const LINES: u64 = 400_000;
/// Prints the lines, 100 bytes each, and then how long that took in nanoseconds.
const SCRIPT: &str = "a=$(date +%s%N); yes 0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789 \
                      | cut -c 1-99 | head -n 400000; b=$(date +%s%N); echo took $((b-a)); exec sleep 10000";

/// One run of either side.
struct Flood {
    lines_per_second: f64,
    cpu_per_million: f64,
}

pub(crate) fn measure(report: &mut Report, bench: &Bench) -> Result<()> {
    let podman = Podman::prepare()?;
    let (mut ours, mut theirs, mut dropped) = (vec![], vec![], 0);
    for _ in 0..ROUNDS {
        let (flood, lost) = freehold(bench)?;
        ours.push(flood);
        dropped += lost;
        theirs.push(conmon(&podman)?);
    }
    report.section(
        "Log lines",
        &format!(
            "One instance prints {LINES} lines of 100 bytes as fast as it can; by turns, median of {ROUNDS}. Processor time is that \
             of the process that takes the lines and writes the log. Freehold dropped {dropped} lines in all runs together."
        ),
        &["", "lines/s", "CPU s per million lines"],
    );
    for (who, floods) in [("Freehold (shim)", ours), ("podman (conmon, k8s-file)", theirs)] {
        let of = |field: fn(&Flood) -> f64| median(floods.iter().map(field).collect());
        let (rate, cpu) = (of(|flood| flood.lines_per_second), of(|flood| flood.cpu_per_million));
        report.row(vec![who.into(), format!("{rate:.0}"), format!("{cpu:.2}")]);
    }
    Ok(())
}

fn freehold(bench: &Bench) -> Result<(Flood, u64)> {
    bench.write_manifest(&format!(
        "schema = 1\napp = \"bench\"\n[process.web]\nimage = \"nginx:1\"\ncpu = \"2\"\nstop_timeout = \"100ms\"\n\
         command = [\"/bin/sh\", \"-c\", '''{SCRIPT}''']\n"
    ))?;
    bench.freehold(&["deploy"])?;
    let mut said = String::new();
    shell::wait("the last line", || {
        said = bench.freehold(&["logs", "--tail", "1"]).unwrap_or_default();
        said.contains("took")
    })?;
    let flood = flood(&said, bench.shim().context("the shim of the instance")?)?;
    let lost = bench.freehold(&["logs", "--grep", "were (dropped|lost) here"])?;
    let lost =
        lost.lines().filter_map(|line| line.split("| ").nth(1)?.split(' ').next()?.parse::<u64>().ok()).sum();
    bench.freehold(&["app", "delete", "bench", "--yes"])?;
    bench.restore_manifest()?;
    Ok((flood, lost))
}

fn conmon(podman: &Podman) -> Result<Flood> {
    podman.run_script(SCRIPT)?;
    let mut said = String::new();
    shell::wait("the last line", || {
        said = podman.logs_tail().unwrap_or_default();
        said.contains("took")
    })?;
    let flood = flood(&said, podman.conmon()?);
    podman.remove()?;
    flood
}

fn flood(said: &str, taker: u32) -> Result<Flood> {
    let nanos = said
        .rsplit("took ")
        .next()
        .and_then(|text| text.trim().parse::<f64>().ok())
        .context("how long it took")?;
    Ok(Flood {
        lines_per_second: LINES as f64 / (nanos / 1e9),
        cpu_per_million: cpu_seconds(taker)? / (LINES as f64 / 1e6),
    })
}

/// The processor time of a process and its threads (proc_pid_stat(5), fields 14 and 15, in hundredths).
fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(") ").context("stat")?.1.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(ticks as f64 / 100.0)
}
