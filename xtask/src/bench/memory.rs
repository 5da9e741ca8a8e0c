//! Memory of `freehold up`, idle and with twenty instances: proportional set size, which counts shared
//! pages once.

use super::{deploy::Bench, report::Report, shell};
use anyhow::{Context, Result};
use std::{fs, process::Command};

const INSTANCES: usize = 20;

/// Kibibytes: proportional, resident.
type Set = (u64, u64);

pub(crate) fn measure(report: &mut Report, bench: &Bench) -> Result<()> {
    settle();
    let idle = of(bench.pid())?;
    let manifest = format!(
        "schema = 1\napp = \"many\"\n[process.web]\nimage = \"nginx:1\"\ncount = {INSTANCES}\n\
         check = {{ http = \"/\", port = 80 }}\n"
    );
    fs::write(bench.dir().join("many.toml"), manifest)?;
    bench.freehold(&["deploy", "-f", "many.toml"])?;
    settle();
    let busy = of(bench.pid())?;
    let shims = shims(bench.pid())?;
    let all = shims.iter().map(|pid| of(*pid)).sum::<Result<Total>>()?.0;
    bench.freehold(&["app", "delete", "many", "--yes"])?;

    report.section(
        "Memory",
        &format!(
            "`freehold up`, with one image of 140 MB in its registry: idle, and with {INSTANCES} instances of nginx, each \
             checked over HTTP every second."
        ),
        &["", "PSS", "RSS"],
    );
    let row = |what: String, (pss, rss): Set| vec![what, mib(pss), mib(rss)];
    report.row(row("control, node and edge, one process, idle".into(), idle));
    report.row(row(format!("the same with {INSTANCES} instances"), busy));
    report.row(row(format!("the {} processes that hold one instance each, together", shims.len()), all));
    Ok(())
}

/// What was allocated for a moment is given back.
fn settle() {
    std::thread::sleep(std::time::Duration::from_secs(3));
}

/// The children of `freehold up`'s session that wait for an instance each: they outlive it, so they are
/// found by their program, not by their parent.
fn shims(up: u32) -> Result<Vec<u32>> {
    let program = fs::read_link(format!("/proc/{up}/exe"))?;
    let listed = shell::run(Command::new("pgrep").args(["-f", &program.to_string_lossy()]))?;
    let pids = listed.lines().filter_map(|line| line.parse().ok());
    Ok(pids.filter(|pid| *pid != up).collect())
}

/// Of one process.
pub(super) fn of(pid: u32) -> Result<Set> {
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let kib = |field: &str| -> Result<u64> {
        let line = smaps.lines().find(|line| line.starts_with(field)).context("smaps_rollup")?;
        Ok(line.split_whitespace().nth(1).context("smaps_rollup")?.parse()?)
    };
    Ok((kib("Pss:")?, kib("Rss:")?))
}

/// A sum of sets.
struct Total(Set);

impl std::iter::Sum<Set> for Total {
    fn sum<I: Iterator<Item = Set>>(sets: I) -> Total {
        Total(sets.fold((0, 0), |(pss, rss), (p, r)| (pss + p, rss + r)))
    }
}

pub(super) fn mib(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1024.0)
}
