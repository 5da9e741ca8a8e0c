//! Lines on the standard output. Freehold adds the time and the instance's name.

use std::{io::Write, sync::LazyLock};

static VERBOSE: LazyLock<bool> = LazyLock::new(|| std::env::var("LOG").is_ok_and(|level| level == "info"));

/// Says what is worth knowing at any level.
pub(crate) fn note(line: &str) {
    // A log that nobody reads any more is no reason to stop serving.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Says what happened to one request, if `LOG` is `info`.
pub(crate) fn info(line: &str) {
    if *VERBOSE {
        note(line);
    }
}
