//! `freehold audit`: the event log as evidence. Every row carries the hash of the row before it; here that
//! is computed again by the reader, who need not believe the server.

use super::retention;
use crate::{
    args::Globals,
    failure::{Failure, Outcome},
    output::{self, Out, time},
    session::Session,
};
use freehold_client::EventQuery;
use freehold_model::{Anchor, Broken, Code, Event, Link, Problem, Seq};
use jiff::Timestamp;
use serde::Serialize;
use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
};

/// Events asked for at a time.
const PAGE: usize = 1000;
/// An event is small; a longer line is something else.
const LONGEST: u64 = 4 << 20;

/// The subcommands of `audit`.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Examples:
  freehold audit list --actor ada --since 7d       what somebody did
  freehold audit list --what secret                what happened to secrets, whoever did it
  freehold audit export > audit.jsonl              every event, one line of JSON each
  freehold audit export --after 5000 >> audit.jsonl
  freehold audit verify                            the server's log, computed again here
  freehold audit verify audit.jsonl                an export, without any server
  freehold audit verify --anchor 5000:3f…          and that it still is what it was at event 5000
  freehold audit retention show                    how long the log reaches back")]
pub(crate) enum Command {
    /// Lists what was done, by whom, the newest at the bottom.
    List(ListArgs),
    /// Prints events with their hashes, the oldest first, one line of JSON each.
    Export {
        /// Only what came after this event; from the first that is kept if nothing is said.
        #[arg(long, value_name = "SEQ")]
        after: Option<Seq>,
    },
    /// Checks that nothing was cut out of the log or changed in it.
    Verify(VerifyArgs),
    /// How long the log reaches back.
    #[command(subcommand)]
    Retention(retention::Command),
}

/// Flags of `audit list`.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Only about this resource: an id, or `kind/name`.
    subject: Option<String>,
    /// Only by this actor: a user or a token by name, or as in `controller:rollout` and `node:nod_…`.
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Only what is called this, as in `secret.set`, or is of this kind, as in `secret`.
    #[arg(long, value_name = "WHAT")]
    what: Option<String>,
    /// Not before: how long ago (7d), a date or a timestamp.
    #[arg(long, value_name = "WHEN", value_parser = time::point)]
    since: Option<Timestamp>,
    /// At most so many, the newest.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    last: u16,
}

/// Flags of `audit verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// An export, instead of the server's log.
    file: Option<PathBuf>,
    /// What an earlier `audit verify` said of the log: nothing up to there may have changed since.
    #[arg(long, value_name = "SEQ:HASH")]
    anchor: Option<Link>,
}

impl Command {
    /// Whether it asks no server.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self, Command::Verify(VerifyArgs { file: Some(_), .. }))
    }
}

/// What a log that holds together says of itself.
#[derive(Debug, Serialize)]
struct Verified {
    /// The first event looked at.
    first: Seq,
    /// How many.
    events: u64,
    /// The last of them: what proves this log later.
    anchor: String,
    /// The end of what came before and was pruned, as the server kept it.
    #[serde(skip_serializing_if = "Option::is_none")]
    behind: Option<String>,
}

/// A walk along the log.
struct Walk {
    anchor: Option<Link>,
    /// Behind which a log that was pruned begins.
    behind: Option<Anchor>,
    /// Whether the event that says so is still to come.
    unsaid: bool,
    first: Option<Seq>,
    last: Link,
}

impl Walk {
    fn new(anchor: Option<Link>) -> Walk {
        Walk { anchor, behind: None, unsaid: false, first: None, last: Link::genesis() }
    }

