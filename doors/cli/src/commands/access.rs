//! `freehold access explain` and `freehold whoami`: who may do what here, and by which binding.

use crate::{failure::Outcome, output::people, session::Session};
use freehold_client::AccessQuery;
use freehold_model::Name;

/// What can be asked about access.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Says whether somebody may do something at a place, by which binding, and what it takes.
    Explain(ExplainArgs),
}

/// Flags of `access explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  freehold access explain deploy                        may I, in the project `default`?
  freehold access explain exec --project shop --all     who may, in `shop`?
  freehold access explain rotate-key --house --of-token ci")]
pub(crate) struct ExplainArgs {
    /// The action, such as deploy, read-logs or manage-tokens.
    action: String,
    /// In this org as a whole.
    #[arg(long, value_name = "ORG", conflicts_with = "project")]
    org: Option<Name>,
    /// In what all orgs share: nodes, the key, users.
    #[arg(long, conflicts_with_all = ["org", "project"])]
    house: bool,
    /// About the user of this name.
    #[arg(long = "of-user", value_name = "NAME", conflicts_with = "of_token")]
    of_user: Option<Name>,
    /// About the token of this name.
    #[arg(long = "of-token", value_name = "NAME")]
    of_token: Option<Name>,
    /// About everybody who has a role there.
    #[arg(long, conflicts_with_all = ["of_token", "of_user"])]
    all: bool,
}

pub(crate) async fn run(command: Command, session: &Session) -> Outcome {
    let Command::Explain(args) = command;
    let text = |name: Option<&Name>| name.map(Name::to_string);
    let query = AccessQuery {
        action: args.action,
        org: text(args.org.as_ref()),
        project: text(session.globals.project.as_ref()),
        house: args.house,
        user: text(args.of_user.as_ref()),
        token: text(args.of_token.as_ref()),
        everybody: args.all,
    };
    let explanation = session.client.explain_access(&query).await?;
    session.out.show(&explanation, |it| people::explanation(it, session.out.paint))
}

/// `freehold whoami`.
pub(crate) async fn whoami(session: &Session) -> Outcome {
    let who = session.client.whoami().await?;
    session.out.show(&who, people::whoami)
}
