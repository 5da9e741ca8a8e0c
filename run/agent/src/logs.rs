//! The last lines of an instance, bounded, for its status; and Freehold's own lines in its log.

use freehold_model::{InstanceId, Name};
use freehold_runtime::logs::{LogReader, append_system};
use std::path::Path;

/// So many lines explain most failures.
const LINES: usize = 20;
/// And none of them longer than this, in characters: a status stays small.
const WIDTH: usize = 400;

/// The last lines that the instance printed. A log that cannot be read explains nothing, and that is all.
pub(crate) fn tail(log_dir: &Path, id: InstanceId, process: &Name) -> Vec<String> {
    let lines = LogReader::new(log_dir, id, process.clone()).tail(LINES).unwrap_or_else(|error| {
        tracing::warn!(instance = %id, %error, "no last lines");
        vec![]
    });
    lines.into_iter().map(|line| clip(line.text)).collect()
}

/// Adds a line of Freehold's own.
pub(crate) fn note(log_dir: &Path, text: &str) {
    if let Err(error) = append_system(log_dir, text) {
        tracing::debug!(path = %log_dir.display(), %error, "a log line was not written");
    }
}

fn clip(text: String) -> String {
    match text.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_short_in_lines_and_in_width() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..30 {
            note(dir.path(), &format!("line {n} {}", "ä".repeat(500)));
        }
        let id = InstanceId(ulid::Ulid::nil());
        let lines = tail(dir.path(), id, &"web".parse().unwrap());
        assert_eq!(lines.len(), 20);
        assert!(lines[19].starts_with("line 29 ä") && lines[19].chars().count() == 401, "{}", lines[19]);
        assert!(tail(&dir.path().join("absent"), id, &"web".parse().unwrap()).is_empty());
    }
}
