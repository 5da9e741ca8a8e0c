//! How a handler fails: a [`Problem`] as the caller sees it, answered as `application/problem+json`.
//!
//! Invariant: whatever failed inside (an engine, a defect) is written to the server's log and never sent.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use freehold_model::{Code, CommitError, Problem, Seq};
use freehold_reconcile::StoreError;

/// What a handler answers.
pub(crate) type Answer<T> = Result<T, Failure>;

/// A problem on its way to the caller.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) Problem);

impl Failure {
    /// A defect or a failed engine: `why` goes to the log alone.
    pub(crate) fn internal(why: impl std::fmt::Display) -> Failure {
        tracing::error!(%why, "request failed");
        let problem = Problem::new(Code::Internal, "Freehold failed to do this.")
            .hint("The server's log says why, under this request's id (header x-request-id).");
        Failure(problem)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Failure {
        Failure(problem)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        match error {
            StoreError::Pruned { first } => Failure(pruned(first)),
            error => Failure::internal(error),
        }
    }
}

/// What to say to somebody who reads on from a place before the beginning of the log.
pub(crate) fn pruned(first: Seq) -> Problem {
    let hint = format!(
        "Some were missed: list afresh what you follow, then go on after event {} or later.",
        first - 1
    );
    let problem =
        Problem::new(Code::Gone, format!("The log begins with event {first}: what came before is gone."));
    Problem { first: Some(first), ..problem.hint(hint) }
}

impl From<CommitError> for Failure {
    fn from(error: CommitError) -> Failure {
        match error {
            CommitError::Full => Failure(freehold_deploy::disk_full()),
            CommitError::Engine(why) => Failure::internal(why),
            // Which resource it met may be none of the caller's business: the log has it.
            conflict => {
                tracing::info!(%conflict, "a change met another");
                Failure(
                    Problem::new(Code::Conflict, "Somebody else changed this at the same time.")
                        .hint("Look at how it is now, then try again."),
                )
            }
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(&self.0)).into_response();
        // A page for browsers says it in its own words.
        response.extensions_mut().insert(self.0);
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}
