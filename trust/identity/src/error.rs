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

impl PeopleError {
    /// A sign-in that failed, in the same words whatever was wrong.
    pub fn wrong() -> PeopleError {
        not_signed_in()
    }
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

/// A sign-in that failed. In the same words whatever was wrong.
pub(crate) fn not_signed_in() -> PeopleError {
    Problem::new(Code::NotSignedIn, "The name or the password is wrong, or the account is locked for a while.")
        .hint(
            "After five wrong passwords an account takes none for some minutes. An admin can help: `freehold user \
             unlock NAME`, or `freehold user invite NAME` for a new password.",
        )
        .into()
}

/// Something that the caller may not.
pub(crate) fn not_allowed(title: impl Into<String>, hint: impl Into<String>) -> PeopleError {
    Problem::new(Code::NotAllowed, title).hint(hint).into()
}