    /// Along what is left of a log that begins behind `behind`.
    fn of_rest(anchor: Option<Link>, behind: Option<Anchor>) -> Outcome<Walk> {
        let mut walk = Walk::new(anchor);
        let Some(behind) = behind else { return Ok(walk) };
        match &walk.anchor {
            Some(Link { seq, .. }) if *seq < behind.seq => {
                let title = format!(
                    "What came before event {} is kept no longer, event {seq} among it.",
                    behind.seq + 1
                );
                return Err(Failure::Problem(Problem::new(Code::Gone, title).hint(
                    "An export from before it went is proved by that anchor: `audit verify FILE --anchor SEQ:HASH`.",
                )));
            }
            Some(anchor) if anchor.seq == behind.seq && *anchor != behind.link() => {
                return Err(other(anchor));
            }
            _ => {}
        }
        (walk.last, walk.unsaid, walk.behind) = (behind.link(), true, Some(behind));
        Ok(walk)
    }

    fn step(&mut self, event: &Event) -> Result<(), Failure> {
        if self.first.is_none() {
            self.first = Some(event.seq);
            if event.seq > 1 && self.behind.is_none() {
                self.last = self.start_before(event.seq)?;
            }
        }
        self.last = self.last.follow(event).map_err(|error| broken(&error))?;
        self.unsaid &= self.behind.as_ref().is_some_and(|behind| !behind.is_said_by(event));
        match &self.anchor {
            Some(anchor) if anchor.seq == self.last.seq && *anchor != self.last => Err(other(anchor)),
            _ => Ok(()),
        }
    }

    /// The link before an export's first event, which only its reader can know.
    fn start_before(&self, first: Seq) -> Result<Link, Failure> {
        let known = self.anchor.as_ref().filter(|anchor| anchor.seq == first - 1);
        known.cloned().ok_or_else(|| {
            let before = first - 1;
            Failure::usage(
                format!("it begins with event {first}, and what came before is not known"),
                format!(
                    "Give the anchor of event {before}, `--anchor {before}:HASH`, or an export of everything."
                ),
            )
        })
    }

    fn end(self) -> Outcome<Verified> {
        if let Some(anchor) = &self.anchor
            && anchor.seq > self.last.seq
        {
            let problem = "is missing, though an anchor was taken from a longer log".into();
            return Err(broken(&Broken { seq: self.last.seq + 1, problem }));
        }
        if let Some(behind) = self.behind.as_ref().filter(|_| self.unsaid) {
            return Err(broken(&behind.unsaid()));
        }
        let first = self.first.unwrap_or(1);
        let events = (self.last.seq + 1).saturating_sub(first);
        let behind = self.behind.map(|behind| behind.link().to_string());
        Ok(Verified { first, events, anchor: self.last.to_string(), behind })
    }
}

/// The failure of a log in which the event of `anchor` is another.
fn other(anchor: &Link) -> Failure {
    let problem = "is not the one that the anchor was taken from".into();
    broken(&Broken { seq: anchor.seq, problem })
}

fn broken(error: &Broken) -> Failure {
    let problem = Problem::new(Code::Internal, format!("the log was cut or changed: {error}"));
    Failure::Problem(
        problem.hint("Compare it with a backup or an export before trusting anything from there on."),
    )
}

pub(crate) async fn run(command: Command, session: &Session) -> Outcome {
    match command {
        Command::List(args) => list(args, session).await,
        Command::Export { after } => export(after, session).await,
        Command::Retention(command) => retention::run(command, session).await,
        Command::Verify(args) => {
            let behind = match session.client.retention().await {
                Ok(report) => report.anchor,
                // Not theirs to see, or a server that knows of no such thing.
                Err(error) if matches!(error.code(), Code::NotAllowed | Code::NotFound) => None,
                Err(error) => return Err(error.into()),
            };
            let mut after = Some(behind.as_ref().map_or(0, |behind| behind.seq));
            let mut walk = Walk::of_rest(args.anchor, behind)?;
            while let Some(last) = page(after, session, |event| walk.step(event)).await? {
                after = Some(last);
            }
            tell(&walk.end()?, session.out)
        }
    }
}

