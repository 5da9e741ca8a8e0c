//! One more command inside a running instance. The agent's side starts a helper, this program
//! re-executed as `<program> shim <directory> exec`, and talks to it in [`frame`]s over a socket. The
//! helper ([`helper`]) joins the instance and runs the command. When either side goes, the other ends.

mod child;
mod enter;
mod frame;
mod helper;
mod secrets;
mod session;

pub(crate) use helper::main as helper_main;

use crate::{Launch, RuntimeError, launch::InstanceDir, program::Program, shim::EXEC};
use frame::{BYTES, CONTROL, HEADER, Start};
use freehold_model::exec::{ExecControl, ExecReport, ExecRequest, STDERR, STDOUT, TtySize};
use std::{fs::OpenOptions, io, os::unix::net::UnixStream as StdStream, process::Stdio};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
};

/// Both ends of a running command. Dropping `output` ends the command; dropping `input` ends its
/// standard input.
#[derive(Debug)]
pub struct ExecSession {
    /// What it is given.
    pub input: mpsc::Sender<ExecInput>,
    /// What it says; ends after `Exit` or `Failed`.
    pub output: mpsc::Receiver<ExecOutput>,
}

/// What a command is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecInput {
    /// Standard input, or what is typed at its terminal.
    Bytes(Vec<u8>),
    /// Standard input has ended.
    Eof,
    /// Its terminal has another size.
    Resize(TtySize),
    /// A signal, by number.
    Signal(i32),
}

/// What a command says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecOutput {
    /// Standard output, or what its terminal shows.
    Stdout(Vec<u8>),
    /// Standard error.
    Stderr(Vec<u8>),
    /// It ended with this code: 128 + n when signal n ended it, 127 when there is no such command, 126
    /// when it cannot be executed.
    Exit(i32),
    /// It could not be run at all.
    Failed(String),
}

/// So many messages wait in each direction; then the faster side does.
const QUEUE: usize = 32;

/// Starts a command in the instance whose first process is `pid`.
pub(crate) fn start(
    shim: &Program,
    dir: &InstanceDir,
    launch: &Launch,
    pid: i32,
    request: &ExecRequest,
) -> Result<ExecSession, RuntimeError> {
    let instance = launch.instance;
    let bad = |reason: &str| RuntimeError::BadLaunch { instance, reason: reason.into() };
    if request.command.first().is_none_or(String::is_empty) {
        return Err(bad("there is no command to run in it: name a program"));
    }
    let texts = request.command.iter().chain(request.env.iter().flat_map(|(key, value)| [key, value]));
    if texts.chain(&request.workdir).any(|text| text.contains('\0')) {
        return Err(bad("the command or its environment holds a zero byte, which no program can be given"));
    }
    if request.env.keys().any(|key| key.is_empty() || key.contains('=')) {
        return Err(bad("the name of an environment variable is empty or holds `=`"));
    }
    let stream =
        spawn(shim, dir).map_err(|source| RuntimeError::Spawn { program: shim.name().to_owned(), source })?;
    let start = Start { pid, request: request.clone() };
    let (input, given) = mpsc::channel(QUEUE);
    let (said, output) = mpsc::channel(QUEUE);
    tokio::spawn(converse(stream, start, given, said));
    Ok(ExecSession { input, output })
}

fn spawn(shim: &Program, dir: &InstanceDir) -> io::Result<UnixStream> {
    let (ours, theirs) = StdStream::pair()?;
    ours.set_nonblocking(true)?;
    let log = OpenOptions::new().append(true).create(true).open(dir.shim_log())?;
    let mut command = shim.command(&[], &dir.0);
    let theirs = std::os::fd::OwnedFd::from(theirs);
    let mut child = command.arg(EXEC).stdin(theirs).stdout(Stdio::null()).stderr(log).spawn()?;
    tokio::spawn(async move { child.wait().await });
    UnixStream::from_std(ours)
}

/// Until the command ends or nobody listens any more. Then the socket closes, which ends the helper.
async fn converse(
    stream: UnixStream,
    start: Start,
    given: mpsc::Receiver<ExecInput>,
    said: mpsc::Sender<ExecOutput>,
) {
    let (reader, writer) = stream.into_split();
    let nobody_listens = said.clone();
    let give = async {
        // A helper that is gone is noticed by the reading side, which knows what it said last.
        let _ = give(writer, start, given).await;
        std::future::pending::<()>().await
    };
    tokio::select! {
        () = say(reader, said) => {}
        () = give => {}
        () = nobody_listens.closed() => {}
    }
}

async fn give(mut to: OwnedWriteHalf, start: Start, mut given: mpsc::Receiver<ExecInput>) -> io::Result<()> {
    to.write_all(&frame::json(&start)).await?;
    while let Some(input) = given.recv().await {
        let bytes = match input {
            ExecInput::Bytes(bytes) => frame::encode(BYTES, &bytes),
            ExecInput::Eof => frame::json(&ExecControl::Eof),
            ExecInput::Resize(size) => frame::json(&ExecControl::Resize(size)),
            ExecInput::Signal(signal) => frame::json(&ExecControl::Signal(signal)),
        };
        to.write_all(&bytes).await?;
    }
    to.write_all(&frame::json(&ExecControl::Eof)).await?;
    // Kept open: closing it would end the command.
    std::future::pending::<()>().await;
    drop(to);
    Ok(())
}

async fn say(mut from: OwnedReadHalf, said: mpsc::Sender<ExecOutput>) {
    loop {
        let output = match receive(&mut from).await {
            Ok(output) => output,
            Err(error) => ExecOutput::Failed(format!("the exec helper ended early: {error}")),
        };
        let last = matches!(output, ExecOutput::Exit(_) | ExecOutput::Failed(_));
        if said.send(output).await.is_err() || last {
            return;
        }
    }
}

async fn receive(from: &mut OwnedReadHalf) -> io::Result<ExecOutput> {
    let mut header = [0; HEADER];
    from.read_exact(&mut header).await?;
    let (kind, length) = frame::decode_header(header)?;
    let mut body = vec![0; length];
    from.read_exact(&mut body).await?;
    match kind {
        STDOUT => Ok(ExecOutput::Stdout(body)),
        STDERR => Ok(ExecOutput::Stderr(body)),
        CONTROL => match serde_json::from_slice(&body)? {
            ExecReport::Exit(code) => Ok(ExecOutput::Exit(code)),
            ExecReport::Failed(message) => Ok(ExecOutput::Failed(message)),
        },
        kind => Err(io::Error::other(format!("unknown frame {kind}"))),
    }
}
