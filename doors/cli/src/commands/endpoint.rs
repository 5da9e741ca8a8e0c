//! `freehold endpoint list|describe|log`.

use super::noun;
use crate::{
    failure::{Failure, Outcome},
    interrupt, output,
    output::time,
    session::Session,
};
use freehold_client::AccessLog;
use freehold_model::{EndpointId, Kind, traffic::AccessQuery};
use jiff::Timestamp;

/// What endpoints can do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists them: those of the app that is meant, or all.
    List,
    /// Explains one: what is wanted, what is so, why they differ, what it carried, what happened.
    Describe(noun::NameArgs),
    /// Shows who connected: a line for each connection that has ended.
    Log(LogArgs),
}

/// Flags of `endpoint log`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A line is written when a connection, or a UDP session, ends: when, who, which instance answered, how many
bytes came and went, how long it took, how it ended. With --json each line is one object.

Examples:
  freehold endpoint log tcp/8000 --tail 20
  freehold endpoint log tcp/8000 --follow --json")]
pub(crate) struct LogArgs {
    /// Its name or its id.
    name: String,
    /// Only of connections that ended since: how long ago, or a timestamp.
    #[arg(long, value_name = "TIME", value_parser = time::point)]
    since: Option<Timestamp>,
    /// Only the last so many.
    #[arg(short = 'n', long, value_name = "N")]
    tail: Option<usize>,
    /// Goes on with new lines as connections end.
    #[arg(long)]
    follow: bool,
}

pub(crate) async fn run(command: Command, session: &Session) -> Outcome {
    match command {
        Command::List => noun::run(Kind::Endpoint, noun::Command::List, session).await,
        Command::Describe(args) => noun::run(Kind::Endpoint, noun::Command::Describe(args), session).await,
        Command::Log(args) => log(args, session).await,
    }
}

async fn log(args: LogArgs, session: &Session) -> Outcome {
    let id = session.find_named(Kind::Endpoint, &args.name).await?;
    let id = EndpointId::try_from(id).map_err(|error| Failure::local("read an id", error))?;
    let query = AccessQuery { since: args.since, tail: args.tail, follow: args.follow };
    let lines = session.client.access_log(id, &query).await?;
    interrupt::or_interrupted(print(lines, session)).await.unwrap_or(Err(Failure::Said(interrupt::EXIT)))
}

async fn print(mut lines: AccessLog, session: &Session) -> Outcome {
    let paint = session.out.paint;
    while let Some(line) = lines.next().await? {
        session.out.show_next(&line, |line| output::traffic::line(line, paint))?;
    }
    Ok(())
}
