//! What deploy, rollback and removal share: plan, apply, follow the receipt, tell how it ended.
//!
//! The server owns the verdict: whatever happens here, the operation goes on, and its receipt can be
//! waited for from anywhere.

use crate::{
    failure::{Failure, Outcome},
    interrupt,
    output::{self, Progress, receipt as show, time},
    session::Session,
};
use freehold_client::{SummaryQuery, Wait};
use freehold_model::{
    Code, Digest, Millis, Operation, Plan, Problem, Receipt, ReceiptId,
    api::{Apply, Change},
    kinds::Verdict,
};
use jiff::Timestamp;
use std::time::Duration;

/// How often the steps are looked at.
const GLANCE: Duration = Duration::from_millis(400);
/// How long a server may be away between the plan and the beginning of the operation.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a plan that went stale by itself is made anew.
const PLANS: usize = 3;

/// Flags of every command that waits.
#[derive(Debug, clap::Args)]
pub(crate) struct WaitArgs {
    /// Begins it and does not wait.
    #[arg(long)]
    pub(crate) detach: bool,
    /// Waits no longer than this; the operation goes on.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = time::parse_length)]
    pub(crate) wait_timeout: Millis,
}

/// How an operation is done.
#[derive(Debug)]
pub(crate) struct Options {
    /// The plan that was looked at, if it must be that one.
    pub(crate) plan: Option<Digest>,
    /// Whether and how long to wait.
    pub(crate) wait: WaitArgs,
}

/// Plans `change`, shows the plan, does it, and waits for the verdict.
pub(crate) async fn perform(session: &Session, change: Change, options: Options) -> Outcome {
    let receipt = begin(session, change, options.plan).await?;
    if options.wait.detach {
        return session.out.show(&receipt.to_any(), |_| {
            let begun = match receipt.status.behind {
                Some(front) => format!("It waits behind {front}."),
                None => "Begun.".into(),
            };
            let id = receipt.id;
            format!("{begun} `freehold receipt {id} --wait` waits for the verdict; `freehold cancel {id}` calls it off.")
        });
    }
    let receipt = follow(session, receipt.id, options.wait.wait_timeout).await?;
    conclude(session, &receipt).await
}

/// The receipt of the operation, once the server has taken it on.
async fn begin(session: &Session, change: Change, wanted: Option<Digest>) -> Outcome<Receipt> {
    let key = ulid::Ulid::new().to_string();
    for attempt in 1.. {
        session.progress.now("planning");
        let plan = session.client.plan(&change).await;
        session.progress.clear();
        let plan = plan?;
        if let [problem] = plan.blockers.as_slice() {
            return Err(problem.clone().into());
        }
        session.out.text(&output::plan::render(&plan, session.out.paint))?;
        if let Some(problem) = blocked(&plan) {
            return Err(problem.clone().into());
        }
        // What waits is planned again when its turn comes, unless this very plan is wanted.
        let seen = (plan.behind.is_none() || wanted.is_some()).then(|| plan.hash.clone());
        let apply = Apply { change: change.clone(), plan_hash: wanted.clone().or(seen) };
        let key = format!("{key}-{attempt}");
        match session.client.apply(&apply, Some(&key), PATIENCE).await {
            Err(error) if error.code() == Code::StalePlan && wanted.is_none() && attempt < PLANS => {
                session.progress.line("The world changed meanwhile; planning again.");
            }
            answer => return Ok(answer?),
        }
    }
    unreachable!("the last attempt returns")
}

/// What stops a plan: the first blocker, which gives the exit code.
pub(crate) fn blocked(plan: &Plan) -> Option<&Problem> {
    plan.blockers.first()
}

/// Shows the steps as they happen until there is a verdict.
pub(crate) async fn follow(session: &Session, id: ReceiptId, limit: Millis) -> Outcome<Receipt> {
    let wait = Wait::for_verdict(limit.duration()).polling(GLANCE);
    let mut steps = Steps { progress: session.progress.clone(), done: 0, begun: 0, waits: String::new() };
    let receipt =
        interrupt::or_interrupted(session.client.wait_receipt(id, wait, |now| steps.show(now))).await;
    session.progress.clear();
    match receipt {
        Some(receipt) => finished(receipt?, limit),
        None => {
            session.progress.line(&format!(
                "It goes on. `freehold receipt {id} --wait` waits for it; `freehold cancel {id}` calls it off."
            ));
            Err(Failure::Said(interrupt::EXIT))
        }
    }
}

fn finished(receipt: Receipt, limit: Millis) -> Outcome<Receipt> {
    if receipt.status.verdict.is_some() {
        return Ok(receipt);
    }
    let title = format!("no verdict after {limit}: {} goes on", show::headline(&receipt));
    let hint = format!("`freehold receipt {} --wait` waits for it.", receipt.id);
    Err(Problem::new(Code::Timeout, title).hint(hint).into())
}

/// Tells how it ended: on standard output when well; when not, as a failure with the exit code of its cause.
pub(crate) async fn conclude(session: &Session, receipt: &Receipt) -> Outcome {
    if session.out.json {
        session.out.show(&receipt.to_any(), |_| String::new())?;
    }
    if receipt.status.verdict != Some(Verdict::Succeeded) {
        return Err(failure(receipt).into());
    }
    session.out.text(&success(session, receipt).await)
}

