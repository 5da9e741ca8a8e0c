//! `freehold audit retention`: how long the event log reaches back.

use crate::{
    failure::{Failure, Outcome},
    output::{Paint, time},
    session::Session,
};
use freehold_model::{LogRetention, Millis, Retention, RetentionReport};
use jiff::Timestamp;

/// What can be done with the log's retention.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
An event stays while it is younger than --keep, or among the newest --keep-events. At least 30d are kept. A rule that
keeps less than the one before counts only a week after it was set, and until then `off` calls it off. What goes is
gone: export it first.

Examples:
  freehold audit retention show
  freehold audit export > audit-2026.jsonl
  freehold audit retention set --keep 400d
  freehold audit retention set --keep 90d --keep-events 100000
  freehold audit retention off")]
pub(crate) enum Command {
    /// Shows what is kept, and from what the rest of the log is proved.
    Show,
    /// Sets what is kept; an owner of the house may.
    Set(SetArgs),
    /// Keeps everything from now on.
    Off,
}

/// Flags of `audit retention set`.
#[derive(Debug, clap::Args)]
pub(crate) struct SetArgs {
    /// What is younger stays, as in 400d; 30d at least.
    #[arg(long, value_name = "TIME", value_parser = time::parse_length)]
    keep: Option<Millis>,
    /// The newest so many stay, whatever their age; 10000 where nothing was said.
    #[arg(long, value_name = "COUNT")]
    keep_events: Option<u64>,
}

pub(crate) async fn run(command: Command, session: &Session) -> Outcome {
    let report = match command {
        Command::Show => session.client.retention().await?,
        Command::Off => session.client.set_retention(None).await?,
        Command::Set(SetArgs { keep, keep_events }) => {
            let before = session.client.retention().await?.set.and_then(|set| set.rule);
            let Some(keep) = keep.or(before.map(|before| before.keep)) else {
                return Err(Failure::usage("how long is not said", "Give --keep, as in --keep 400d."));
            };
            let kept = before.map_or(Retention::EVENTS, |before| before.keep_events);
            let rule = Retention { keep, keep_events: keep_events.unwrap_or(kept) };
            session.client.set_retention(Some(&rule)).await?
        }
    };
    session.out.show(&report, |report| told(report, Timestamp::now(), session.out.paint))
}

fn told(report: &RetentionReport, now: Timestamp, paint: Paint) -> String {
    let RetentionReport { rule, set, first, last, anchor } = report;
    let words = |rule: &Option<Retention>| {
        rule.map_or_else(|| "everything, for ever".into(), |rule| rule.to_string())
    };
    let mut lines = vec![format!("kept      {}", words(rule))];
    if let Some(LogRetention { rule: next, from, by, set, .. }) = set {
        if *from > now {
            let day = from.round(jiff::Unit::Second).unwrap_or(*from);
            let waits = format!("from {day} ({}): {}", time::ago(*from, now), words(next));
            lines.push(format!("then      {}", paint.note(&waits)));
        }
        lines.push(format!("set       by {by}, {}", time::ago(*set, now)));
    }
    lines.push(format!("log       events {first} to {last}"));
    if let Some(anchor) = anchor {
        lines.push(format!(
            "pruned    up to event {}, {} (event {} says so)",
            anchor.seq,
            time::ago(anchor.time, now),
            anchor.said
        ));
        lines.push(format!("anchor    {}", anchor.link()));
    }
    lines.join("\n")
}
