//! `freehold status`: what runs.

use crate::{failure::Outcome, output, session::Session};
use freehold_client::SummaryQuery;
use jiff::Timestamp;

/// Flags of `status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  freehold status                     the app of this folder, or everything
  freehold status --all               everything
  freehold status -a shop --json")]
pub(crate) struct Args {
    /// Every app, wherever this is called.
    #[arg(long, conflicts_with = "app")]
    all: bool,
}

pub(crate) async fn run(args: Args, session: &Session) -> Outcome {
    let envs = match args.all {
        true => session.client.summaries(&SummaryQuery::default()).await?,
        false => session.summaries().await?,
    };
    let paint = session.out.paint;
    session.out.show(&envs, |envs| output::status::render(envs, paint, Timestamp::now()))
}
