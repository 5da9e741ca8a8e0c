//! `freehold token`: tokens for machines, each with a role at a place and an end.

use super::noun::NameArgs;
use crate::{
    failure::{Failure, Outcome},
    output::{Paint, people, time},
    session::Session,
};
use freehold_model::{
    Millis, Name, Rate, Role,
    access::{CreateToken, NamedBinding, TokenSummary},
};
use jiff::Timestamp;

/// What can be done with tokens.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Makes a token for a machine, and shows it once.
    Create(CreateArgs),
    /// Lists tokens: what they may do where, and until when. Never the tokens themselves.
    List,
    /// Revokes a token: it lets nobody in any more.
    #[command(aliases = ["delete", "remove", "rm"])]
    Revoke(NameArgs),
}

/// Flags of `token create`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The role holds for the project (--project), or for a whole org (--org); for the project `default` where
neither is given. A token has at most the rights of who makes it.

Examples:
  freehold token create ci --role developer --expires 30d
  freehold token create dashboard --role viewer --org home
  FREEHOLD_TOKEN=$(freehold token create ci --role developer --json | jq -r .token) freehold deploy")]
pub(crate) struct CreateArgs {
    /// What it is called in lists and in the audit trail.
    name: Name,
    /// What its bearer may do: owner, admin, developer or viewer.
    #[arg(long)]
    role: Role,
    /// For this org as a whole.
    #[arg(long, value_name = "ORG", conflicts_with = "project")]
    org: Option<Name>,
    /// How long it is good, up to 366d.
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = time::parse_length)]
    expires: Millis,
    /// How many requests its bearer may make, as in 600/min, 20/s or 5000/h; what the house gives when not said.
    #[arg(long, value_name = "COUNT/TIME")]
    rate: Option<Rate>,
}

pub(crate) async fn run(command: Command, session: &Session) -> Outcome {
    match command {
        Command::Create(args) => create(args, session).await,
        Command::List => {
            let tokens = session.client.tokens().await?;
            session.out.show(&tokens, |all| people::tokens(all, session.out.paint, Timestamp::now()))
        }
        Command::Revoke(args) => {
            let token = find(args.name(), session).await?;
            session.client.revoke_token(token.id).await?;
            session.out.show(&token, |token| format!("Token {} lets nobody in any more.", token.name))
        }
    }
}

async fn create(args: CreateArgs, session: &Session) -> Outcome {
    let binding = NamedBinding { role: args.role, org: args.org, project: session.globals.project.clone() };
    let wanted = CreateToken {
        name: args.name,
        bindings: vec![binding],
        expires_in: Some(args.expires),
        rate: args.rate,
    };
    let made = session.client.create_token(&wanted).await?;
    let show = |made: &freehold_model::access::CreatedToken| {
        let ends = made.summary.expires.strftime("%Y-%m-%d");
        let place = people::bindings(&made.summary.bindings);
        let note = Paint::stderr().dim(&format!(
            "Token {} ({place}) is good until {ends}. It is shown this once: keep it as a secret.",
            made.summary.name
        ));
        eprintln!("{note}");
        made.token.expose().to_owned()
    };
    session.out.show(&made, show)
}

async fn find(text: &str, session: &Session) -> Outcome<TokenSummary> {
    let all = session.client.tokens().await?;
    let mut found: Vec<TokenSummary> =
        all.into_iter().filter(|token| token.name == text || token.id.to_string() == text).collect();
    if found.len() > 1 {
        let lines = found.iter().map(|it| format!("{} ({})", it.id, people::bindings(&it.bindings)));
        return Err(Failure::usage(
            format!("{} tokens are called `{text}`: {}", found.len(), lines.collect::<Vec<_>>().join(", ")),
            "Name it by its id.",
        ));
    }
    found.pop().ok_or_else(|| {
        Failure::not_found(
            format!("there is no token called `{text}`"),
            "`freehold token list` shows what there is.",
        )
    })
}
