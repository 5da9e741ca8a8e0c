//! `freehold exec`: one more command inside an instance, with this terminal, and its own exit code.

use super::terminal::{self, Raw};
use crate::{
    failure::{Failure, Outcome},
    interrupt,
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
    pin::pin,
    process::ExitCode,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

/// Signals that are passed on, by number (Linux).
const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGQUIT: i32 = 3;
const SIGUSR1: i32 = 10;
const SIGUSR2: i32 = 12;
const SIGTERM: i32 = 15;
/// So many times Ctrl-C is passed on; the next one ends `exec` itself, and the command with it.
const PATIENCE: u32 = 3;

/// Flags of `exec`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Standard input, output and error are passed through, and so are signals; in a terminal the command gets
one too. The exit code is the command's own, 128 + n when signal n ended it. When `exec` ends first, or
its connection breaks, the command is hung up on (SIGHUP) and killed two seconds later.

Examples:
  freehold exec -- sh                       a shell in an instance of the app of this folder
  freehold exec -p web --var DEBUG=1 -- env
  freehold exec -T -p db -- dump > backup.sql
  freehold exec -u root -w /srv -- ls -la")]
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
    /// Passes standard input through, as always: so that `-it` is understood.
    #[arg(short, long, conflicts_with = "no_stdin")]
    interactive: bool,
    /// Gives the command no input, and reads none: for loops in a script.
    #[arg(short, long)]
    no_stdin: bool,
    /// An environment variable; without a value, that of this shell. May be given more than once.
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = variable)]
    var: Vec<(String, String)>,
    /// The user, and the group [default: the instance's].
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// The working directory [default: the instance's].
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

pub(crate) async fn run(args: Args, session: &Session) -> Outcome<ExitCode> {
    let instance = match &args.instance {
        Some(text) => session.instance(text).await?,
        None => choose(&session.env_summary().await?.instances, args.process.as_ref())?,
    };
    let typing = io::stdin().is_terminal() && !args.no_stdin;
    let tty = (args.tty || typing && io::stdout().is_terminal()) && !args.no_tty;
    let request = ExecRequest {
        command: args.command,
        tty: tty.then(terminal::size),
        env: args.var.into_iter().collect(),
        user: args.user,
        workdir: args.workdir,
    };
    let (input, output) = session.client.exec(instance, &request).await?;
    let raw = (tty && typing).then(Raw::enter).transpose()?;
    let code = converse(input, output, tty, !args.no_stdin).await;
    drop(raw);
    Ok(ExitCode::from(code?))
}

/// `NAME=VALUE`, or `NAME` for the value that it has here.
fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, value.to_owned()),
        None => match std::env::var(text) {
            Ok(value) => (text, value),
            Err(error) => return Err(format!("{error}: write {text}=VALUE, or export it")),
        },
    };
    match name {
        "" => Err("a variable has a name: write NAME=VALUE".into()),
        _ => Ok((name.into(), value)),
    }
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
        let mut known: Vec<&str> = instances.iter().map(|one| one.process.as_str()).collect();
        known.sort_unstable();
        known.dedup();
        match process {
            Some(name) if !known.contains(&name.as_str()) && !known.is_empty() => Failure::not_found(
                format!("there is no process `{name}`"),
                format!("There are: {}.", known.join(", ")),
            ),
            Some(name) => {
                Failure::not_found(format!("no instance of `{name}` runs"), "`freehold status` shows why.")
            }
            None => Failure::not_found("no instance runs", "`freehold status` shows why."),
        }
    })
}

