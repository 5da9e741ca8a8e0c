//! Deciding and committing, again when others were faster: what every small change of the API does.

use crate::{
    error::{Answer, Failure},
    state::Api,
};
use freehold_identity::PeopleError;
use freehold_model::{Code, CommitError, Problem, Txn};
use freehold_reconcile::View;

/// How often a change is decided again when others commit in between.
const ATTEMPTS: usize = 8;

/// Commits what `decide` makes of the present state, and answers with what it answers.
///
/// # Errors
/// As `decide`; a conflict when others keep changing the same things.
pub(crate) async fn commit<T: Send + 'static>(
    api: &Api,
    decide: impl Fn(&dyn View) -> Answer<(Txn, T)> + Clone + Send + 'static,
) -> Answer<T> {
    for _ in 0..ATTEMPTS {
        let decide = decide.clone();
        let (txn, answer) = api.read(move |view| decide(view)).await?;
        match api.store.commit(txn).await {
            Ok(_) => return Ok(answer),
            Err(taken @ (CommitError::NameTaken { .. } | CommitError::Claimed { .. })) => {
                let problem = Problem::new(Code::Conflict, "That name is taken.").detail(taken.to_string());
                return Err(problem.hint("Choose another name.").into());
            }
            Err(conflict) if conflict.is_conflict() => tracing::debug!(%conflict, "deciding again"),
            Err(error) => return Err(error.into()),
        }
    }
    Err(Problem::new(Code::Conflict, "Others keep changing the same things.")
        .hint("Nothing was changed. Try again in a moment.")
        .into())
}

impl From<PeopleError> for Failure {
    fn from(error: PeopleError) -> Failure {
        match error {
            PeopleError::Refused(problem) => Failure(*problem),
            PeopleError::Store(error) => Failure::internal(error),
        }
    }
}