async fn success(session: &Session, receipt: &Receipt) -> String {
    let paint = session.out.paint;
    let spec = &receipt.spec;
    let mut lines = vec![match (spec.operation, &receipt.status.reason) {
        (Operation::Remove, Some(kept)) if kept.starts_with("kept") => {
            format!("{} is removed; {kept}.", spec.app)
        }
        (Operation::Remove, _) => format!("{} is removed.", spec.app),
        (_, Some(_)) if receipt.status.steps.is_empty() => match spec.release_number {
            Some(number) => format!("v{number} stays as it is."),
            None => "All stays as it is.".into(),
        },
        _ => paint.good(&show::healthy_in(receipt)),
    }];
    lines.extend(addresses(session, receipt).await);
    lines.push(format!("receipt {}", receipt.id));
    lines.extend(receipt.status.serves.as_ref().filter(|_| spec.operation != Operation::Remove).cloned());
    lines.join("\n")
}

/// Where it is reached; nothing if that cannot be had, for the operation itself is done.
async fn addresses(session: &Session, receipt: &Receipt) -> Vec<String> {
    if receipt.spec.operation == Operation::Remove {
        return vec![];
    }
    let query = SummaryQuery {
        project: Some(session.project()),
        app: Some(receipt.spec.app.to_string()),
        env: Some(receipt.spec.env.to_string()),
    };
    let envs = session.client.summaries(&query).await.unwrap_or_default();
    let endpoints = envs.into_iter().flat_map(|env| env.endpoints);
    endpoints.map(|one| format!("  {}  {}", one.name, one.addresses.join("  "))).collect()
}

/// A failed operation as a problem: why, the last lines, what serves now.
pub(crate) fn failure(receipt: &Receipt) -> Problem {
    let reason = receipt.status.reason.as_deref().unwrap_or("no reason was recorded");
    let title = match receipt.status.verdict {
        Some(Verdict::Superseded | Verdict::Cancelled) => format!("{}: {reason}", show::headline(receipt)),
        _ => format!("{} failed: {reason}", show::headline(receipt)),
    };
    let mut detail = show::log_tail(receipt, output::Paint::plain());
    if receipt.spec.operation != Operation::Remove {
        detail.push(what_serves(receipt));
    }
    let hint = match receipt.status.superseded_by {
        Some(newer) => format!("`freehold receipt {newer} --wait` waits for the newer one."),
        None if receipt.spec.queued.is_some() => format!("`freehold receipt {}` has all of it.", receipt.id),
        None => format!("`freehold receipt {}` has all of it; `freehold logs` has more lines.", receipt.id),
    };
    let code = receipt.status.code.unwrap_or(Code::Unhealthy);
    Problem::new(code, title).detail(detail.join("\n")).hint(hint)
}

/// What is so after an operation that did not succeed.
/// Taken from what the server saw when it ended, never from what should be.
pub(crate) fn what_serves(receipt: &Receipt) -> String {
    match &receipt.status.serves {
        _ if receipt.spec.queued.is_some() => "it never had its turn and has changed nothing.".into(),
        Some(seen) => format!("{seen}."),
        None => "`freehold status` shows what serves.".into(),
    }
}

/// Prints each step once when it begins (where nobody watches live) and once when it is done.
struct Steps {
    progress: Progress,
    begun: usize,
    done: usize,
    /// What was last said to be waited for.
    waits: String,
}

impl Steps {
    fn show(&mut self, receipt: &Receipt) {
        let paint = self.progress.paint;
        for (at, step) in receipt.status.steps.iter().enumerate() {
            if step.finished.is_some() && at >= self.done {
                self.progress.line(&show::step_line(step, show::failed(receipt, at), paint));
                self.done = at + 1;
                self.begun = self.begun.max(at + 1);
            } else if step.finished.is_none() && at >= self.begun && !self.progress.is_live() {
                self.progress.line(&show::step_line(step, show::failed(receipt, at), paint));
                self.begun = at + 1;
            }
        }
        let running = receipt.status.steps.iter().find(|step| step.finished.is_none());
        let waiting = running.and_then(|step| step.waiting.as_ref());
        if let Some(waiting) = waiting.filter(|waiting| waiting.on != self.waits && !self.progress.is_live())
        {
            self.progress.line(&show::waiting_line(waiting, paint, Timestamp::now()));
        }
        self.waits = waiting.map(|waiting| waiting.on.clone()).unwrap_or_default();
        let now = match (running, waiting) {
            (Some(step), Some(waiting)) => format!("{} {}: {}", step.name, step.detail, waiting.on),
            (Some(step), None) => format!("{} {}", step.name, step.detail),
            _ => "waiting".into(),
        };
        self.progress.now(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::receipt::tests::receipt;

    #[test]
    fn a_failed_deploy_tells_why_and_what_serves() {
        let mut receipt = receipt();
        receipt.status.verdict = Some(Verdict::Failed);
        receipt.status.reason = Some("web exited with code 1 twice".into());
        receipt.status.log_tail = vec!["no config".into()];
        let problem = failure(&receipt);
        assert_eq!(problem.code.exit_code(), 8);
        assert_eq!(problem.title, "deploy shop/prod v1 → v2 failed: web exited with code 1 twice");
        let detail = problem.detail.unwrap();
        assert!(
            detail.contains("│ no config") && !detail.contains("v1 serves"),
            "nobody has looked: {detail}"
        );
        receipt.status.serves = Some("v1 serves: web 1 of 1 healthy".into());
        let detail = failure(&receipt).detail.unwrap();
        assert!(detail.ends_with("v1 serves: web 1 of 1 healthy."), "{detail}");
    }

    #[test]
    fn no_verdict_in_time_is_exit_code_9_and_says_how_to_wait() {
        let Err(Failure::Problem(problem)) = finished(receipt(), Millis(5000)) else { panic!("no failure") };
        assert_eq!(problem.code.exit_code(), 9);
        assert!(problem.hint.unwrap().contains("--wait"));
    }
}
