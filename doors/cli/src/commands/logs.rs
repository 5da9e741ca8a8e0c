//! `freehold logs`: what instances print.

use crate::{
    failure::{Failure, Outcome},
    interrupt, output,
    output::time,
    session::Session,
};
use freehold_client::{LogNews, LogScope, Logs};
use freehold_model::{Code, Name, Problem, logs::LogQuery};
use freehold_runtime::logs::Patterns;
use jiff::Timestamp;

/// Flags of `logs`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Lines of all instances come in the order of time, those of instances that are gone included. With --json
each line is one object.

Examples:
  freehold logs -n 100                        the last 100 lines of all instances together
  freehold logs -p web -p worker --since 10m
  freehold logs --grep '(?i)error' --since 2026-01-31
  freehold logs --instance 7k3q9z -f          goes on across redeploys and restarts")]
pub(crate) struct Args {
    /// Only of this process; may be given more than once.
    #[arg(short, long)]
    process: Vec<Name>,
    /// Only of this instance, even if it is gone: its id, or the end of it; may be given more than once.
    #[arg(long, value_name = "ID")]
    instance: Vec<String>,
    /// Not before: how long ago (10m), a date or a timestamp.
    #[arg(long, value_name = "TIME", value_parser = time::point)]
    since: Option<Timestamp>,
    /// Not after: how long ago (10m), a date or a timestamp.
    #[arg(long, value_name = "TIME", value_parser = time::point)]
    until: Option<Timestamp>,
    /// Only the last so many of all that fit.
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=1_000_000))]
    tail: Option<u64>,
    /// Only lines that match this regular expression; of several, one must match.
    #[arg(short, long, value_name = "REGEX")]
    grep: Vec<String>,
    /// Goes on with new lines as they come.
    #[arg(short = 'f', long, conflicts_with = "until")]
    follow: bool,
    /// The manifest, or the folder that holds it: `-f` follows here.
    #[arg(id = "file", long, value_name = "FILE", hide = true)]
    _file: Option<std::path::PathBuf>,
}

pub(crate) async fn run(args: Args, session: &Session) -> Outcome {
    // Said here, where the shell's quotes can still be looked at; and needed to mark what matched.
    let patterns = Patterns::new(&args.grep).map_err(|error| {
        Problem::new(Code::Invalid, format!("--grep: {error}"))
            .hint("A backslash makes a special character an ordinary one: `\\(`.")
    })?;
    let whole = |text: &String| text.parse::<freehold_model::InstanceId>().is_ok();
    let named_whole = !args.instance.is_empty() && args.instance.iter().all(whole);
    let (processes, instances) = (args.process.iter().map(Name::to_string).collect(), args.instance);
    let scope = match named_whole {
        // An id says all there is to say.
        true => LogScope { processes, instances, ..LogScope::default() },
        false => LogScope {
            project: Some(session.project()),
            app: Some(session.app()?.to_string()),
            env: Some(session.env()),
            processes,
            instances,
        },
    };
    let query = LogQuery {
        since: args.since,
        until: args.until,
        tail: args.tail.map(|count| count as usize),
        follow: args.follow,
        grep: args.grep,
        ..LogQuery::default()
    };
    let logs = session.client.logs(scope, query).await?;
    let printed = interrupt::or_interrupted(print(logs, &patterns, session)).await;
    printed.unwrap_or(Err(Failure::Said(interrupt::EXIT)))
}

async fn print(mut logs: Logs, patterns: &Patterns, session: &Session) -> Outcome {
    let paint = session.out.paint;
    let mut broken = false;
    loop {
        match logs.next().await? {
            LogNews::Lines(lines) => {
                broken = false;
                session.out.show_all(&lines, |line| output::logs::line(line, patterns, paint))?;
            }
            LogNews::Broken if broken => {}
            LogNews::Broken => {
                broken = true;
                session.progress.line("the connection broke; going on once the server is back");
            }
            LogNews::End => return Ok(()),
        }
    }
}
