//! `freehold events`: what happened, and what happens.

use crate::{
    failure::{Failure, Outcome},
    interrupt, output,
    session::Session,
};
use freehold_client::{ClientError, EventQuery};
use freehold_model::{AnyId, Code};

/// Flags of `events`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  freehold events                     the last 20, the newest at the bottom
  freehold events app/shop --last 5   about one resource
  freehold events --follow --json     one line of JSON for each, as it happens")]
pub(crate) struct Args {
    /// Only about this resource: an id, or `kind/name`.
    subject: Option<String>,
    /// How many that already happened.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(0..=1000))]
    last: u16,
    /// Goes on with what happens next.
    #[arg(long)]
    follow: bool,
}

pub(crate) async fn run(args: Args, session: &Session) -> Outcome {
    let subject = match &args.subject {
        Some(subject) => Some(session.find(subject).await?),
        None => None,
    };
    let last = usize::from(args.last);
    // None is no number that the server takes; one at least tells from where to follow.
    let query = EventQuery { last: Some(last.max(1)), subject, ..EventQuery::default() };
    let mut events = session.client.events(&query).await?;
    events.reverse();
    let newest = events.last().map_or(0, |event| event.seq);
    events.drain(..events.len().saturating_sub(last));
    let paint = session.out.paint;
    if !args.follow {
        return session.out.show(&events, |events| output::event::lines(events, paint));
    }
    for event in &events {
        session.out.show_next(event, |event| output::event::line(event, paint))?;
    }
    interrupt::or_interrupted(follow(session, newest, subject))
        .await
        .unwrap_or(Err(Failure::Said(interrupt::EXIT)))
}

async fn follow(session: &Session, last: u64, subject: Option<AnyId>) -> Outcome {
    let paint = session.out.paint;
    let mut watch = session.client.watch(last, subject);
    loop {
        let event = match watch.next().await {
            Err(ClientError::Problem(gone)) if gone.code == Code::Gone && gone.first.is_some() => {
                eprintln!("{}", gone.title);
                continue;
            }
            next => next?,
        };
        session.out.show_next(&event, |event| output::event::line(event, paint))?;
    }
}
