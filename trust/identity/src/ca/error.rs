//! What keeps the authority from doing what it is asked, and what callers are told of it.

use super::request::RequestError;
use crate::join::Refusal;
use freehold_model::{Code, CommitError, Problem};
use freehold_reconcile::StoreError;
use freehold_secrets::OpenError;

/// Why the authority did not do it.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// There is no authority where there must be one.
    #[error("the certificate authority has not been made yet")]
    Missing,
    /// The key of one of its certificates was forgotten.
    #[error("the private key of certificate {0} of the authority is gone")]
    NoKey(u32),
    /// A key of its own cannot be opened.
    #[error("the private key of certificate {number} of the authority cannot be opened: {source}")]
    Sealed {
        /// The certificate.
        number: u32,
        /// Why.
        source: OpenError,
    },
    /// A certificate cannot be made.
    #[error("a certificate cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// TLS refuses what was made.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
    /// The request is not granted.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Whoever asks may not join.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// What is asked for makes no sense.
    #[error("{0}")]
    Asked(Box<Problem>),
    /// Others keep changing the same things.
    #[error("others keep changing the same things")]
    Busy,
    /// Reading failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Writing failed.
    #[error(transparent)]
    Commit(CommitError),
}

impl AuthorityError {
    /// The problem that callers are told. Where its code is internal or unavailable, the error itself is for
    /// the log.
    pub fn problem(&self) -> Problem {
        let say = |code| Problem::new(code, self.to_string());
        match self {
            AuthorityError::Asked(problem) => (**problem).clone(),
            AuthorityError::Refused(refusal) => refusal.problem(),
            AuthorityError::Request(_) => say(Code::Invalid).hint(
                "`freehold node join` makes a proper one; `openssl req -new -key KEY -subj /` does as well.",
            ),
            AuthorityError::Sealed { .. } => say(Code::Conflict)
                .hint("Restore keys/secrets.key from a backup; without it, nobody new can join."),
            AuthorityError::NoKey(_) => say(Code::Conflict).hint("`freehold ca status` shows what signs."),
            AuthorityError::Busy => say(Code::Conflict).hint("Nothing was changed. Try again in a moment."),
            AuthorityError::Commit(CommitError::Full) => {
                say(Code::Unavailable).hint("Make room on the disk of the control plane.")
            }
            AuthorityError::Missing
            | AuthorityError::Certificate(_)
            | AuthorityError::Tls(_)
            | AuthorityError::Store(StoreError::Resource(_) | StoreError::Pruned { .. }) => {
                say(Code::Internal)
            }
            AuthorityError::Store(StoreError::Engine(_)) | AuthorityError::Commit(_) => {
                say(Code::Unavailable)
            }
        }
    }
}

impl From<Problem> for AuthorityError {
    fn from(problem: Problem) -> AuthorityError {
        AuthorityError::Asked(Box::new(problem))
    }
}
