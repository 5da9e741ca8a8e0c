//! How a receipt ends: the one place where verdicts are written.
//!
//! Called by everything that ends an operation. Invariant: a verdict is written once, with its reason
//! and its time, and leaves no step open and nothing waiting.

use crate::rollout::steps;
use freehold_model::{Code, Problem, Receipt, Verdict};
use jiff::Timestamp;

/// Ends `receipt`.
pub(crate) fn conclude(
    receipt: &mut Receipt,
    verdict: Verdict,
    code: Option<Code>,
    reason: impl Into<String>,
    now: Timestamp,
) {
    steps::close(receipt, now);
    let status = &mut receipt.status;
    (status.verdict, status.code) = (Some(verdict), code);
    (status.reason, status.finished) = (Some(reason.into()), Some(now));
    status.behind = None;
}

/// Ends `receipt` as failed for `problem`.
pub(crate) fn fail(receipt: &mut Receipt, problem: &Problem, now: Timestamp) {
    let detail = problem.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
    let reason = format!("{}{detail}", problem.title);
    conclude(receipt, Verdict::Failed, Some(problem.code), reason, now);
}
