//! `freehold gateway` and `freehold device`: machines that enrol, and keep their identity; what they carry comes
//! later. Joining and renewing are those of nodes.

use super::{
    node::{join, renew},
    noun::{self, NameArgs},
    terminal::confirmed,
    up::data_folder,
};
use crate::{
    args::Globals,
    failure::{Failure, Outcome},
    output::Out,
    session::Session,
};
use freehold_identity::Membership;
use freehold_model::{Code, MachineKind, Problem, join::RevokedMachine};
use std::path::PathBuf;

/// What can be done with gateways and devices.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists them.
    List,
    /// Explains one: what is known of it, what happened.
    Describe(NameArgs),
    /// Makes this machine one, with a join token of that kind (`freehold node token create --kind …`).
    Join(join::Args),
    /// Has this machine, which joined, certified anew.
    Renew(renew::Args),
    /// Keeps this machine's certificate good until SIGTERM or Ctrl-C.
    Run(DataArgs),
    /// Asks a control plane who this machine is.
    Whoami(DataArgs),
    /// Shuts one out: its key is refused everywhere from now on.
    Revoke(EndArgs),
    /// Removes one; its key is refused everywhere from the same moment on.
    #[command(aliases = ["delete", "rm"])]
    Remove(EndArgs),
}

/// Where this machine's identity is.
#[derive(Debug, clap::Args)]
pub(crate) struct DataArgs {
    /// The machine's data folder [default: as `freehold up`].
    #[arg(long, value_name = "DIR", env = "FREEHOLD_DATA")]
    data: Option<PathBuf>,
}

/// Which is shut out.
#[derive(Debug, clap::Args)]
pub(crate) struct EndArgs {
    /// Its name or its id.
    name: String,
    /// Does not ask.
    #[arg(short = 'y', long)]
    yes: bool,
}

impl Command {
    /// Whether it needs no server that is known already.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self, Command::Join(_) | Command::Renew(_) | Command::Run(_) | Command::Whoami(_))
    }
}

/// The commands that need no session.
pub(crate) fn run_here(machine: MachineKind, command: Command, globals: &Globals) -> Outcome {
    match command {
        Command::Join(args) => join::enrol(args, machine, globals),
        Command::Renew(args) => renew::run(args, globals),
        Command::Run(args) => keep(args),
        Command::Whoami(args) => whoami(args, globals),
        _ => unreachable!("they need a server"),
    }
}

pub(crate) async fn run(machine: MachineKind, command: Command, session: &Session) -> Outcome {
    match command {
        Command::List => noun::run(machine.kind(), noun::Command::List, session).await,
        Command::Describe(args) => noun::run(machine.kind(), noun::Command::Describe(args), session).await,
        Command::Revoke(args) => {
            let id = session.find_named(machine.kind(), &args.name).await?;
            if !args.yes {
                confirmed(&format!("shutting {machine} {} out for ever", args.name), &args.name)?;
            }
            let done = session.client.revoke_machine(id).await?;
            session.out.show(&done, |done| refused(done, machine, &args.name))
        }
        Command::Remove(args) => {
            let id = session.find_named(machine.kind(), &args.name).await?;
            if !args.yes {
                confirmed(&format!("removing {machine} {}", args.name), &args.name)?;
            }
            let done = session.client.remove_machine(id).await?;
            session.out.show(&done, |_| format!("{} is removed, and its keys are refused.", args.name))
        }
        _ => unreachable!("they need no session"),
    }
}

fn refused(done: &RevokedMachine, machine: MachineKind, name: &str) -> String {
    match done.keys {
        0 => format!("{machine} {name} had no key that is accepted."),
        _ => format!("{machine} {name} is refused everywhere from now on."),
    }
}

fn runtime() -> Outcome<tokio::runtime::Runtime> {
    let made = tokio::runtime::Builder::new_current_thread().enable_all().build();
    made.map_err(|error| Failure::local("start", error))
}

fn keep(args: DataArgs) -> Outcome {
    let data = data_folder(args.data)?;
    super::up::write_log();
    let kept = runtime()?.block_on(freehold_daemon::keep_machine(&data));
    kept.map_err(|error| Failure::local("keep this machine's identity", format!("{error:#}")))
}

fn whoami(args: DataArgs, globals: &Globals) -> Outcome {
    let data = data_folder(args.data)?;
    let membership = Membership::open(&data)
        .map_err(|error| Failure::Problem(Problem::new(Code::Conflict, error.to_string())))?
        .ok_or_else(|| {
            Failure::Problem(
                Problem::new(Code::NotFound, format!("{} holds no identity", data.display()))
                    .hint("`freehold device join` or `freehold gateway join` gets one."),
            )
        })?;
    let who = runtime()?.block_on(freehold_client::machine_self(&membership))?;
    Out::new(globals.json).show(&who, |who| format!("{} {} ({})", who.machine, who.name, who.id))
}
