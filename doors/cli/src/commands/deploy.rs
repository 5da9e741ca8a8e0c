//! `freehold deploy`: makes the manifest run.

use super::{
    operation::{self, Options, WaitArgs},
    plan::deploy_change,
};
use crate::{failure::Outcome, session::Session};
use freehold_model::Digest;

/// Flags of `deploy`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
New instances start beside the old ones. When all of them are healthy, endpoints move over and the old
ones stop. When one fails, the release before goes on serving, and the exit code is 8.

Examples:
  freehold deploy                     the freehold.toml of this folder, to prod
  freehold deploy -f shop/ -e staging
  freehold deploy --plan sha256:…     only if the plan is still the one that was looked at
  freehold deploy --detach --json     begins, and gives the receipt at once")]
pub(crate) struct Args {
    /// Does it only if the plan still has this hash.
    #[arg(long, value_name = "HASH")]
    plan: Option<Digest>,
    /// Replaces every instance, even those that could stay.
    #[arg(long)]
    restart: bool,
    #[command(flatten)]
    wait: WaitArgs,
    /// Accepted for scripts; a deploy never asks.
    #[arg(short = 'y', long)]
    yes: bool,
}

pub(crate) async fn run(args: Args, session: &Session) -> Outcome {
    let change = deploy_change(session, args.restart)?;
    operation::perform(session, change, Options { plan: args.plan, wait: args.wait }).await
}
