//! The page that the benchmarks write.

use super::shell;
use anyhow::Result;
use std::{fmt::Write, fs, process::Command};

/// Sections in the order in which they were measured: titles and texts.
#[derive(Default)]
pub(crate) struct Report {
    sections: Vec<(String, String)>,
}

impl Report {
    /// Begins a section with a table.
    pub(crate) fn section(&mut self, title: &str, about: &str, columns: &[&str]) {
        let rule = vec!["---"; columns.len()].join(" | ");
        let text = format!("\n\n{about}\n\n| {} |\n| {rule} |\n", columns.join(" | "));
        self.sections.push((title.into(), text));
    }

    /// Adds a row to the table of the last section.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        let (_, text) = self.sections.last_mut().expect("a row belongs to a section");
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }

    /// The whole page. What stands below the line `<!-- by hand -->` of the page before is kept.
    pub(crate) fn markdown(&self) -> Result<String> {
        const MARK: &str = "<!-- by hand -->";
        let before = fs::read_to_string("docs/benchmarks.md").unwrap_or_default();
        let (before, kept) = before.split_once(MARK).unwrap_or((&before, ""));
        let body: String =
            self.over(before).iter().map(|(title, text)| format!("\n## {title}{text}")).collect();
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
            body
        ))
    }

    /// What was measured in place of what stood there before, and what is new after it.
    fn over(&self, before: &str) -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> = before
            .split("\n## ")
            .skip(1)
            .filter_map(|section| section.split_once('\n'))
            .map(|(title, text)| (title.to_owned(), format!("\n{}\n", text.trim_end())))
            .collect();
        for (title, text) in &self.sections {
            match all.iter_mut().find(|(other, _)| other == title) {
                Some(old) => old.1.clone_from(text),
                None => all.push((title.clone(), text.clone())),
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_kept_in_its_place() {
        let mut report = Report::default();
        report.section("B", "new", &["x"]);
        report.row(vec!["2".into()]);
        report.section("C", "more", &["x"]);
        let all = report.over("# Page\n\nabout\n\n## A\n\nold\n\n## B\n\nold\n\n");
        let titles: Vec<&str> = all.iter().map(|(title, _)| title.as_str()).collect();
        assert_eq!(titles, ["A", "B", "C"]);
        assert_eq!(all[0].1, "\n\nold\n");
        assert_eq!(all[1].1, "\n\nnew\n\n| x |\n| --- |\n| 2 |\n");
    }
}
