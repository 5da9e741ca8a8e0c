//! `freehold node remove`.

use super::find;
use crate::{commands::terminal::confirmed, failure::Outcome, session::Session};

/// Flags of `node remove`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A node that answers is drained first (`freehold node drain NAME`) and has no volumes. \
One that is lost for good takes its instances along, which are made again elsewhere; its volumes stay as \
resources until they are deleted."
)]
pub(crate) struct Args {
    /// The node's name or id.
    name: String,
    /// Does not ask.
    #[arg(short = 'y', long)]
    yes: bool,
}

pub(crate) async fn run(args: Args, session: &Session) -> Outcome {
    let node = find(&args.name, session).await?;
    let name = node.name.clone();
    if !args.yes {
        confirmed(&format!("removing node {name}, which must join anew to come back"), &name)?;
    }
    let removed = session.client.remove_node(node.id).await?;
    session.out.show(&removed.to_any(), |_| format!("{name} is removed."))
}
