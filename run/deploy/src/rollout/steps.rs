//! The steps that a receipt tells, each with its times. At most one is open.

use freehold_model::{Receipt, Step, Waiting};
use jiff::Timestamp;

/// Ends the open step, if there is one, and begins another.
pub(crate) fn open(receipt: &mut Receipt, name: &str, detail: impl Into<String>, now: Timestamp) {
    close(receipt, now);
    receipt.status.steps.push(Step {
        name: name.into(),
        detail: detail.into(),
        started: now,
        finished: None,
        waiting: None,
    });
}

/// Says what the open step waits for.
pub(crate) fn waits(receipt: &mut Receipt, waiting: Waiting) {
    if let Some(step) = receipt.status.steps.last_mut().filter(|step| step.finished.is_none()) {
        step.waiting = Some(waiting);
    }
}

/// Ends the open step.
pub(crate) fn close(receipt: &mut Receipt, now: Timestamp) {
    if let Some(step) = receipt.status.steps.last_mut().filter(|step| step.finished.is_none()) {
        step.finished = Some(now);
    }
}

/// Adds to what the open step says.
pub(crate) fn add(receipt: &mut Receipt, more: &str) {
    if let Some(step) = receipt.status.steps.last_mut().filter(|step| step.finished.is_none()) {
        step.detail += more;
    }
}

/// `1 instance`, `2 instances`.
pub(crate) fn instances(count: usize) -> String {
    format!("{count} instance{}", if count == 1 { "" } else { "s" })
}
