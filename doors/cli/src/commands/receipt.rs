//! `freehold receipt`: the evidence of an operation.

use super::operation;
use crate::{
    failure::{Failure, Outcome},
    output::{
        Paint, receipt as show,
        table::{Table, cell},
        time,
    },
    session::Session,
};
use freehold_client::ResourceQuery;
use freehold_model::{AnyResource, Kind, Millis, Receipt, ReceiptId};
use jiff::Timestamp;
use std::time::Duration;

/// Flags of `receipt`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Examples:
  freehold receipt                    the last one of the app of this folder
  freehold receipt rcp_01jq… --wait   waits for the verdict: 0 succeeded, 8 failed, 9 still running
  freehold receipt list -a shop")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Which [default: the env's last].
    id: Option<ReceiptId>,
    /// Waits for the verdict.
    #[arg(long)]
    wait: bool,
    /// Waits no longer than this.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = time::parse_length)]
    wait_timeout: Millis,
}

/// What else can be done with receipts.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Lists receipts, the newest first.
    List(ListArgs),
}

/// Flags of `receipt list`.
#[derive(Debug, clap::Args)]
struct ListArgs {
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
}

pub(crate) async fn run(args: Args, session: &Session) -> Outcome {
    if let Some(Command::List(args)) = args.command {
        return list(args, session).await;
    }
    let id = match args.id {
        Some(id) => id,
        None => last(session).await?,
    };
    if args.wait {
        let receipt = operation::follow(session, id, args.wait_timeout).await?;
        return operation::conclude(session, &receipt).await;
    }
    let receipt = session.client.receipt(id, Duration::ZERO).await?;
    let paint = session.out.paint;
    session.out.show(&receipt.to_any(), |_| show::render(&receipt, paint, Timestamp::now()))
}

async fn last(session: &Session) -> Outcome<ReceiptId> {
    let summary = session.env_summary().await?;
    summary.receipt.ok_or_else(|| {
        Failure::not_found(
            format!("{}/{} has no receipt", summary.app, summary.env),
            "`freehold receipt list` shows those of all apps.",
        )
    })
}

/// Receipts outlive their app, so they are chosen by the names in them.
async fn list(args: ListArgs, session: &Session) -> Outcome {
    let app = session.app_if_any()?;
    let env = session.globals.env.clone();
    let fits = |one: &AnyResource| {
        let is = |field: &str, name: &Option<freehold_model::Name>| {
            name.as_ref().is_none_or(|name| one.spec[field] == name.as_str())
        };
        is("app", &app) && is("env", &env)
    };
    let mut query = ResourceQuery { newest_first: true, ..ResourceQuery::of(Kind::Receipt) };
    let mut shown: Vec<AnyResource> = vec![];
    while shown.len() < args.limit {
        let page = session.client.resources(&query).await?;
        shown.extend(page.items.into_iter().filter(fits));
        let Some(next) = page.next else { break };
        query.after = Some(next);
    }
    shown.truncate(args.limit);
    let paint = session.out.paint;
    session.out.show(&shown, |shown| table(shown, paint, Timestamp::now()))
}

fn table(receipts: &[AnyResource], paint: Paint, now: Timestamp) -> String {
    let mut table = Table::new(&["RECEIPT", "VERDICT", "WHAT", "ACCEPTED", "TOOK"]);
    for receipt in receipts.iter().filter_map(|any| any.clone().typed().ok()) {
        let receipt: Receipt = receipt;
        let (word, tone) = show::verdict_word(&receipt);
        let accepted = receipt.spec.accepted;
        table.row([
            receipt.id.to_string().into(),
            cell(word, tone),
            show::headline(&receipt).into(),
            time::ago(accepted, now).into(),
            receipt.status.finished.map_or("-".into(), |at| time::took(accepted, at)).into(),
        ]);
    }
    table.render(paint, 0, "no receipts")
}
