//! What the keys of placement say together: processes that exist, each failure domain once.
//!
//! Called by `resolve` for each process as an env has it.

use super::{
    report::Report,
    resolve::unknown_process,
    scalar::shown,
    tree::{Data, Fields, Node},
};
use std::collections::HashSet;

/// Reports what `process` says of its place that cannot be, or says twice.
pub(super) fn check(process: &Node, all: &Fields, report: &mut Report<'_>) {
    for other in process.get("affinity").map(|affinity| affinity.list("apart")).unwrap_or_default() {
        let Data::Text(name) = &other.data else { continue };
        if !all.contains_key(name) {
            unknown_process(&other.span, name, all, "`apart` names processes of this file", report);
        }
    }
    let mut seen = HashSet::new();
    for spread in process.list("spread") {
        let over = match &spread.data {
            Data::Text(over) => over.as_str(),
            _ => spread.text("over").unwrap_or_default(),
        };
        if !over.is_empty() && !seen.insert(over) {
            let message = format!("it is spread over `{}` already", shown(over));
            report.error(&spread.span, message, "keep one of them");
        }
    }
}
