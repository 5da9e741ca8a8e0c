//! Durable commits per second beside etcd: one key-value write of 1 KiB each, acknowledged when it is
//! on disk; both on the same file system, one after the other, three times.

use super::{etcd, median, report::Report, shell};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::process::Command;

const ROUNDS: usize = 3;
pub(crate) const SECONDS: u64 = 5;

/// What one run of either side measured.
#[derive(Deserialize)]
pub(crate) struct Measured {
    pub(crate) commits_per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    report.section(
        "Durable commits",
        &format!(
            "1 KiB values, acknowledged when on disk (SQLite `synchronous=FULL`; etcd with its defaults). Each run {SECONDS} s; \
             median of {ROUNDS}. Freehold's commit also writes the resource, its indexes and a hash-chained event. The two \
             are asked as their users ask them: Freehold's store by calls within the process, etcd over gRPC on \
             loopback, so etcd's figures include that way."
        ),
        &["writers", "", "commits/s", "p50", "p99"],
    );
    for writers in [1, 64] {
        let mut ours = vec![];
        let mut theirs = vec![];
        for _ in 0..ROUNDS {
            ours.push(freehold(writers)?);
            theirs.push(etcd::measure(writers, SECONDS)?);
        }
        report.row(row(writers, "Freehold", &ours));
        report.row(row(writers, "etcd", &theirs));
    }
    Ok(())
}

fn freehold(writers: usize) -> Result<Measured> {
    let dir = tempfile::tempdir_in("target")?;
    let mut command = Command::new("target/release/examples/commit_bench");
    command.arg(dir.path()).arg(writers.to_string()).arg(SECONDS.to_string());
    serde_json::from_str(&shell::run(&mut command)?).context("commit_bench's answer")
}

pub(crate) fn row(writers: usize, who: &str, runs: &[Measured]) -> Vec<String> {
    let of = |field: fn(&Measured) -> f64| median(runs.iter().map(field).collect());
    vec![
        writers.to_string(),
        who.to_owned(),
        format!("{:.0}", of(|run| run.commits_per_second)),
        format!("{:.2} ms", of(|run| run.p50_us) / 1000.0),
        format!("{:.2} ms", of(|run| run.p99_us) / 1000.0),
    ]
}