async fn list(args: ListArgs, session: &Session) -> Outcome {
    let subject = match &args.subject {
        Some(subject) => Some(session.find(subject).await?),
        None => None,
    };
    let actor = args.actor.map(|name| match name.contains(':') || name == "system" {
        true => name,
        false => format!("user:{name}"),
    });
    let (what, since, last) = (args.what, args.since, Some(args.last.into()));
    let query = EventQuery { subject, actor, what, since, last, ..EventQuery::default() };
    let mut events = session.client.events(&query).await?;
    events.reverse();
    session.out.show(&events, |events| output::event::lines(events, session.out.paint))
}

/// Verifies an export.
pub(crate) fn run_here(command: Command, globals: &Globals) -> Outcome {
    let Command::Verify(VerifyArgs { file: Some(file), anchor }) = command else {
        return Err(Failure::usage("no file is named", "Name an export."));
    };
    let mut walk = Walk::new(anchor);
    read(&file, |event| walk.step(event))?;
    tell(&walk.end()?, Out::new(globals.json))
}

async fn export(mut after: Option<Seq>, session: &Session) -> Outcome {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut write = |event: &Event| -> Outcome {
        serde_json::to_writer(&mut out, event).map_err(io::Error::from)?;
        Ok(out.write_all(b"\n")?)
    };
    while let Some(last) = page(after, session, &mut write).await? {
        after = Some(last);
    }
    Ok(out.flush()?)
}

/// Hands on the events after `after`; answers with the last one's place, or `None` if there was none.
async fn page(
    after: Option<Seq>,
    session: &Session,
    mut each: impl FnMut(&Event) -> Outcome,
) -> Outcome<Option<Seq>> {
    let query = EventQuery { after, limit: Some(PAGE), ..EventQuery::default() };
    let events = session.client.events(&query).await?;
    events.iter().try_for_each(&mut each)?;
    Ok(events.last().map(|event| event.seq))
}

fn read(file: &Path, mut each: impl FnMut(&Event) -> Outcome) -> Outcome {
    let wrong = |error: io::Error| Failure::local(format!("read {}", file.display()), error);
    let mut lines = BufReader::new(File::open(file).map_err(wrong)?);
    for n in 1_u64.. {
        let mut line = vec![];
        let length = io::Read::take(&mut lines, LONGEST).read_until(b'\n', &mut line).map_err(wrong)?;
        if length == 0 {
            break;
        }
        let event = serde_json::from_slice(&line).map_err(|error| {
            let title = format!("{}, line {n}, is no event: {error}", file.display());
            Failure::usage(title, "`freehold audit export` writes such files.")
        })?;
        each(&event)?;
    }
    Ok(())
}

