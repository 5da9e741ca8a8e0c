//! The command of an exec helper: made in the instance, with pipes or a terminal of the instance's own.

use super::{enter::Entry, frame::Start, secrets};
use crate::{
    Launch, Secrets, first,
    launch::{InstanceDir, Job},
    user::{self, User},
};
use freehold_model::{
    exec::{STDERR, STDOUT, TtySize},
    manifest::Driver,
};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::{CloneFlags, setns},
    sys::{
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::{ForkResult, Pid, fork, pipe2},
};
use rustix::{
    fs::{Mode, OFlags, ResolveFlags, openat2},
    process::{PidfdFlags, pidfd_open},
    termios::{Winsize, tcsetwinsize},
};
use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
};

/// A command that runs, and this side of its streams.
pub(super) struct Child {
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
    pub(super) stdin: Option<OwnedFd>,
    /// What it says, by the stream's number.
    pub(super) outputs: Vec<(u8, OwnedFd)>,
    /// Its terminal.
    pub(super) tty: Option<OwnedFd>,
}

/// A command that does not run.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChildError {
    /// Nothing of the command was tried.
    #[error("cannot run a command in {instance}: {source}")]
    Setup { instance: String, source: io::Error },
    /// As shells do: 127 not found, 126 cannot be executed.
    #[error("cannot run `{command}`: {text}")]
    Command { command: String, code: i32, text: String },
}

/// Runs the command of `start` for as long as somebody is at the other end of `agent`.
pub(super) fn spawn(dir: &InstanceDir, start: &Start, agent: impl AsFd) -> Result<Child, ChildError> {
    let instance = dir.0.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match try_spawn(dir, start, agent) {
        Ok((child, None)) => Ok(child),
        Ok((_, Some((code, text)))) => {
            Err(ChildError::Command { command: start.request.command[0].clone(), code, text })
        }
        Err(source) => Err(ChildError::Setup { instance, source }),
    }
}

