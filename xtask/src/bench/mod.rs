//! Measures Freehold beside its peers on this machine, side by side in one run, and writes
//! `docs/benchmarks.md`. Figures are medians; nothing here fails because something is slow.

mod commits;
mod deploy;
mod etcd;
mod memory;
mod pull;
mod report;
mod shell;

use crate::workspace;
use anyhow::{Context, Result, ensure};
use std::fs;

/// Runs every comparison, or one; needs root and what `make bench` installs.
pub(crate) fn run(only: Option<&str>) -> Result<()> {
    ensure!(matches!(only, None | Some("pull")), "the comparison that can be run alone is `pull`");
    let (root, _) = workspace::read()?;
    std::env::set_current_dir(&root)?;
    ensure!(
        fs::exists("target/release/freehold")? && fs::exists("target/release/examples/commit_bench")?,
        "run `make bench`, which builds what is measured"
    );
    let mut report = report::Report::default();
    if only == Some("pull") {
        // One comparison alone is printed: the page shows one run of all.
        pull::measure(&mut report)?;
        print!("{}", report.section_text());
        return Ok(());
    }
    commits::measure(&mut report).context("commits")?;
    let bench = deploy::Bench::start().context("starting Freehold")?;
    memory::measure(&mut report, &bench).context("memory")?;
    deploy::measure(&mut report, &bench).context("deploys")?;
    drop(bench);
    pull::measure(&mut report).context("pulls")?;
    let text = report.markdown()?;
    print!("{text}");
    fs::write("docs/benchmarks.md", text).context("docs/benchmarks.md")
}

/// The median; of an even number, the upper of the middle two.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
