//! Measures Freehold beside its peers on this machine, side by side in one run, and writes
//! `docs/benchmarks.md`. Figures are medians; nothing here fails because something is slow.

mod commits;
mod deploy;
mod enrol;
mod etcd;
mod exec;
mod leader;
mod logs;
mod memory;
mod nodes;
mod placement;
mod postgres;
mod proxy;
mod pull;
mod report;
mod shell;
mod start;
mod watch;

pub(crate) use proxy::load::run as load;

use crate::workspace;
use anyhow::{Context, Result, ensure};
use std::fs;

/// Runs the comparisons that are named, or every one; needs root and what `make bench` installs. Of the page
/// before, what was not measured is kept.
pub(crate) fn run(names: &[String]) -> Result<()> {
    const NAMES: [&str; 14] = [
        "commits",
        "postgres",
        "enrol",
        "watch",
        "nodes",
        "leader",
        "memory",
        "deploy",
        "exec",
        "logs",
        "pull",
        "start",
        "proxy",
        "placement",
    ];
    for name in names {
        ensure!(NAMES.contains(&name.as_str()), "there is no bench `{name}`, only {}", NAMES.join(", "));
    }
    let wanted = |name: &str| names.is_empty() || names.iter().any(|other| other == name);
    let (root, _) = workspace::read()?;
    std::env::set_current_dir(&root)?;
    ensure!(
        (["proxy", "postgres", "enrol", "placement"].iter().any(|alone| names == [*alone])
            || fs::exists("target/release/freehold")?)
            && (!(wanted("commits") || wanted("postgres"))
                || fs::exists("target/release/examples/commit_bench")?)
            && (!wanted("start") || fs::exists("target/release/examples/grow_store")?),
        "run `make bench`, which builds what is measured"
    );
    let mut report = report::Report::default();
    if wanted("commits") {
        commits::measure(&mut report).context("commits")?;
    }
    if wanted("postgres") {
        postgres::measure(&mut report).context("PostgreSQL")?;
    }
    if wanted("enrol") {
        enrol::measure(&mut report).context("enrolments")?;
    }
    if wanted("watch") {
        watch::measure(&mut report).context("watchers")?;
    }
    if wanted("nodes") {
        nodes::measure(&mut report).context("a thousand nodes")?;
    }
    if wanted("leader") {
        leader::measure(&mut report).context("the leader")?;
    }
    if ["memory", "deploy", "exec", "logs"].into_iter().any(wanted) {
        beside_a_server(&mut report, wanted)?;
    }
    if wanted("pull") {
        pull::measure(&mut report).context("pulls")?;
    }
    if wanted("start") {
        start::measure(&mut report).context("start")?;
    }
    if wanted("proxy") {
        proxy::measure(&mut report).context("proxy")?;
    }
    if wanted("placement") {
        placement::measure(&mut report).context("placement")?;
    }
    let text = report.markdown()?;
    print!("{text}");
    fs::write("docs/benchmarks.md", text).context("docs/benchmarks.md")
}

/// The comparisons that need a running Freehold.
fn beside_a_server(report: &mut report::Report, wanted: impl Fn(&str) -> bool) -> Result<()> {
    let bench = deploy::Bench::start().context("starting Freehold")?;
    if wanted("memory") {
        memory::measure(report, &bench).context("memory")?;
    }
    if wanted("deploy") {
        deploy::measure(report, &bench).context("deploys")?;
    }
    if wanted("exec") {
        exec::measure(report, &bench).context("exec")?;
    }
    if wanted("logs") {
        logs::measure(report, &bench).context("logs")?;
    }
    Ok(())
}

/// The median; of an even number, the upper of the middle two.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
