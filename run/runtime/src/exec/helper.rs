//! The exec helper's process: one loop between the agent's socket and the command. It lives as long as
//! both; when the agent goes, the command and all of its session are hung up on, then killed.

use super::{
    child::{self, Child, ChildError},
    frame::{self, BYTES, CONTROL, Received, Start},
    session,
};
use crate::launch::InstanceDir;
use freehold_model::exec::{ExecControl, ExecReport};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use rustix::net::{RecvFlags, recv};
use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    process::ExitCode,
};

/// So much input waits for a command that does not read; then the agent does.
const PENDING: usize = 1 << 20;
const CHUNK: usize = 64 << 10;
/// What a terminal takes for the end of input: Ctrl-D.
const END_OF_TRANSMISSION: u8 = 4;

/// Serves one session over descriptor 0.
pub(crate) fn main(dir: PathBuf) -> ExitCode {
    match run(&InstanceDir(dir)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("exec: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(dir: &InstanceDir) -> io::Result<()> {
    let mut socket = take_socket()?;
    let mut received = Received::default();
    let Some(start) = first_frame(&socket, &mut received)? else { return Ok(()) };
    let report = match child::spawn(dir, &start, &socket) {
        Ok(child) => {
            match (Session { child, received, pending: Received::default(), ended: false })
                .serve(&mut socket)?
            {
                Some(code) => ExecReport::Exit(code),
                None => return Ok(()),
            }
        }
        Err(error @ ChildError::Command { code, .. }) => {
            socket
                .write_all(&frame::encode(freehold_model::exec::STDERR, format!("{error}\n").as_bytes()))?;
            ExecReport::Exit(code)
        }
        Err(error) => ExecReport::Failed(error.to_string()),
    };
    socket.write_all(&frame::json(&report))
}

fn take_socket() -> io::Result<UnixStream> {
    let fd = nix::fcntl::fcntl(0, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(10))?;
    // SAFETY: the number was just made by this process and nothing else owns it.
    let socket = UnixStream::from(unsafe { OwnedFd::from_raw_fd(fd) });
    let null = OpenOptions::new().read(true).open("/dev/null")?;
    nix::unistd::dup2(null.as_raw_fd(), 0)?;
    Ok(socket)
}

fn first_frame(socket: &UnixStream, received: &mut Received) -> io::Result<Option<Start>> {
    loop {
        if let Some((_, content)) = received.take()? {
            return Ok(Some(serde_json::from_slice(&content)?));
        }
        if !receive(socket, received, RecvFlags::empty())? {
            return Ok(None);
        }
    }
}

/// Whether the agent is still there.
fn receive(socket: &UnixStream, received: &mut Received, flags: RecvFlags) -> io::Result<bool> {
    let mut buffer = [0; CHUNK];
    match recv(socket, &mut buffer[..], flags) {
        Ok((_, 0)) => Ok(false),
        Ok((_, n)) => {
            received.extend(&buffer[..n]);
            Ok(true)
        }
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(true),
        Err(rustix::io::Errno::CONNRESET) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

struct Session {
    child: Child,
    received: Received,
    /// Input that the command has not read.
    pending: Received,
    /// No more input comes after what is pending.
    ended: bool,
}

impl Session {
    /// Until the command ends: its code; or until the agent goes: `None`, and the command is dead.
    fn serve(mut self, socket: &mut UnixStream) -> io::Result<Option<i32>> {
        let result = self.converse(socket);
        if !matches!(result, Ok(Some(_))) {
            // Its outputs stay open: who says goodbye into a closed pipe is killed for it (SIGPIPE).
            session::end(self.child.pid);
            // A dead child that nobody reaps keeps the instance's namespace of processes from ending.
            let _ = waitpid(Pid::from_raw(self.child.pid), Some(WaitPidFlag::WNOHANG));
        }
        result
    }

    fn converse(&mut self, socket: &mut UnixStream) -> io::Result<Option<i32>> {
        loop {
            self.take_frames()?;
            self.feed();
            self.wait(socket)?;
            if self.pending.unused().len() < PENDING
                && !receive(socket, &mut self.received, RecvFlags::DONTWAIT)?
            {
                return Ok(None);
            }
            // Asked before reading: what was said before the end is then still in the pipes.
            let status = waitpid(Pid::from_raw(self.child.pid), Some(WaitPidFlag::WNOHANG))?;
            let over = status != WaitStatus::StillAlive;
            while self.forward(socket)? && over {}
            if over {
                return Ok(Some(code(status)));
            }
        }
    }

    fn wait(&self, socket: &UnixStream) -> io::Result<()> {
        let input =
            if self.pending.unused().len() < PENDING { PollFlags::POLLIN } else { PollFlags::empty() };
        let mut fds = vec![
            PollFd::new(socket.as_fd(), input),
            PollFd::new(self.child.pidfd.as_fd(), PollFlags::POLLIN),
        ];
        fds.extend(self.child.outputs.iter().map(|(_, fd)| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
        if let (Some(stdin), false) = (&self.child.stdin, self.pending.unused().is_empty()) {
            fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLOUT));
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let hung_up = fds[0].revents().is_some_and(|r| r.contains(PollFlags::POLLHUP));
        if hung_up && self.pending.unused().len() >= PENDING {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    fn take_frames(&mut self) -> io::Result<()> {
        while let Some((kind, content)) = self.received.take()? {
            match kind {
                BYTES if !self.ended => self.pending.extend(&content),
                CONTROL => self.obey(serde_json::from_slice(&content)?),
                _ => {}
            }
        }
        Ok(())
    }

    fn obey(&mut self, control: ExecControl) {
        match control {
            ExecControl::Eof if !self.ended => {
                self.ended = true;
                if self.child.tty.is_some() {
                    self.pending.extend(&[END_OF_TRANSMISSION]);
                }
            }
            ExecControl::Eof => {}
            ExecControl::Resize(size) => {
                if let Some(tty) = &self.child.tty {
                    let _ = child::resize(tty, size);
                }
            }
            ExecControl::Signal(signal) => {
                if let Ok(signal) = Signal::try_from(signal) {
                    self.signal(signal);
                }
            }
        }
    }

    /// To the command and what it started, unless they left its session.
    fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(-self.child.pid), signal);
    }

    /// Gives the command what it takes of its input.
    fn feed(&mut self) {
        let Some(stdin) = &self.child.stdin else {
            self.pending = Received::default();
            return;
        };
        while !self.pending.unused().is_empty() {
            match rustix::io::write(stdin, self.pending.unused()) {
                Ok(n) => self.pending.consume(n),
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return,
                Err(_) => {
                    // It closed its input; what is sent goes nowhere.
                    self.pending = Received::default();
                    self.child.stdin = None;
                    return;
                }
            }
        }
        if self.ended {
            self.child.stdin = None;
        }
    }

    /// Passes on what the command said; whether there was anything.
    fn forward(&mut self, socket: &mut UnixStream) -> io::Result<bool> {
        let mut any = false;
        let mut buffer = [0; CHUNK];
        let mut closed = Vec::new();
        for (stream, fd) in &self.child.outputs {
            match rustix::io::read(fd, &mut buffer[..]) {
                // A terminal whose other end is closed answers EIO.
                Ok(0) | Err(rustix::io::Errno::IO) => closed.push(*stream),
                Ok(n) => {
                    any = true;
                    socket.write_all(&frame::encode(*stream, &buffer[..n]))?;
                }
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.child.outputs.retain(|(stream, _)| !closed.contains(stream));
        Ok(any)
    }
}

fn code(status: WaitStatus) -> i32 {
    match status {
        WaitStatus::Exited(_, code) => code,
        WaitStatus::Signaled(_, signal, _) => 128 + signal as i32,
        _ => 255,
    }
}
