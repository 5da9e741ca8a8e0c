//! The commands, one file each. Every file holds the flags of its command and what it does.

pub(crate) mod access;
pub(crate) mod audit;
pub(crate) mod ca;
pub(crate) mod cancel;
pub(crate) mod completions;
pub(crate) mod context;
pub(crate) mod control;
pub(crate) mod deploy;
pub(crate) mod describe;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod drill;
pub(crate) mod endpoint;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod image;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod login;
pub(crate) mod logs;
pub(crate) mod machine;
pub(crate) mod man;
pub(crate) mod node;
pub(crate) mod noun;
pub(crate) mod oidc;
mod operation;
pub(crate) mod plan;
pub(crate) mod quota;
pub(crate) mod receipt;
mod releases;
pub(crate) mod retention;
pub(crate) mod rollback;
pub(crate) mod secret;
mod secret_input;
pub(crate) mod sso;
pub(crate) mod state;
pub(crate) mod status;
pub(crate) mod tenancy;
mod terminal;
pub(crate) mod token;
pub(crate) mod up;
pub(crate) mod upgrade;
pub(crate) mod user;
pub(crate) mod volume;

use crate::{
    args::{Command, Globals},
    failure::{Failure, Outcome},
    session::Session,
};
use freehold_model::{Kind, MachineKind};
use std::process::ExitCode;

/// The columns of the terminal on standard output.
pub(crate) fn terminal_width() -> usize {
    terminal::size().cols.into()
}

/// Runs one command to its end.
pub(crate) fn run(command: Command, globals: Globals) -> Outcome<ExitCode> {
    match command {
        Command::Up(args) => up::run(args, &globals).map(done),
        Command::Control(args) if args.is_local() => control::run_here(args, &globals).map(done),
        Command::Upgrade(args) => upgrade::run(args, &globals).map(done),
        Command::Completions(args) => completions::run(args).map(done),
        Command::Man(args) => man::run(args).map(done),
        Command::Context(command) => context::run(command, &globals).map(done),
        Command::Init(args) => init::run(args, &globals).map(done),
        Command::Import(command) => import::run(command, &globals),
        Command::State(command) => state::run(command, &globals).map(done),
        Command::Audit(command) if command.is_local() => audit::run_here(command, &globals).map(done),
        Command::Node(command) if command.is_local() => node::run_here(command, &globals).map(done),
        Command::Gateway(command) if command.is_local() => {
            machine::run_here(MachineKind::Gateway, command, &globals).map(done)
        }
        Command::Device(command) if command.is_local() => {
            machine::run_here(MachineKind::Device, command, &globals).map(done)
        }
        Command::Doctor(args) if args.is_local() => doctor::run_here(args, &globals).map(done),
        command => {
            let session = Session::open(globals)?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| Failure::local("start", error))?;
            let outcome = runtime.block_on(ask(command, &session));
            session.progress.clear();
            // A thread may still be reading standard input: nobody waits for it.
            runtime.shutdown_background();
            outcome
        }
    }
}

/// The commands that ask the server.
async fn ask(command: Command, session: &Session) -> Outcome<ExitCode> {
    match command {
        Command::Plan(args) => return plan::run(args, session).await,
        Command::Diff(args) => return diff::run(args, session).await,
        Command::Exec(args) => return exec::run(args, session).await,
        Command::Deploy(args) => deploy::run(args, session).await,
        Command::Rollback(args) => rollback::run(args, session).await,
        Command::Cancel(args) => cancel::run(args, session).await,
        Command::Releases => releases::run(session).await,
        Command::Status(args) => status::run(args, session).await,
        Command::Describe(args) => describe::run(args, session).await,
        Command::Events(args) => events::run(args, session).await,
        Command::Audit(command) => audit::run(command, session).await,
        Command::Logs(args) => logs::run(args, session).await,
        Command::Receipt(args) => receipt::run(args, session).await,
        Command::Image(command) => image::run(command, session).await,
        Command::App(command) => noun::run_app(command, session).await,
        Command::Env(command) => noun::run(Kind::Env, command, session).await,
        Command::Endpoint(command) => endpoint::run(command, session).await,
        Command::Instance(command) => noun::run(Kind::Instance, command, session).await,
        Command::Release(command) => noun::run(Kind::Release, command, session).await,
        Command::Rollout(command) => noun::run(Kind::Rollout, command, session).await,
        Command::Node(command) => node::run(command, session).await,
        Command::Gateway(command) => machine::run(MachineKind::Gateway, command, session).await,
        Command::Device(command) => machine::run(MachineKind::Device, command, session).await,
        Command::Ca(command) => ca::run(command, session).await,
        Command::Oidc(command) => oidc::run(command, session).await,
        Command::Sso(command) => sso::run(command, session).await,
        Command::Org(command) => tenancy::run_org(command, session).await,
        Command::Project(command) => tenancy::run_project(command, session).await,
        Command::Token(command) => token::run(command, session).await,
        Command::Quota(command) => quota::run(command, session).await,
        Command::Access(command) => access::run(command, session).await,
        Command::User(command) => user::run(command, session).await,
        Command::Session(command) => login::sessions(command, session).await,
        Command::Login(args) => login::login(args, session).await,
        Command::Logout => login::logout(session).await,
        Command::Whoami => access::whoami(session).await,
        Command::Volume(command) => volume::run(command, session).await,
        Command::Secret(command) => secret::run(command, session).await,
        Command::Key(command) => key::run(command, session).await,
        Command::Drill(command) => drill::run(command, session).await,
        Command::Doctor(_) => doctor::run(session).await,
        Command::Control(args) => control::run(args, session).await,
        Command::Up(_)
        | Command::Upgrade(_)
        | Command::Completions(_)
        | Command::Man(_)
        | Command::Context(_)
        | Command::Init(_)
        | Command::Import(_)
        | Command::State(_) => {
            unreachable!("they need no server")
        }
    }
    .map(done)
}

fn done(_: ()) -> ExitCode {
    ExitCode::SUCCESS
}
