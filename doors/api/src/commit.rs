//! Deciding and committing, again when others were faster: what every small change of the API does.

use crate::{
    error::{Answer, Failure},
    routes::resources::missing,
    state::Api,
    who::Caller,
};
use freehold_deploy::{Asker, ChangeError};
use freehold_identity::PeopleError;
use freehold_model::{AnyId, AnyResource, Code, CommitError, Problem, Txn};
use freehold_reconcile::View;

/// How often a change is decided again when others commit in between.
const ATTEMPTS: usize = 16;

/// Commits what `decide` makes of the present state, and answers with what it answers.
///
/// # Errors
/// As `decide`; a conflict when others keep changing the same things.
pub(crate) async fn commit<T: Send + 'static>(
    api: &Api,
    decide: impl Fn(&dyn View) -> Answer<(Txn, T)> + Clone + Send + 'static,
) -> Answer<T> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let decide = decide.clone();
        let (txn, answer) = api.read(move |view| decide(view)).await?;
        if txn.is_empty() {
            return Ok(answer);
        }
        match api.store.commit(txn).await {
            Ok(_) => return Ok(answer),
            Err(conflict) if conflict.is_conflict() => {
                tracing::debug!(%conflict, "deciding again");
                last = Some(conflict);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(match last {
        // By what, and whose it is, may be none of the caller's business.
        Some(CommitError::NameTaken { kind, name, .. }) => taken(&format!("{kind} `{name}`")),
        Some(CommitError::Claimed { .. }) => taken("What it is known by"),
        _ => Problem::new(Code::Conflict, "Others keep changing the same things.")
            .hint("Nothing was changed. Try again in a moment.")
            .into(),
    })
}

fn taken(what: &str) -> Failure {
    let problem =
        Problem::new(Code::Conflict, "That name is taken.").detail(format!("{what} is there already."));
    problem.hint("Choose another name.").into()
}

/// Changes one resource, and answers with it as it is then, or as it was if that removed it.
///
/// # Errors
/// As [`commit`].
pub(crate) async fn change<I: Into<AnyId> + Send + 'static>(
    api: &Api,
    caller: Caller,
    decide: impl Fn(&dyn View, &Asker) -> Result<(Txn, I), ChangeError> + Clone + Send + 'static,
) -> Answer<AnyResource> {
    let clock = api.clock.clone();
    let (id, before) = commit(api, move |view| {
        let (actor, request) = (caller.actor.clone(), caller.request.clone());
        let (txn, id) = decide(view, &Asker { actor, request, now: clock.now() })?;
        let id = id.into();
        Ok((txn, (id, view.get(id)?)))
    })
    .await?;
    let after = api.read(move |view| Ok(view.get(id)?)).await?;
    after.or(before).ok_or_else(|| missing(id))
}

impl From<ChangeError> for Failure {
    fn from(error: ChangeError) -> Failure {
        match error {
            ChangeError::Refused(problem) => Failure(*problem),
            ChangeError::Store(error) => Failure::internal(error),
        }
    }
}

impl From<PeopleError> for Failure {
    fn from(error: PeopleError) -> Failure {
        match error {
            PeopleError::Refused(problem) => Failure(*problem),
            PeopleError::Store(error) => Failure::internal(error),
        }
    }
}
