//! `freehold NOUN list|describe`, the same for every kind, and `freehold app delete`.

use super::{
    describe,
    operation::{self, Options, WaitArgs},
    terminal::confirmed,
};
use crate::{
    failure::Outcome,
    output::{self, Paint, table::Table, time},
    session::Session,
};
use freehold_client::ResourceQuery;
use freehold_model::{AnyResource, Kind, Name, api::Change};
use jiff::Timestamp;

/// What every kind can do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists them: those of the app that is meant, or all.
    List,
    /// Explains one: what is wanted, what is so, why they differ, what happened.
    Describe(NameArgs),
}

/// What apps can do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum AppCommand {
    /// Lists them.
    List,
    /// Explains one: what is wanted, what is so, why they differ, what happened.
    Describe(NameArgs),
    /// Removes an app: all its envs, their instances and endpoints. Its receipts and logs stay.
    #[command(aliases = ["remove", "rm"])]
    Delete(DeleteArgs),
}

/// Which.
#[derive(Debug, clap::Args)]
pub(crate) struct NameArgs {
    /// Its name or its id.
    pub(super) name: String,
}

impl NameArgs {
    /// The name or the id.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// Flags of `app delete`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  freehold app delete shop            asks for the name again
  freehold app delete shop -y         does not ask, as in a script")]
pub(crate) struct DeleteArgs {
    /// The app.
    name: Name,
    /// Does not ask.
    #[arg(short = 'y', long)]
    yes: bool,
    #[command(flatten)]
    wait: WaitArgs,
}

pub(crate) async fn run(kind: Kind, command: Command, session: &Session) -> Outcome {
    match command {
        Command::List => list(kind, session).await,
        Command::Describe(args) => describe::show(session.find_named(kind, &args.name).await?, session).await,
    }
}

pub(crate) async fn run_app(command: AppCommand, session: &Session) -> Outcome {
    match command {
        AppCommand::List => run(Kind::App, Command::List, session).await,
        AppCommand::Describe(args) => run(Kind::App, Command::Describe(args), session).await,
        AppCommand::Delete(args) => delete(args, session).await,
    }
}

async fn list(kind: Kind, session: &Session) -> Outcome {
    let paint = session.out.paint;
    match kind {
        Kind::Endpoint => {
            let envs = session.summaries().await?;
            let endpoints: Vec<_> = envs.into_iter().flat_map(|env| env.endpoints).collect();
            session.out.show(&endpoints, |all| output::status::endpoints(all, paint, 0))
        }
        Kind::Instance if !session.out.json => {
            let envs = session.summaries().await?;
            session.out.text(&output::status::instances(&envs, paint, Timestamp::now()))
        }
        _ => {
            let query = ResourceQuery { parent: session.parent_of(kind).await?, ..ResourceQuery::of(kind) };
            let resources = session.client.all_resources(&query).await?;
            session.out.show(&resources, |all| table(kind, all, paint, Timestamp::now()))
        }
    }
}

fn table(kind: Kind, resources: &[AnyResource], paint: Paint, now: Timestamp) -> String {
    let mut table = Table::new(&["NAME", "ID", "CREATED", "STATE"]);
    for one in resources {
        let state = if one.deleting.is_some() { "being deleted" } else { phase(one) };
        table.row([
            one.name.clone().into(),
            one.id.to_string().into(),
            time::ago(one.created, now).into(),
            state.into(),
        ]);
    }
    table.render(paint, 0, &format!("There is no {kind} here."))
}

/// The one word that some kinds have for how they are.
fn phase(resource: &AnyResource) -> &str {
    resource.status.get("phase").and_then(|phase| phase.as_str()).unwrap_or_default()
}

async fn delete(args: DeleteArgs, session: &Session) -> Outcome {
    if !args.yes {
        let what = format!("removing {0}, all its envs and everything that runs in them", args.name);
        confirmed(&what, args.name.as_str())?;
    }
    let change = Change::Remove { app: args.name, project: session.globals.project.clone() };
    operation::perform(session, change, Options { plan: None, wait: args.wait }).await
}
