//! `freehold diff`: what differs between releases, a manifest, and what runs.

use super::plan::deploy_change;
use crate::{failure::Outcome, output, session::Session};
use freehold_client::DiffQuery;
use freehold_model::api::Diff;
use std::process::ExitCode;

/// The exit code of `--exit-code` when something differs, as of `plan`.
const DIFFERS: u8 = 10;

/// Flags of `diff`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without a release, the freehold.toml is compared with the release that runs. Values of variables whose
names look secret are masked, unless --json is given.

Examples:
  freehold diff                       what the manifest here would change
  freehold diff v3 v5 -a shop         from one release to another
  freehold diff v3 -a shop            from v3 to the release that runs
  freehold diff --drift -a shop       from the release that runs to what is observed to run
  freehold diff --exit-code           ends with 10 if anything differs, 0 if not")]
pub(crate) struct Args {
    /// The release to start from: `v3`, or `current` for the one that runs.
    #[arg(value_parser = side)]
    from: Option<String>,
    /// The release that it leads to [default: the one that runs].
    #[arg(value_parser = side)]
    to: Option<String>,
    /// Compares the release that runs with what is observed to run.
    #[arg(long, conflicts_with_all = ["from", "to"])]
    drift: bool,
    /// Ends with 10 when anything differs.
    #[arg(long)]
    exit_code: bool,
}

pub(crate) async fn run(args: Args, session: &Session) -> Outcome<ExitCode> {
    let current = || "current".to_owned();
    let diff = match (args.drift, args.from) {
        (true, _) => compare(session, current(), "observed".into()).await?,
        (false, Some(from)) => compare(session, from, args.to.unwrap_or_else(current)).await?,
        (false, None) => manifest(session).await?,
    };
    session.out.show(&diff, |diff| output::diff::render(diff, session.out.paint))?;
    Ok(if args.exit_code && !diff.is_empty() { ExitCode::from(DIFFERS) } else { ExitCode::SUCCESS })
}

async fn compare(session: &Session, from: String, to: String) -> Outcome<Diff> {
    let (project, app, env) = (session.project(), session.app()?.to_string(), session.env());
    Ok(session.client.diff(&DiffQuery { project, app, env, from, to }).await?)
}

/// The manifest here beside the release that runs: what a plan says of it.
async fn manifest(session: &Session) -> Outcome<Diff> {
    let change = deploy_change(session, false)?;
    let file = match &change {
        freehold_model::api::Change::Deploy { file, .. } => file.clone(),
        _ => String::new(),
    };
    let plan = session.client.plan(&change).await?;
    let from = plan.current.map_or("nothing".into(), |number| format!("v{number}"));
    Ok(Diff { app: plan.app, env: plan.env, from, to: file, changes: plan.changes })
}

fn side(text: &str) -> Result<String, String> {
    let number = text.strip_prefix('v').unwrap_or(text);
    match (text, number.parse::<u32>()) {
        ("current", _) => Ok(text.into()),
        (_, Ok(number)) if number > 0 => Ok(format!("v{number}")),
        _ => Err("write a release such as `v3`, or `current`".into()),
    }
}
