//! `freehold node`: the machines that run instances; how they join, are operated, and are shut out.

mod change;
mod drain;
pub(crate) mod join;
mod list;
mod remove;
pub(crate) mod renew;
mod run;
mod token;

use super::{
    noun::{self, NameArgs},
    terminal::confirmed,
};
use crate::{
    args::Globals,
    failure::{Failure, Outcome},
    session::Session,
};
use freehold_model::{Kind, Node, NodeChange, NodeId, NodeSpec};

/// What can be done with nodes.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists them: how each is, what it has, its labels and taints.
    List,
    /// Explains one: what is wanted, what is so, why they differ, what happened.
    Describe(NameArgs),
    /// Has a node take no new instances; what runs stays.
    Cordon(NameArgs),
    /// Has a node take instances again, and calls its drain off.
    Uncordon(NameArgs),
    /// Moves a node's instances elsewhere, new before old, one env at a time, and follows it.
    Drain(drain::Args),
    /// Sets and removes labels: `zone=cellar`, `zone-`.
    Label(change::LabelArgs),
    /// Sets and removes taints, which keep instances away that do not tolerate them: `hardware/gpu`, `hardware/gpu-`.
    Taint(change::TaintArgs),
    /// Removes a node that is drained, or that is lost for good.
    #[command(aliases = ["delete", "rm"])]
    Remove(remove::Args),
    /// Makes this machine a node of a house, with a join token.
    Join(join::Args),
    /// Has this machine, which joined, certified anew; a running node does that by itself.
    Renew(renew::Args),
    /// Runs what the house assigns to this machine, which joined.
    Run(run::Args),
    /// Join tokens: each lets one machine join, once, for a while.
    #[command(subcommand)]
    Token(token::Command),
    /// Shuts a node out: its key is refused everywhere from now on. What runs on it goes on.
    Revoke(RevokeArgs),
}

/// Flags of `node revoke`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The node's open connections are cut, and its key is never taken again. What runs on the machine is out of
reach from then on and goes on running: switch the machine off, or remove the node, if it is not yours any
more. To let the machine in again, join it anew under a new key.")]
pub(crate) struct RevokeArgs {
    /// Its name or its id.
    name: String,
    /// Does not ask.
    #[arg(short = 'y', long)]
    yes: bool,
}

impl Command {
    /// Whether it needs no server that is known already.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self, Command::Join(_) | Command::Renew(_) | Command::Run(_))
    }
}

/// The commands that need no session.
pub(crate) fn run_here(command: Command, globals: &Globals) -> Outcome {
    match command {
        Command::Join(args) => join::run(args, globals),
        Command::Renew(args) => renew::run(args, globals),
        Command::Run(args) => run::run(args, globals),
        _ => unreachable!("they need a server"),
    }
}

pub(crate) async fn run(command: Command, session: &Session) -> Outcome {
    match command {
        Command::List => list::run(session).await,
        Command::Describe(args) => noun::run(Kind::Node, noun::Command::Describe(args), session).await,
        Command::Cordon(args) => change::run(args.name(), NodeChange::Cordon {}, session).await,
        Command::Uncordon(args) => change::run(args.name(), NodeChange::Uncordon {}, session).await,
        Command::Drain(args) => drain::run(args, session).await,
        Command::Label(args) => change::label(args, session).await,
        Command::Taint(args) => change::taint(args, session).await,
        Command::Remove(args) => remove::run(args, session).await,
        Command::Token(command) => token::run(command, session).await,
        Command::Revoke(args) => revoke(args, session).await,
        Command::Join(_) | Command::Renew(_) | Command::Run(_) => unreachable!("they need no session"),
    }
}

/// The node of that name or id.
async fn find(name: &str, session: &Session) -> Outcome<Node> {
    let id = session.find_named(Kind::Node, name).await?;
    let id = NodeId::try_from(id).map_err(|error| Failure::local("find the node", error))?;
    Ok(session.client.typed::<NodeSpec>(id).await?)
}

async fn revoke(args: RevokeArgs, session: &Session) -> Outcome {
    let id = session.find_named(Kind::Node, &args.name).await?;
    let node = NodeId::try_from(id).map_err(|error| crate::failure::Failure::local("revoke it", error))?;
    if !args.yes {
        confirmed(&format!("shutting node {} out for ever", args.name), &args.name)?;
    }
    let revoked = session.client.revoke_node(node).await?;
    session.out.show(&revoked, |revoked| match revoked.keys {
        0 => format!("Node {} had no key that is accepted.", args.name),
        _ => format!("Node {} is refused everywhere from now on.", args.name),
    })
}
