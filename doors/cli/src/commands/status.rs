//! `freehold status`: what runs.

use crate::{failure::Outcome, output, session::Session};
use freehold_client::{ResourceQuery, SummaryQuery};
use freehold_model::{Kind, NodeSpec, NodeStatus};
use jiff::Timestamp;

/// Flags of `status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  freehold status                     the app of this folder, or everything
  freehold status --all               everything
  freehold status --wide              every address, IPv6 included
  freehold status -a shop --json")]
pub(crate) struct Args {
    /// Every app, wherever this is called.
    #[arg(long, conflicts_with = "app")]
    all: bool,
    /// Every address, IPv6 included, and lines as long as they are.
    #[arg(long)]
    wide: bool,
}

pub(crate) async fn run(args: Args, session: &Session) -> Outcome {
    let envs = match args.all {
        true => session.client.summaries(&SummaryQuery::default()).await?,
        false => session.summaries().await?,
    };
    let paint = session.out.paint;
    // Who may not see nodes sees the rest.
    let nodes = session.client.all_resources(&ResourceQuery::of(Kind::Node)).await;
    for any in nodes.unwrap_or_default() {
        let Ok(node) = any.typed::<NodeSpec>() else { continue };
        for warning in node.status.warnings() {
            let what = match warning.kind.as_str() {
                NodeStatus::ISOLATION => "instances are not kept apart: ",
                NodeStatus::RANGE => "the range of instances' addresses is used by others: ",
                _ => "",
            };
            let (name, message) = (&node.name, &warning.message);
            let text = format!("node {name}: {what}{message}; `freehold doctor` says what to do");
            eprintln!("{}", paint.bad(&text));
        }
    }
    let width = if args.wide { usize::MAX } else { super::terminal_width() };
    let view = output::status::View { paint, width, wide: args.wide };
    session.out.show(&envs, |envs| output::status::render(envs, view, Timestamp::now()))
}