/// The child, and how its exec failed if it did.
fn try_spawn(
    dir: &InstanceDir,
    start: &Start,
    agent: impl AsFd,
) -> io::Result<(Child, Option<(i32, String)>)> {
    let Job { launch, has_secrets, rootless, .. } = InstanceDir::read(&dir.job())?;
    crate::rootless::assume(rootless);
    let secrets = if has_secrets { secrets::of(dir)? } else { Secrets::none() };
    let first = open_first(dir, start.pid, &launch)?;
    let root = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
        .open(format!("/proc/{}/root", start.pid))?;
    let wanted = start.request.user.as_deref().or(launch.user.as_deref());
    let mut user = user::look_up(&root, wanted).map_err(io::Error::other)?;
    crate::rootless::fit(&mut user).map_err(io::Error::other)?;
    let (streams, inner) = match start.request.tty {
        Some(size) => terminal(&root, size, &user)?,
        None => pipes(&user)?,
    };
    if launch.driver == Driver::Container {
        setns(&first, CloneFlags::CLONE_NEWPID)?;
    }
    let (result, mut report) = pipe2(OFlag::O_CLOEXEC).map(|(r, w)| (File::from(r), File::from(w)))?;
    let entry = Entry {
        launch: &launch,
        user: &user,
        secrets: &secrets,
        pidfd: &first,
        root: &root,
        request: &start.request,
        stdio: [&inner[0], &inner[1], &inner[2]],
    };
    // SAFETY: the helper has a single thread, so its child may do anything.
    let pid = match unsafe { fork()? } {
        ForkResult::Child => {
            let error = entry.run();
            let _ = report.write_all(&failure(&error));
            // SAFETY: ends the process without running what is the parent's.
            unsafe { libc::_exit(126) }
        }
        ForkResult::Parent { child } => child.as_raw(),
    };
    drop((report, inner));
    let known = rustix::process::Pid::from_raw(pid).ok_or(io::ErrorKind::NotFound)?;
    let pidfd = pidfd_open(known, PidfdFlags::empty())?;
    let outcome = outcome(result, agent);
    if outcome.is_err() {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    if !matches!(outcome, Ok(None)) {
        // Left behind, it would keep the instance's namespace of processes from ending until somebody reaps it; not
        // every machine's first process does.
        let _ = waitpid(Pid::from_raw(pid), None);
    }
    let failed = outcome?;
    let child = Child { pid, pidfd, stdin: streams.stdin, outputs: streams.outputs, tty: streams.tty };
    Ok((child, failed))
}

/// A number of a process may have been given to another since: the control group tells.
fn open_first(dir: &InstanceDir, pid: i32, launch: &Launch) -> io::Result<OwnedFd> {
    let gone = || io::Error::new(io::ErrorKind::NotFound, "it does not run any more");
    let first = pidfd_open(rustix::process::Pid::from_raw(pid).ok_or_else(gone)?, PidfdFlags::empty())?;
    if launch.driver == Driver::Container && !first::belongs(dir, launch.instance, pid) {
        return Err(gone());
    }
    Ok(first)
}

fn failure(error: &io::Error) -> Vec<u8> {
    let code = match error.kind() {
        io::ErrorKind::NotFound => 127,
        io::ErrorKind::Other => 0,
        _ => 126,
    };
    format!("{code} {error}").into_bytes()
}

/// Nothing was written when the exec succeeded: it closed the pipe. Until then the instance can stop the
/// child (SIGSTOP) for as long as it likes, but not longer than somebody waits.
fn outcome(mut result: File, agent: impl AsFd) -> io::Result<Option<(i32, String)>> {
    let mut fds =
        [PollFd::new(result.as_fd(), PollFlags::POLLIN), PollFd::new(agent.as_fd(), PollFlags::empty())];
    while let Err(Errno::EINTR) = poll(&mut fds, PollTimeout::NONE) {}
    if !fds[0].any().unwrap_or(true) {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    let mut text = String::new();
    result.read_to_string(&mut text)?;
    match text.split_once(' ') {
        None => Ok(None),
        Some(("0", text)) => Err(io::Error::other(text.to_owned())),
        Some((code, text)) => Ok(Some((code.parse().unwrap_or(126), text.to_owned()))),
    }
}

struct Streams {
    stdin: Option<OwnedFd>,
    outputs: Vec<(u8, OwnedFd)>,
    tty: Option<OwnedFd>,
}

type Inner = [OwnedFd; 3];

/// They belong to `user`, who may open them again by name (`/dev/stdout`).
fn pipes(user: &User) -> io::Result<(Streams, Inner)> {
    let (inner_in, stdin) = pipe2(OFlag::O_CLOEXEC)?;
    let (stdout, inner_out) = pipe2(OFlag::O_CLOEXEC)?;
    let (stderr, inner_err) = pipe2(OFlag::O_CLOEXEC)?;
    for fd in [&stdin, &stdout, &stderr] {
        rustix::io::ioctl_fionbio(fd, true)?;
        user.own(fd)?;
    }
    let outputs = vec![(STDOUT, stdout), (STDERR, stderr)];
    Ok((Streams { stdin: Some(stdin), outputs, tty: None }, [inner_in, inner_out, inner_err]))
}

/// A terminal out of the instance's own devices, so that programs in it can name it. The other end
/// is had from this one and not by a path, which the instance could have bent.
fn terminal(root: &File, size: TtySize, user: &User) -> io::Result<(Streams, Inner)> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let master = openat2(root, "dev/pts/ptmx", flags, Mode::empty(), ResolveFlags::IN_ROOT)?;
    let unlock: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads an int; TIOCGPTPEER takes open flags and answers with a new descriptor.
    let slave = unsafe {
        if libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlock) != 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = libc::ioctl(
            master.as_raw_fd(),
            libc::TIOCGPTPEER,
            libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC,
        );
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd)
    };
    resize(&master, size)?;
    user.own(&slave)?;
    let inner = [slave.try_clone()?, slave.try_clone()?, slave];
    let streams = Streams {
        stdin: Some(master.try_clone()?),
        outputs: vec![(STDOUT, master.try_clone()?)],
        tty: Some(master),
    };
    Ok((streams, inner))
}

pub(super) fn resize(tty: impl AsFd, size: TtySize) -> io::Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.cols, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(tcsetwinsize(tty, size)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{os::unix::net::UnixStream, sync::mpsc, time::Duration};

    #[test]
    fn a_child_that_is_stopped_before_its_exec_is_waited_for_no_longer_than_somebody_waits() {
        // Nothing is ever written and nobody closes it: as when the instance sends SIGSTOP.
        let (result, _kept_open) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let (agent, other) = UnixStream::pair().unwrap();
        let (sender, ended) = mpsc::channel();
        std::thread::spawn(move || sender.send(outcome(File::from(result), &agent).map_err(|e| e.kind())));
        assert!(ended.recv_timeout(Duration::from_millis(50)).is_err(), "somebody still waits");
        drop(other);
        let end = ended.recv_timeout(Duration::from_secs(20)).expect("it waits for ever");
        assert_eq!(end, Err(io::ErrorKind::ConnectionAborted));
    }
}
