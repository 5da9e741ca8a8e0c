//! `freehold describe`: everything that explains one resource.

use crate::{failure::Outcome, output, session::Session};
use freehold_model::AnyId;
use jiff::Timestamp;

/// Flags of `describe`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  freehold describe ins_01jq…         by id
  freehold describe app shop          by kind and name; or app/shop
  freehold describe release/v3 -a shop
  freehold describe endpoint/tcp/8000 -a shop -e prod")]
pub(crate) struct Args {
    /// An id, `kind/name`, or a kind.
    resource: String,
    /// The name, after a kind.
    name: Option<String>,
}

pub(crate) async fn run(args: Args, session: &Session) -> Outcome {
    let id = match &args.name {
        Some(name) => session.find(&format!("{}/{name}", args.resource)).await?,
        None => session.find(&args.resource).await?,
    };
    show(id, session).await
}

/// Describes the resource with that id.
pub(crate) async fn show(id: AnyId, session: &Session) -> Outcome {
    let description = session.client.describe(id).await?;
    let paint = session.out.paint;
    session.out.show(&description, |it| output::describe::render(it, paint, Timestamp::now()))
}
