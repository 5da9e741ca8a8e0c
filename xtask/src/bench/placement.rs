//! How long placement takes: 10,000 instances on 1,000 nodes from nothing, and one more.

use super::{report::Report, shell};
use anyhow::{Context, Result};
use std::process::Command;

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    shell::build("freehold-schedule", "place_bench")?;
    let text = shell::run(&mut Command::new("target/release/examples/place_bench"))?;
    let found: serde_json::Value = serde_json::from_str(&text)?;
    let millis = |key: &str| -> Result<String> {
        let seconds = found[key].as_f64().with_context(|| format!("no {key} in {text}"))?;
        Ok(format!("{:.3} ms", seconds * 1e3))
    };
    report.section(
        "Placement",
        &format!(
            "{} nodes in 12 zones, {} instances of 200 processes (a quarter each: plain, spread over zones with a bound, with a \
             preferred label, with a required label and a tolerated taint), every choice explained; no store, no network. From \
             nothing: median of 9. One more: median of 1,000.",
            found["nodes"], found["instances"]
        ),
        &["", "median", "slowest", "aim"],
    );
    report.row(vec!["from nothing".into(), millis("all")?, millis("all_slowest")?, "2 s".into()]);
    report.row(vec!["one more".into(), millis("one")?, millis("one_slowest")?, "1 ms".into()]);
    Ok(())
}
