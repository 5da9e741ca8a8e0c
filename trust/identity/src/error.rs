//! Why a change of people or their rights was not decided: a problem for the caller, or a failed read.

use freehold_model::{Code, Problem};
use freehold_reconcile::StoreError;

/// A change that was refused.
#[derive(Debug, thiserror::Error)]
pub enum PeopleError {
    /// As the caller shall see it.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// The view failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Problem> for PeopleError {
    fn from(problem: Problem) -> PeopleError {
        PeopleError::Refused(Box::new(problem))
    }
}

/// Something wrong with a request, and the way out.
pub(crate) fn invalid(title: impl Into<String>, hint: impl Into<String>) -> PeopleError {
    Problem::new(Code::Invalid, title).hint(hint).into()
}

/// Something that is not there, or not there for the caller.
pub(crate) fn not_found(title: impl Into<String>, hint: impl Into<String>) -> PeopleError {
    Problem::new(Code::NotFound, title).hint(hint).into()
}

/// Something that the caller may not.
pub(crate) fn not_allowed(title: impl Into<String>, hint: impl Into<String>) -> PeopleError {
    Problem::new(Code::NotAllowed, title).hint(hint).into()
}
