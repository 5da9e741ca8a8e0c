//! `freehold plan`: what a deploy would change.

use super::operation::blocked;
use crate::{failure::Outcome, manifest, output, session::Session};
use freehold_model::api::Change;
use std::process::ExitCode;

/// The exit code of `--exit-code` when there is something to change (design, §9).
const CHANGES: u8 = 10;

/// Flags of `plan`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  freehold plan                       what deploying ./freehold.toml would change
  freehold plan -e staging --json     the same for another env, for a program
  freehold plan --exit-code           ends with 10 if anything would change, 0 if not")]
pub(crate) struct Args {
    /// Ends with 10 when something would change.
    #[arg(long)]
    exit_code: bool,
    /// Plans to replace every instance, even those that could stay.
    #[arg(long)]
    restart: bool,
}

pub(crate) async fn run(args: Args, session: &Session) -> Outcome<ExitCode> {
    let change = deploy_change(session, args.restart)?;
    let plan = session.client.plan(&change).await?;
    session.out.show(&plan, |plan| output::plan::render(plan, session.out.paint))?;
    if let Some(problem) = blocked(&plan) {
        return Ok(ExitCode::from(problem.code.exit_code()));
    }
    if args.exit_code && !plan.is_noop() {
        return Ok(ExitCode::from(CHANGES));
    }
    if !plan.is_noop() {
        session.out.text(&format!("\n`freehold deploy --plan {}` does exactly this.", plan.hash))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The deploy of the manifest that is meant.
pub(crate) fn deploy_change(session: &Session, restart: bool) -> Outcome<Change> {
    let manifest = manifest::read(session.globals.file.as_deref())?;
    Ok(Change::Deploy {
        manifest: manifest.text,
        file: manifest.path.display().to_string(),
        env: session.globals.env.clone(),
        project: session.globals.project.clone(),
        restart,
    })
}
