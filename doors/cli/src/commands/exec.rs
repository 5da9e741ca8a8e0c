//! `freehold exec`: one more command inside an instance, with this terminal, and its own exit code.

use super::terminal::{self, Raw};
use crate::{
    failure::{Failure, Outcome},
    session::Session,
};
use bytes::Bytes;
use freehold_client::{ExecFrame, ExecInput, ExecOutput};
use freehold_model::{
    Code, InstanceId, Name, Phase, Problem,
    api::InstanceSummary,
    exec::{ExecControl, ExecRequest},
};
use std::{
    io::{self, IsTerminal, Read, Write},
    process::ExitCode,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

/// Signals by number (POSIX).
const SIGINT: i32 = 2;
const SIGHUP: i32 = 1;
const SIGTERM: i32 = 15;

/// Flags of `exec`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The exit code is the command's own. Standard input, output and error are passed through; in a terminal
the command gets one too.

Examples:
  freehold exec -- sh                 a shell in an instance of the app of this folder
  freehold exec -p web -- env
  freehold exec -T -p db -- dump > backup.sql")]
pub(crate) struct Args {
    /// The process [default: the only one].
    #[arg(short, long, conflicts_with = "instance")]
    process: Option<Name>,
    /// The instance: its id, or the end of it.
    #[arg(long, value_name = "ID")]
    instance: Option<String>,
    /// Gives the command a terminal [default: when this is one].
    #[arg(short, long, conflicts_with = "no_tty")]
    tty: bool,
    /// Gives the command no terminal.
    #[arg(short = 'T', long)]
    no_tty: bool,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

pub(crate) async fn run(args: Args, session: &Session) -> Outcome<ExitCode> {
    let instance = match &args.instance {
        Some(text) => session.instance(text).await?,
        None => choose(&session.env_summary().await?.instances, args.process.as_ref())?,
    };
    let on_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let tty = (args.tty || on_terminal) && !args.no_tty;
    let request = ExecRequest { command: args.command, tty: tty.then(terminal::size) };
    let (input, output) = session.client.exec(instance, &request).await?;
    let raw = (tty && io::stdin().is_terminal()).then(Raw::enter).transpose()?;
    let code = converse(input, output, tty).await;
    drop(raw);
    Ok(ExitCode::from(code?))
}

/// The instance that suits best: serving before healthy before running, the newest first.
fn choose(instances: &[InstanceSummary], process: Option<&Name>) -> Outcome<InstanceId> {
    let fits = |one: &&InstanceSummary| process.is_none_or(|name| *name == one.process);
    let running: Vec<_> = instances.iter().filter(|one| one.phase == Phase::Running).filter(fits).collect();
    let mut processes: Vec<&str> = running.iter().map(|one| one.process.as_str()).collect();
    processes.sort_unstable();
    processes.dedup();
    if processes.len() > 1 {
        let title = format!("which process? {} run", processes.join(", "));
        return Err(Failure::usage(title, "Name one with --process, or an instance with --instance."));
    }
    let best = running.iter().max_by_key(|one| (one.serving, one.healthy, one.id));
    best.map(|one| one.id).ok_or_else(|| {
        let what = process.map_or("no instance runs".into(), |name| format!("no instance of `{name}` runs"));
        Failure::not_found(what, "`freehold status` shows why.")
    })
}

/// Passes everything to and fro until the command ends; its exit code.
async fn converse(input: ExecInput, mut output: ExecOutput, tty: bool) -> Outcome<u8> {
    let passing = tokio::spawn(pass_input(input, tty));
    let code = loop {
        match output.next().await {
            Ok(ExecFrame::Stdout(bytes)) => write(&mut io::stdout().lock(), &bytes)?,
            Ok(ExecFrame::Stderr(bytes)) => write(&mut io::stderr().lock(), &bytes)?,
            Ok(ExecFrame::Exit(code)) => break Ok(u8::try_from(code).unwrap_or(u8::MAX)),
            Ok(ExecFrame::Failed(reason)) => break Err(not_run(reason)),
            Err(error) => break Err(error.into()),
        }
    };
    passing.abort();
    code
}

fn write(stream: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)?;
    stream.flush()
}

fn not_run(reason: String) -> Failure {
    let problem = Problem::new(Code::Unavailable, format!("the command could not be run: {reason}"));
    problem.hint("`freehold status` shows whether the instance still runs.").into()
}

/// Standard input, changes of size and signals, until the command's side is gone.
async fn pass_input(mut input: ExecInput, tty: bool) {
    let mut typed = read_stdin();
    let (Ok(mut resized), Ok(mut interrupt), Ok(mut hangup), Ok(mut terminate)) = (
        signal(SignalKind::window_change()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
        signal(SignalKind::terminate()),
    ) else {
        return;
    };
    let (mut open, mut ended) = (true, false);
    while open {
        open = tokio::select! {
            chunk = typed.recv(), if !ended => match chunk {
                Some(bytes) => input.stdin(bytes).await,
                None => {
                    ended = true;
                    input.control(&ExecControl::Eof).await
                }
            },
            _ = resized.recv() => !tty || input.control(&ExecControl::Resize(terminal::size())).await,
            _ = interrupt.recv() => input.control(&ExecControl::Signal(SIGINT)).await,
            _ = hangup.recv() => input.control(&ExecControl::Signal(SIGHUP)).await,
            _ = terminate.recv() => input.control(&ExecControl::Signal(SIGTERM)).await,
        };
    }
}

/// Reads standard input on a thread of its own: it cannot be read without blocking, and a read that
/// blocks must not hold up the end of the program.
fn read_stdin() -> mpsc::Receiver<Bytes> {
    let (sender, receiver) = mpsc::channel(8);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            match io::stdin().lock().read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => {
                    if sender.blocking_send(Bytes::copy_from_slice(&buffer[..length])).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(ulid: u128, process: &str, phase: Phase, serving: bool) -> InstanceSummary {
        InstanceSummary {
            id: InstanceId(ulid.into()),
            process: process.parse().unwrap(),
            release: Some(1),
            phase,
            healthy: true,
            serving,
            restarts: 0,
            started: None,
            address: "10.210.0.2".parse().unwrap(),
            message: None,
        }
    }

    #[test]
    fn the_one_that_serves_is_chosen() {
        let all = [
            instance(1, "web", Phase::Running, true),
            instance(2, "web", Phase::Running, false),
            instance(3, "web", Phase::Backoff, true),
        ];
        assert_eq!(choose(&all, None).unwrap(), InstanceId(1.into()));
    }

    #[test]
    fn several_processes_must_be_told_apart() {
        let all = [instance(1, "web", Phase::Running, true), instance(2, "db", Phase::Running, true)];
        assert!(choose(&all, None).is_err());
        let db = "db".parse().unwrap();
        assert_eq!(choose(&all, Some(&db)).unwrap(), InstanceId(2.into()));
        assert!(matches!(choose(&[], None), Err(Failure::Problem(p)) if p.code == Code::NotFound));
    }
}
