//! Enrolments per second on PostgreSQL: machines that join with a token each.

use super::{median, postgres::Server, report::Report, shell};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::process::Command;

const ROUNDS: usize = 3;
const MACHINES: usize = 1000;

/// What one run measured.
#[derive(Deserialize)]
struct Measured {
    enrolments_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    report.section(
        "Enrolments on PostgreSQL",
        &format!(
            "{MACHINES} machines join, each with a token of its own: a certificate request is read and its signature checked, a \
             certificate is signed, and token, node and identity are committed in one transaction (`fsync=on`). Without \
             the way there (TCP, TLS, HTTP). Median of {ROUNDS}. NetBird publishes about 10 a second."
        ),
        &["at once", "enrolments/s", "p50", "p99"],
    );
    shell::build("freehold-store", "enrol_bench")?;
    let server = Server::start()?;
    for at_once in [1, 64] {
        let mut runs = vec![];
        for round in 0..ROUNDS {
            let url = server.database(&format!("enrol_{at_once}_{round}"))?;
            let mut command = Command::new("target/release/examples/enrol_bench");
            command.args([url, MACHINES.to_string(), at_once.to_string()]);
            let run: Measured =
                serde_json::from_str(&shell::run(&mut command)?).context("enrol_bench's answer")?;
            runs.push(run);
        }
        let of = |field: fn(&Measured) -> f64| median(runs.iter().map(field).collect());
        report.row(vec![
            at_once.to_string(),
            format!("{:.0}", of(|run| run.enrolments_per_second)),
            format!("{:.1} ms", of(|run| run.p50_ms)),
            format!("{:.1} ms", of(|run| run.p99_ms)),
        ]);
    }
    Ok(())
}