fn tell(verified: &Verified, out: Out) -> Outcome {
    out.show(verified, |verified| {
        let Verified { first, events, anchor, behind } = verified;
        let behind = behind.as_deref().map_or_else(String::new, |behind| {
            let (before, hash) = behind.split_once(':').unwrap_or((behind, ""));
            format!("They follow event {before}, whose hash was kept when it was pruned: {hash}\n")
        });
        format!(
            "{} {events} events, from {first} on, hold together.\n{behind}anchor {anchor}\n{}",
            out.paint.good("✓"),
            out.paint.dim(
                "Kept elsewhere, it proves later that nothing up to here was cut or changed: `--anchor SEQ:HASH`."
            )
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_model::{Actor, AnyId, Kind};

    fn log(length: u64) -> Vec<Event> {
        let mut last = Link::genesis();
        let event = |seq| {
            let subject = AnyId { kind: Kind::App, ulid: ulid::Ulid::from_parts(1, 1) };
            let mut event = Event {
                seq,
                time: jiff::Timestamp::UNIX_EPOCH,
                actor: Actor::User("ada".into()),
                request: "req".into(),
                subject,
                what: "app.changed".into(),
                data: serde_json::json!({ "n": seq }),
                hash: String::new(),
            };
            event.hash = event.chain(&last.hash);
            last = Link::of(&event);
            event
        };
        (1..=length).map(event).collect()
    }

    fn walked(events: &[Event], anchor: Option<&str>) -> Result<String, String> {
        let mut walk = Walk::new(anchor.map(|text| text.parse().unwrap()));
        let said = |failure: Failure| match failure {
            Failure::Problem(problem) => problem.title,
            other => panic!("{other:?}"),
        };
        events.iter().try_for_each(|event| walk.step(event)).map_err(said)?;
        walk.end().map(|verified| verified.anchor).map_err(said)
    }

    #[test]
    fn what_was_cut_or_changed_is_found_at_its_place() {
        let whole = log(5);
        let anchor = walked(&whole, None).unwrap();
        assert!(anchor.starts_with("5:"));
        assert_eq!(walked(&whole, Some(&anchor)).unwrap(), anchor);

        let mut edited = log(5);
        edited[2].data = serde_json::json!({ "n": 4 });
        assert!(walked(&edited, None).unwrap_err().contains("event 3 does not carry"));
        let mut cut = log(5);
        cut.remove(1);
        assert!(walked(&cut, None).unwrap_err().contains("event 2 is missing"));
        assert!(walked(&whole[..4], Some(&anchor)).unwrap_err().contains("event 5 is missing"));
    }

    #[test]
    fn a_log_written_anew_is_not_the_one_that_the_anchor_knows() {
        let mut other = log(5);
        let mut last = Link::genesis();
        for event in &mut other {
            event.actor = Actor::User("eve".into());
            event.hash = event.chain(&last.hash);
            last = Link::of(event);
        }
        let anchor = Link::of(&log(3)[2]).to_string();
        assert!(walked(&other, None).is_ok());
        assert!(walked(&other, Some(&anchor)).unwrap_err().contains("event 3 is not the one"));
    }

    #[test]
    fn a_pruned_log_is_proved_from_what_was_kept_and_by_what_it_says_itself() {
        let mut whole = log(4);
        let behind = Anchor {
            seq: 2,
            hash: whole[1].hash.clone(),
            said: 5,
            time: jiff::Timestamp::UNIX_EPOCH,
            policy: String::new(),
        };
        let link = behind.link().to_string();
        let mut said = Event {
            seq: 5,
            what: freehold_model::Prune::DONE.into(),
            data: serde_json::json!({ "anchor": link }),
            ..whole[0].clone()
        };
        said.hash = said.chain(&whole[3].hash);
        whole.push(said);
        let walk = |events: &[Event], anchor: Option<&str>| {
            let mut walk = Walk::of_rest(anchor.map(|text| text.parse().unwrap()), Some(behind.clone()))?;
            events.iter().try_for_each(|event| walk.step(event))?;
            walk.end()
        };
        let title = |failure: Failure| match failure {
            Failure::Problem(problem) => problem.title,
            other => panic!("{other:?}"),
        };
        let verified = walk(&whole[2..], Some(&link)).unwrap();
        assert_eq!((verified.first, verified.events, verified.behind), (3, 3, Some(link.clone())));
        assert!(title(walk(&whole[2..4], None).unwrap_err()).contains("event 5 does not say"));
        assert!(title(walk(&whole[3..], None).unwrap_err()).contains("event 3 is missing"));
        let forged = format!("2:{}", "0".repeat(64));
        assert!(title(walk(&whole[2..], Some(&forged)).unwrap_err()).contains("event 2 is not the one"));
        let early = Link::of(&whole[0]).to_string();
        assert!(title(walk(&whole[2..], Some(&early)).unwrap_err()).contains("kept no longer"));
    }

    #[test]
    fn a_later_part_needs_the_anchor_before_it() {
        let whole = log(5);
        assert!(walked(&whole[2..], None).unwrap_err().contains("begins with event 3"));
        let before = Link::of(&whole[1]).to_string();
        assert_eq!(walked(&whole[2..], Some(&before)).unwrap(), Link::of(&whole[4]).to_string());
    }
}
