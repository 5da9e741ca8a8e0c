//! `freehold logs`: what instances print.

use crate::{
    failure::{Failure, Outcome},
    interrupt, output,
    output::time,
    session::Session,
};
use freehold_client::{LogScope, Logs};
use freehold_model::{Name, logs::LogQuery};
use jiff::Timestamp;

/// Flags of `logs`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Lines of instances that are gone are kept. With --json each line is one object.

Examples:
  freehold logs --tail 100            the last lines of each instance
  freehold logs --process web --since 10m
  freehold logs --instance ins_01jq… --follow")]
pub(crate) struct Args {
    /// Only of this process.
    #[arg(short, long)]
    process: Option<Name>,
    /// Only of this instance: its id, or the end of it.
    #[arg(long, value_name = "ID")]
    instance: Option<String>,
    /// Not before: how long ago, or a timestamp.
    #[arg(long, value_name = "TIME", value_parser = point)]
    since: Option<Timestamp>,
    /// Not after: how long ago, or a timestamp.
    #[arg(long, value_name = "TIME", value_parser = point)]
    until: Option<Timestamp>,
    /// Only the last so many of each instance.
    #[arg(long, value_name = "N")]
    tail: Option<usize>,
    /// Goes on with new lines as they come.
    #[arg(long, conflicts_with = "until")]
    follow: bool,
}

pub(crate) async fn run(args: Args, session: &Session) -> Outcome {
    let instance = match &args.instance {
        Some(text) => Some(session.instance(text).await?),
        None => None,
    };
    let scope = match instance {
        Some(_) => LogScope { instance, ..LogScope::default() },
        None => LogScope {
            project: Some(session.project()),
            app: Some(session.app()?.to_string()),
            env: Some(session.env()),
            process: args.process.map(|name| name.to_string()),
            instance: None,
        },
    };
    let query = LogQuery { since: args.since, until: args.until, tail: args.tail, follow: args.follow };
    let logs = session.client.logs(scope, query).await?;
    interrupt::or_interrupted(print(logs, session)).await.unwrap_or(Err(Failure::Said(interrupt::EXIT)))
}

async fn print(mut logs: Logs, session: &Session) -> Outcome {
    let paint = session.out.paint;
    while let Some(line) = logs.next().await? {
        session.out.show_next(&line, |line| output::logs::line(line, paint))?;
    }
    Ok(())
}

fn point(text: &str) -> Result<Timestamp, String> {
    time::parse_point(text, Timestamp::now())
}
