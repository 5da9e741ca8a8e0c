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
use freehold_client::ReceiptQuery;
use freehold_model::{AnyResource, Millis, Receipt, ReceiptId};
use jiff::Timestamp;
use std::{
    io::{self, Write as _},
    time::Duration,
};

/// Flags of `receipt`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Examples:
  freehold receipt                    the last one of the app of this folder
  freehold receipt rcp_01jq… --wait   waits for the verdict: 0 succeeded, 8 failed, 9 still running
  freehold receipt list -a shop --verdict failed --since 7d
  freehold receipt list --search 'no space left'
  freehold receipt export -a shop > receipts.jsonl")]
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
    /// Prints receipts whole, each with its release's manifest, as JSON Lines.
    Export(Filter),
}

/// Flags of `receipt list`.
#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    filter: Filter,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Goes on after this one: the last of the page before.
    #[arg(long, value_name = "RECEIPT")]
    after: Option<ReceiptId>,
}

/// Which receipts; every given condition must hold.
#[derive(Debug, clap::Args)]
struct Filter {
    /// How it ended, or `running` or `queued`.
    #[arg(long, value_parser = ["succeeded", "failed", "superseded", "cancelled", "running", "queued"])]
    verdict: Option<String>,
    /// Who asked: `user:ada`, or the name alone.
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Asked for not before: how long ago, or a timestamp.
    #[arg(long, value_name = "TIME", value_parser = time::point)]
    since: Option<Timestamp>,
    /// Asked for before: how long ago, or a timestamp.
    #[arg(long, value_name = "TIME", value_parser = time::point)]
    until: Option<Timestamp>,
    /// With this text in it: in an id, a reason, a step, a digest, a line of a log.
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
}

impl Filter {
    /// Receipts outlive their app, so they are chosen by the names in them.
    fn query(self, session: &Session) -> Outcome<ReceiptQuery> {
        Ok(ReceiptQuery {
            app: session.app_if_any()?.map(|app| app.to_string()),
            env: session.globals.env.as_ref().map(|env| env.to_string()),
            verdict: self.verdict,
            actor: self.actor,
            since: self.since,
            until: self.until,
            search: self.search,
            ..ReceiptQuery::default()
        })
    }
}

pub(crate) async fn run(args: Args, session: &Session) -> Outcome {
    match args.command {
        Some(Command::List(args)) => return list(args, session).await,
        Some(Command::Export(filter)) => return export(filter, session).await,
        None => {}
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

async fn list(args: ListArgs, session: &Session) -> Outcome {
    let mut query = args.filter.query(session)?;
    query.after = args.after;
    let mut shown: Vec<AnyResource> = vec![];
    let mut more = true;
    while shown.len() < args.limit && more {
        query.limit = Some((args.limit - shown.len()).min(1000));
        let page = session.client.receipts(&query).await?;
        shown.extend(page.items);
        more = page.next.is_some();
        query.after = page.next.and_then(|next| ReceiptId::try_from(next).ok());
    }
    let paint = session.out.paint;
    session.out.show(&shown, |shown| table(shown, paint, Timestamp::now()))?;
    if let Some(last) = query.after.filter(|_| more && !session.out.json) {
        session.progress.line(&paint.dim(&format!("There may be more: --after {last}")));
    }
    Ok(())
}

async fn export(filter: Filter, session: &Session) -> Outcome {
    let mut export = session.client.export_receipts(&filter.query(session)?).await?;
    let mut stdout = io::stdout().lock();
    while let Some(piece) = export.next().await? {
        stdout.write_all(&piece)?;
    }
    Ok(stdout.flush()?)
}

fn table(receipts: &[AnyResource], paint: Paint, now: Timestamp) -> String {
    let mut table = Table::new(&["RECEIPT", "VERDICT", "WHAT", "BY", "ACCEPTED", "TOOK"]);
    for receipt in receipts.iter().filter_map(|any| any.clone().typed().ok()) {
        let receipt: Receipt = receipt;
        let (word, tone) = show::verdict_word(&receipt);
        let accepted = receipt.spec.accepted;
        table.row([
            receipt.id.to_string().into(),
            cell(word, tone),
            show::headline(&receipt).into(),
            receipt.spec.actor.to_string().into(),
            time::ago(accepted, now).into(),
            receipt.status.finished.map_or("-".into(), |at| time::took(accepted, at)).into(),
        ]);
    }
    table.render(paint, 0, "no receipts")
}
