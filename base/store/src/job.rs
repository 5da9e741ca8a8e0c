//! What callers hand to the writer of an engine: transactions whose JSON is text already.

use crate::row::Row;
use freehold_model::{
    Actor, AnyId, Claim, CommitError, Committed, Fence, LeaseChange, NewEvent, Prune, Seq, Txn, Write,
    txn::Idempotency,
};
use freehold_reconcile::StoreError;
use jiff::Timestamp;
use tokio::sync::oneshot;

/// One piece of work for the writer, with the place where its answer goes.
pub(crate) enum Job {
    Commit(Box<Prepared>, oneshot::Sender<Result<Committed, CommitError>>),
    /// Not of engines that change leases beside their writer.
    Lease(LeaseChange, oneshot::Sender<Result<(), StoreError>>),
    Advance(String, Seq, oneshot::Sender<Result<(), StoreError>>),
    /// Forget so many answers from before then; not of engines that do so beside their writer.
    Forget(Timestamp, usize, oneshot::Sender<Result<usize, StoreError>>),
    /// Commit what came before, checkpoint and end.
    Close(oneshot::Sender<()>),
}

/// A [`Txn`] whose JSON is text already.
pub(crate) struct Prepared {
    pub actor: Actor,
    pub reason: String,
    pub request: String,
    pub fence: Option<Fence>,
    pub expect: Vec<(AnyId, u64)>,
    pub writes: Vec<Step>,
    pub claims: Vec<Claim>,
    pub releases: Vec<(String, String)>,
    pub events: Vec<NewEvent>,
    pub prune: Option<Prune>,
    pub idempotency: Option<Idempotency>,
    pub makes_room: bool,
}

/// A [`Write`] whose JSON is text already.
pub(crate) enum Step {
    Put(Row),
    Spec { id: AnyId, spec: String, generation: Option<u64> },
    Status { id: AnyId, status: String, version: Option<u64> },
    Deleting { id: AnyId },
    Delete { id: AnyId },
}

impl Step {
    /// Refuses what no engine may write, whatever is stored.
    pub(crate) fn check(&self) -> Result<(), CommitError> {
        match self {
            Step::Put(row) if row.kind != row.id.kind => {
                let text = format!("{} was put as kind {}; the two must agree", row.id, row.kind);
                Err(CommitError::Engine(text))
            }
            _ => Ok(()),
        }
    }
}

impl From<Txn> for Prepared {
    fn from(txn: Txn) -> Prepared {
        Prepared {
            actor: txn.actor,
            reason: txn.reason,
            request: txn.request,
            fence: txn.fence,
            expect: txn.expect,
            writes: txn.writes.into_iter().map(Step::from).collect(),
            claims: txn.claims,
            releases: txn.releases,
            events: txn.events,
            prune: txn.prune,
            idempotency: txn.idempotency,
            makes_room: txn.makes_room,
        }
    }
}

impl From<Write> for Step {
    fn from(write: Write) -> Step {
        match write {
            Write::Put(resource) => Step::Put(resource.into()),
            Write::Spec { id, spec, generation } => Step::Spec { id, spec: spec.to_string(), generation },
            Write::Status { id, status, version } => Step::Status { id, status: status.to_string(), version },
            Write::Deleting { id } => Step::Deleting { id },
            Write::Delete { id } => Step::Delete { id },
        }
    }
}
