//! Memory of `freehold up` when nothing runs: proportional set size, which counts shared pages once.

use super::{deploy::Bench, report::Report};
use anyhow::{Context, Result};
use std::fs;

pub(crate) fn measure(report: &mut Report, bench: &Bench) -> Result<()> {
    // What the start allocated settles.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let smaps = fs::read_to_string(format!("/proc/{}/smaps_rollup", bench.pid()))?;
    let mib = |field: &str| -> Result<String> {
        let line = smaps.lines().find(|line| line.starts_with(field)).context("smaps_rollup")?;
        let kib: f64 = line.split_whitespace().nth(1).context("smaps_rollup")?.parse()?;
        Ok(format!("{:.1} MiB", kib / 1024.0))
    };
    report.section(
        "Memory",
        "`freehold up`, idle, one image of 140 MB in its registry.",
        &["", "PSS", "RSS"],
    );
    report.row(vec!["control, node and edge, one process".into(), mib("Pss:")?, mib("Rss:")?]);
    Ok(())
}
