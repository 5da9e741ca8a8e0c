//! `freehold cancel`: calls an operation off.

use super::operation::{self, WaitArgs};
use crate::{
    failure::{Failure, Outcome},
    output::receipt as show,
    session::Session,
};
use freehold_model::{AnyResource, Receipt, ReceiptId, kinds::Verdict};

/// Flags of `cancel`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What waits for its turn ends at once. What starts is taken back, and the release before goes on serving.
Once the new release serves it is too late: `freehold rollback` goes back. Without a receipt, everything
that is under way in the env is cancelled, what waits first.

Examples:
  freehold cancel rcp_01jq…           this one
  freehold cancel -a shop -e staging  whatever is under way there")]
pub(crate) struct Args {
    /// The receipt of the operation [default: all that are under way in the env].
    receipt: Option<ReceiptId>,
    #[command(flatten)]
    wait: WaitArgs,
}

pub(crate) async fn run(args: Args, session: &Session) -> Outcome {
    let ids = match args.receipt {
        Some(id) => vec![id],
        None => under_way(session).await?,
    };
    let mut asked = vec![];
    for id in ids {
        asked.push(session.client.cancel(id).await?);
    }
    let mut ended: Vec<Receipt> = vec![];
    for receipt in asked {
        let waits = receipt.status.verdict.is_none() && !args.wait.detach;
        ended.push(match waits {
            true => operation::follow(session, receipt.id, args.wait.wait_timeout).await?,
            false => receipt,
        });
    }
    let all: Vec<AnyResource> = ended.iter().map(Receipt::to_any).collect();
    session.out.show(&all, |_| ended.iter().map(line).collect::<Vec<_>>().join("\n"))?;
    // It may have failed by itself in the same moment.
    match ended.iter().find(|receipt| !matches!(receipt.status.verdict, None | Some(Verdict::Cancelled))) {
        Some(other) => Err(operation::failure(other).into()),
        None => Ok(()),
    }
}

/// What waits in the env, then what is carried out there.
async fn under_way(session: &Session) -> Outcome<Vec<ReceiptId>> {
    let summary = session.env_summary().await?;
    let running = summary.receipt.filter(|_| summary.rollout.is_some());
    let ids: Vec<ReceiptId> = summary.queued.into_iter().chain(running).collect();
    if ids.is_empty() {
        return Err(Failure::not_found(
            format!("nothing is under way in {}/{}", summary.app, summary.env),
            "`freehold receipt list` shows what was.",
        ));
    }
    Ok(ids)
}

fn line(receipt: &Receipt) -> String {
    let what = show::headline(receipt);
    match receipt.status.verdict {
        Some(Verdict::Cancelled) => {
            format!("{what} is cancelled; {}\nreceipt {}", operation::what_serves(receipt), receipt.id)
        }
        Some(verdict) => format!("{what} has {}\nreceipt {}", verdict.word(), receipt.id),
        None => format!("{what} is being taken back. `freehold receipt {} --wait` waits.", receipt.id),
    }
}
