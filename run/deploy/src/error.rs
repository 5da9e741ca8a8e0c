//! Why something cannot be planned or applied, and how that is told.

use freehold_model::{Code, CommitError, Digest, Kind, Name, Plan, Problem, manifest::Demand};
use freehold_reconcile::StoreError;

/// Why there is no plan, or why it cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// No such project, app or env.
    #[error("there is no {kind} `{name}`")]
    NotFound {
        /// What was looked for.
        kind: Kind,
        /// Its name.
        name: String,
        /// A name that exists and is written almost like it.
        nearest: Option<String>,
    },
    /// The env has no release of that number.
    #[error("{app}/{env} has no release v{number}")]
    NoRelease {
        /// The app.
        app: Name,
        /// The env.
        env: Name,
        /// The number that was asked for.
        number: u32,
    },
    /// No release of the env has rolled out.
    #[error("nothing runs in {app}/{env} yet")]
    NothingRuns {
        /// The app.
        app: Name,
        /// The env.
        env: Name,
    },
    /// No earlier release is known to have run.
    #[error("no earlier release of {app}/{env} is known to have run")]
    NothingEarlier {
        /// The app.
        app: Name,
        /// The env.
        env: Name,
    },
    /// The app is on its way out.
    #[error("{app} is being removed")]
    Removing {
        /// The app.
        app: Name,
    },
    /// The plan has blockers.
    #[error("{}", .0.iter().map(|problem| problem.title.clone()).collect::<Vec<_>>().join("; "))]
    Blocked(Vec<Problem>),
    /// The secret of the client that the env is has to be made first: whoever applies has the key for that.
    #[error("the client secret of {app}/{env} is not made yet")]
    NoClientSecret {
        /// The app.
        app: Name,
        /// The env.
        env: Name,
    },
    /// What waited would run a release that asks for a right which was not asked for when it was let in.
    #[error("what runs now needs a right that was not asked for when this was let in: {0}")]
    Demands(Demand),
    /// The plan that was looked at is not what would happen now.
    #[error("the plan is stale: something changed since it was made")]
    Stale,
    /// The caller resolved no image for a process: a defect.
    #[error("no image was resolved for process `{0}`")]
    Unresolved(Name),
    /// Reading failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Checks that `plan` is the one that was looked at, if any was.
///
/// # Errors
/// [`PlanError::Stale`] when it is another.
pub fn check_fresh(plan: &Plan, seen: Option<&Digest>) -> Result<(), PlanError> {
    match seen {
        Some(hash) if *hash != plan.hash => Err(PlanError::Stale),
        _ => Ok(()),
    }
}

/// What a caller is told when there is no room for what it wants done.
pub fn disk_full() -> Problem {
    let problem = Problem::new(Code::Unavailable, "the server's disk is full, so nothing was changed").hint(
        "make room there, then try again; `freehold image gc` removes what no release needs, `freehold doctor` \
         says where the data is",
    );
    Problem { retry: false, ..problem }
}

/// The problem of an applied plan whose transaction was refused.
pub fn commit_problem(error: &CommitError) -> Problem {
    match error {
        CommitError::Full => disk_full(),
        CommitError::Engine(why) => {
            Problem::new(Code::Unavailable, "the store failed; nothing was changed").detail(why.clone())
        }
        conflict => Problem::new(Code::Conflict, "somebody changed the same thing at the same moment")
            .detail(conflict.to_string())
            .hint("nothing was changed: plan again"),
    }
}

impl PlanError {
    /// The problem that callers are told.
    pub fn problem(&self) -> Problem {
        match self {
            PlanError::NotFound { kind, nearest, .. } => {
                let problem = Problem::new(Code::NotFound, self.to_string());
                match nearest {
                    Some(nearest) => problem.hint(format!("did you mean `{nearest}`?")),
                    None => problem.hint(format!("`freehold {kind} list` shows what there is")),
                }
            }
            PlanError::NoRelease { app, env, .. } => Problem::new(Code::NotFound, self.to_string())
                .hint(format!("`freehold releases -a {app} -e {env}` lists them")),
            PlanError::NothingRuns { app, env } => Problem::new(Code::NotFound, self.to_string()).hint(
                format!("`freehold deploy -e {env}` in the folder of {app}'s freehold.toml deploys it"),
            ),
            PlanError::NothingEarlier { app, env } => Problem::new(Code::NotFound, self.to_string())
                .hint(format!("name one of `freehold releases -a {app} -e {env}`")),
            PlanError::Removing { .. } => {
                Problem::new(Code::Conflict, self.to_string()).hint("try again when it is gone")
            }
            PlanError::Blocked(problems) => blocked(problems),
            PlanError::Demands(_) => Problem::new(Code::NotAllowed, self.to_string()).hint("ask again"),
            PlanError::Stale => Problem::new(Code::StalePlan, self.to_string()).hint("plan again"),
            PlanError::NoClientSecret { .. } => {
                Problem::new(Code::Conflict, self.to_string()).hint("deploy again: that makes it")
            }
            PlanError::Unresolved(_) => Problem::new(Code::Internal, self.to_string()),
            PlanError::Store(StoreError::Engine(_)) => Problem::new(Code::Unavailable, self.to_string()),
            PlanError::Store(StoreError::Resource(_) | StoreError::Pruned { .. }) => {
                Problem::new(Code::Internal, self.to_string())
            }
        }
    }
}

/// One problem as it is; several under the code of the first, each on a line of its own.
fn blocked(problems: &[Problem]) -> Problem {
    match problems {
        [] => Problem::new(Code::Internal, "the plan is blocked by nothing"),
        [one] => one.clone(),
        [first, ..] => {
            let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
            Problem::new(first.code, format!("{} things stop this", problems.len())).detail(lines.join("\n"))
        }
    }
}
