//! `freehold node drain`: begins it and follows it. It goes on without anybody following.

use super::find;
use crate::{
    failure::{Failure, Outcome},
    output::time,
    session::Session,
};
use freehold_model::{Code, Millis, NodeChange, NodeDrain, Problem, Stuck};
use std::time::{Duration, Instant};

/// Flags of `node drain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "`freehold node uncordon NAME` calls it off. Exit codes: 0 nothing is left there, \
7 something has no place elsewhere, 9 it takes longer, and goes on.")]
pub(crate) struct Args {
    /// The node's name or id.
    name: String,
    /// Stops instances that cannot move, for their volumes are on the node. No volume is deleted: they start
    /// again there when it takes instances.
    #[arg(long)]
    force: bool,
    /// Begins it and does not follow.
    #[arg(long)]
    detach: bool,
    /// Follows it no longer than this; it goes on.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = time::parse_length)]
    wait_timeout: Millis,
}

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(250);

pub(crate) async fn run(args: Args, session: &Session) -> Outcome {
    let node = find(&args.name, session).await?;
    let node = session.client.change_node(node.id, &NodeChange::Drain { force: args.force }).await?;
    let name = node.name.clone();
    if args.detach {
        return session.out.show(&node.to_any(), |_| format!("{name} is being drained."));
    }
    let deadline = Instant::now() + args.wait_timeout.duration();
    // A move begins a moment after it was asked for: what is stuck must be seen to stay so.
    let mut stuck = 0;
    loop {
        let progress = match session.client.node_drain(node.id).await {
            Ok(progress) => progress,
            Err(error) if error.is_transient() && Instant::now() < deadline => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        session.progress.now(line(&name, &progress));
        if progress.drained {
            session.progress.clear();
            return session.out.show(&progress, |_| format!("{name} is drained: nothing runs there."));
        }
        if progress.since.is_none() {
            let problem = Problem::new(Code::Conflict, format!("the drain of {name} was called off"));
            return Err(problem.into());
        }
        let stays: u32 = progress.stuck.iter().map(|one| one.instances).sum();
        stuck = if progress.moving.is_none() && stays >= progress.instances { stuck + 1 } else { 0 };
        if stuck > 4 {
            session.progress.clear();
            return Err(Failure::Problem(
                Problem::new(Code::Unplaceable, format!("{stays} instances stay on {name}"))
                    .detail(told(&progress.stuck))
                    .hint(format!(
                        "It is tried again by itself; `freehold node uncordon {name}` calls the drain off."
                    )),
            ));
        }
        if Instant::now() >= deadline {
            return Err(Failure::Problem(
                Problem::new(Code::Timeout, format!("{}: it goes on", line(&name, &progress)))
                    .detail(told(&progress.stuck))
                    .hint(format!("`freehold node drain {name}` follows it again.")),
            ));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// `tower: 3 instances left, guestbook/prod moves: start 2 × web`.
fn line(name: &str, progress: &NodeDrain) -> String {
    let left = format!("{name}: {} instances left", progress.instances);
    match &progress.moving {
        Some(moving) => format!("{left}, {} moves: {}", moving.env, moving.step),
        None => left,
    }
}

fn told(stuck: &[Stuck]) -> String {
    stuck.iter().map(|one| format!("{}: {}", one.env, one.why)).collect::<Vec<_>>().join("\n")
}
