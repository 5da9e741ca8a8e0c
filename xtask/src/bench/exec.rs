//! `freehold exec -- true` beside `podman exec`, from the start of the command to its exit; both in a
//! container of the same image that runs already. By turns, so that both see the same machine.

use super::{
    deploy::{Bench, Podman, spread},
    report::Report,
};
use anyhow::Result;
use std::time::Instant;

const ROUNDS: usize = 31;

pub(crate) fn measure(report: &mut Report, bench: &Bench) -> Result<()> {
    let podman = Podman::prepare()?;
    bench.freehold(&["deploy"])?;
    podman.run_unpublished()?;
    let (mut ours, mut theirs) = (vec![], vec![]);
    for round in 0..=ROUNDS {
        let start = Instant::now();
        bench.freehold(&["exec", "--", "true"])?;
        let own = start.elapsed().as_secs_f64() * 1000.0;
        let start = Instant::now();
        podman.exec(&["true"])?;
        let other = start.elapsed().as_secs_f64() * 1000.0;
        // The first of each reads its program from disk.
        if round > 0 {
            ours.push(own);
            theirs.push(other);
        }
    }
    podman.remove()?;
    bench.freehold(&["app", "delete", "bench", "--yes"])?;
    report.section(
        "Exec",
        &format!("`true` in a running container, from the start of the command to its exit; by turns, median of {ROUNDS}."),
        &["", "median", "fastest", "slowest"],
    );
    report.row(spread("`freehold exec`", ours));
    report.row(spread("`podman exec` (runc)", theirs));
    Ok(())
}
