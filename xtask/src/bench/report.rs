//! The page that the benchmarks write.

use super::shell;
use anyhow::Result;
use std::{fmt::Write, fs, process::Command};

/// Sections in the order in which they were measured.
#[derive(Default)]
pub(crate) struct Report {
    body: String,
}

impl Report {
    /// Begins a section with a table.
    pub(crate) fn section(&mut self, title: &str, about: &str, columns: &[&str]) {
        let rule = vec!["---"; columns.len()].join(" | ");
        let _ = write!(self.body, "\n## {title}\n\n{about}\n\n| {} |\n| {rule} |\n", columns.join(" | "));
    }

    /// Adds a row to the table of the last section.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        let _ = writeln!(self.body, "| {} |", cells.join(" | "));
    }

    /// The sections alone.
    pub(crate) fn section_text(&self) -> &str {
        &self.body
    }

    /// The whole page. What stands below the line `<!-- by hand -->` of the page before is kept.
    pub(crate) fn markdown(&self) -> Result<String> {
        const MARK: &str = "<!-- by hand -->";
        let before = fs::read_to_string("docs/benchmarks.md").unwrap_or_default();
        let kept = before.split_once(MARK).map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        let cpu =
            shell::run(Command::new("sh").args(["-c", "grep -m1 'model name' /proc/cpuinfo | cut -d: -f2"]))?;
        let cores = std::thread::available_parallelism()?;
        let kernel = shell::run(Command::new("uname").arg("-r"))?;
        let etcd = shell::run(Command::new("sh").args(["-c", "etcd --version | head -1"]))?;
        let podman = shell::run(Command::new("podman").arg("--version"))?;
        Ok(format!(
            "# Benchmarks\n\nWritten by `make bench` (release build). {} × {}, Linux {}, {}, {}. Both sides in one run, one after \
             the other; medians.\n{}\n{MARK}{kept}",
            cores,
            cpu.trim(),
            kernel.trim(),
            etcd.trim(),
            podman.trim(),
            self.body
        ))
    }
}