/// Passes everything to and fro until the command ends; its exit code.
async fn converse(input: ExecInput, mut output: ExecOutput, tty: bool, with_stdin: bool) -> Outcome<u8> {
    let mut passing = pin!(pass_input(input, tty, with_stdin));
    let mut open = true;
    loop {
        let frame = tokio::select! {
            frame = output.next() => frame,
            end = &mut passing, if open => match end {
                InputEnd::Impatient => return Err(Failure::Said(interrupt::EXIT)),
                // The command's side is gone: what it said last is on its way.
                InputEnd::Closed => {
                    open = false;
                    continue;
                }
            },
        };
        match frame {
            Ok(ExecFrame::Stdout(bytes)) => write(&mut io::stdout().lock(), &bytes)?,
            Ok(ExecFrame::Stderr(bytes)) => write(&mut io::stderr().lock(), &bytes)?,
            Ok(ExecFrame::Exit(code)) => return Ok(u8::try_from(code).unwrap_or(u8::MAX)),
            Ok(ExecFrame::Failed(reason)) => return Err(not_run(reason)),
            Err(error) => return Err(error.into()),
        }
    }
}

fn write(stream: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)?;
    stream.flush()
}

fn not_run(reason: String) -> Failure {
    let problem = Problem::new(Code::Unavailable, format!("the command could not be run: {reason}"));
    problem.hint("`freehold status` shows whether the instance still runs.").into()
}

/// Why no more input is passed.
enum InputEnd {
    /// The command's side takes no more.
    Closed,
    /// Somebody has pressed Ctrl-C again and again.
    Impatient,
}

/// Passes standard input, changes of size and signals.
async fn pass_input(mut input: ExecInput, tty: bool, with_stdin: bool) -> InputEnd {
    let mut typed = read_stdin(with_stdin);
    let (Ok(mut resized), Some(mut signals)) = (signal(SignalKind::window_change()), Signals::listen())
    else {
        return InputEnd::Closed;
    };
    let (mut open, mut ended, mut interrupts) = (true, false, 0);
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
            number = signals.next() => {
                interrupts += u32::from(number == SIGINT);
                if interrupts > PATIENCE {
                    return InputEnd::Impatient;
                }
                input.control(&ExecControl::Signal(number)).await
            }
        };
    }
    InputEnd::Closed
}

/// The signals that are passed on.
struct Signals(mpsc::Receiver<i32>);

impl Signals {
    fn listen() -> Option<Signals> {
        let (sender, receiver) = mpsc::channel(8);
        for number in [SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM] {
            let mut arriving = signal(SignalKind::from_raw(number)).ok()?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while arriving.recv().await.is_some() && sender.send(number).await.is_ok() {}
            });
        }
        Some(Signals(receiver))
    }

    async fn next(&mut self) -> i32 {
        match self.0.recv().await {
            Some(number) => number,
            None => std::future::pending().await,
        }
    }
}

/// Reads standard input on a thread of its own: it cannot be read without blocking, and a read that
/// blocks must not hold up the end of the program.
fn read_stdin(wanted: bool) -> mpsc::Receiver<Bytes> {
    let (sender, receiver) = mpsc::channel(8);
    if !wanted {
        return receiver;
    }
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
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
            node: None,
            exit: None,
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
    fn variables_have_a_name_and_a_value() {
        assert_eq!(variable("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert_eq!(variable("A="), Ok(("A".into(), String::new())));
        assert_eq!(variable("PATH").unwrap().1, std::env::var("PATH").unwrap());
        assert!(variable("=b").is_err() && variable("NO_SUCH_VARIABLE_HERE").is_err());
    }

    #[test]
    fn several_processes_must_be_told_apart() {
        let all = [instance(1, "web", Phase::Running, true), instance(2, "db", Phase::Running, true)];
        assert!(choose(&all, None).is_err());
        let db = "db".parse().unwrap();
        assert_eq!(choose(&all, Some(&db)).unwrap(), InstanceId(2.into()));
        let nope = "nope".parse().unwrap();
        let Err(Failure::Problem(problem)) = choose(&all, Some(&nope)) else { panic!("it was found") };
        assert!(problem.hint.is_some_and(|hint| hint.contains("db, web")));
        assert!(matches!(choose(&[], None), Err(Failure::Problem(p)) if p.code == Code::NotFound));
    }
}
