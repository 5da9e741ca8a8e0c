//! Calling an operation off: what waits ends at once, what starts is taken back, and what serves stays.
//!
//! Called by the API, which commits the transaction. Invariant: the transaction expects what it was
//! decided upon, so a rollout that shifts at the same moment is never cancelled.

use crate::{claims, queue};
use freehold_model::{
    Actor, Code, EnvId, Problem, Receipt, ReceiptId, ReceiptSpec, Rollout, RolloutPhase, Txn,
};
use freehold_reconcile::{StoreError, View, ViewExt};
use jiff::Timestamp;
use serde_json::json;

/// Why an operation cannot be cancelled.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    /// No such receipt.
    #[error("there is no receipt {0}")]
    NotFound(ReceiptId),
    /// It has its verdict.
    #[error("{0} has ended already: {1}")]
    Ended(ReceiptId, String),
    /// It cannot be taken back any more, or is being taken back for another reason.
    #[error("it is too late to cancel {id}: {why}")]
    TooLate {
        /// Which.
        id: ReceiptId,
        /// What it is at.
        why: &'static str,
        /// The way out.
        hint: &'static str,
    },
    /// Reading failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The transaction that calls the operation of receipt `id` off; `None` if somebody did that already.
///
/// # Errors
/// When there is no such receipt, it has ended, or it is too late.
pub fn cancel(
    view: &dyn View,
    id: ReceiptId,
    actor: &Actor,
    request: &str,
    now: Timestamp,
) -> Result<Option<Txn>, CancelError> {
    let mut receipt = view.find::<ReceiptSpec>(id)?.ok_or(CancelError::NotFound(id))?;
    if let Some(verdict) = receipt.status.verdict {
        let reason = receipt.status.reason.as_deref().unwrap_or(verdict.word()).to_owned();
        return Err(CancelError::Ended(id, reason));
    }
    let mut txn = Txn::new(actor.clone(), "cancel an operation", request);
    txn.expect(id, receipt.version);
    if receipt.status.behind.is_some() {
        queue::call_off(&mut txn, &mut receipt, &reason(actor), now);
        return Ok(Some(txn));
    }
    let mut rollout = under_way(view, &receipt)?;
    if rollout.spec.cancelled_by.is_some() {
        return Ok(None);
    }
    match rollout.status.phase {
        RolloutPhase::Starting => {}
        RolloutPhase::Restoring | RolloutPhase::Failed => {
            return Err(CancelError::TooLate {
                id,
                why: "it failed, and is being taken back already",
                hint: "wait for its verdict: what ran before goes on",
            });
        }
        RolloutPhase::Draining | RolloutPhase::Stopping | RolloutPhase::Succeeded => {
            return Err(CancelError::TooLate {
                id,
                why: "the new release serves already",
                hint: "`freehold rollback` goes back to the release before",
            });
        }
    }
    rollout.spec.cancelled_by = Some(actor.clone());
    txn.expect(rollout.id, rollout.version).put_spec(&rollout);
    txn.event(rollout.id, "rollout.cancelling", json!({ "receipt": id, "by": actor.to_string() }));
    Ok(Some(txn))
}

/// `cancelled by user:admin`.
pub(crate) fn reason(actor: &Actor) -> String {
    format!("cancelled by {actor}")
}

fn under_way(view: &dyn View, receipt: &Receipt) -> Result<Rollout, CancelError> {
    let env = receipt.parent.and_then(|parent| EnvId::try_from(parent).ok());
    let rollout = match env {
        Some(env) => claims::active_rollout(view, env)?,
        None => None,
    };
    rollout.filter(|rollout| rollout.spec.receipt == receipt.id).ok_or(CancelError::TooLate {
        id: receipt.id,
        why: "a removal cannot be called off",
        hint: "wait for its verdict, then deploy again",
    })
}

impl CancelError {
    /// The problem that callers are told.
    pub fn problem(&self) -> Problem {
        match self {
            CancelError::NotFound(_) => Problem::new(Code::NotFound, self.to_string())
                .hint("`freehold receipt list` shows what there is"),
            CancelError::Ended(id, _) => Problem::new(Code::Conflict, self.to_string())
                .hint(format!("`freehold receipt {id}` has all of it")),
            CancelError::TooLate { hint, .. } => Problem::new(Code::Conflict, self.to_string()).hint(*hint),
            CancelError::Store(StoreError::Engine(_)) => Problem::new(Code::Unavailable, self.to_string()),
            CancelError::Store(StoreError::Resource(_) | StoreError::Pruned { .. }) => {
                Problem::new(Code::Internal, self.to_string())
            }
        }
    }
}
