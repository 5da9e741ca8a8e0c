//! The shim's one loop: output into the log, orders to the instance, and its end.

use super::{Running, control::Control, logs::LogWriter};
use crate::{cgroup::Cgroup, launch::Launch, wire::Order};
use freehold_model::{Exit, logs::LogStream, manifest::Driver};
use jiff::Timestamp;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::Signal,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use rustix::process::{PidfdFlags, pidfd_open};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

/// Read at once from a pipe: an instance that floods one stream does not starve the other.
const CHUNK: usize = 128 << 10;
/// What an instance can print while the shim does something else.
const PIPE: usize = 256 << 10;

/// One stream of the instance's output; `None` once nothing holds its writing end any more.
struct Output<'a> {
    pipe: Option<&'a OwnedFd>,
    stream: LogStream,
}

/// Serves the instance until its first process has ended, and answers with how.
pub(super) fn until_end(
    running: &Running,
    launch: &Launch,
    control: &mut Control,
    mut log: LogWriter,
) -> io::Result<WaitStatus> {
    let pid = Pid::from_raw(running.pid);
    let pidfd = pidfd_open(
        rustix::process::Pid::from_raw(running.pid).ok_or_else(|| io::Error::other("no process"))?,
        PidfdFlags::empty(),
    )?;
    let mut outputs = [
        Output { pipe: Some(&running.stdout), stream: LogStream::Stdout },
        Output { pipe: Some(&running.stderr), stream: LogStream::Stderr },
    ];
    for pipe in [&running.stdout, &running.stderr] {
        // The kernel may allow no more than it gave.
        let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE);
    }
    let mut buffer = vec![0; CHUNK];
    loop {
        wait_for_work(&pidfd, &outputs, control, &log)?;
        if log.has_room() {
            outputs.iter_mut().for_each(|output| _ = output.read_once(&mut buffer, &mut log));
        } else {
            log.noticed();
        }
        log.pass_on();
        for order in control.serve() {
            if let Order::Signal(signal) = order {
                send(signal, running.pid, launch);
            }
        }
        match waitpid(pid, Some(WaitPidFlag::WNOHANG))? {
            WaitStatus::StillAlive => {}
            status => {
                finish(launch, &mut outputs, &mut buffer, log);
                return Ok(status);
            }
        }
    }
}

/// The end of a run as it is recorded.
pub(super) fn exit(status: WaitStatus, launch: &Launch) -> Exit {
    let (code, signal) = match status {
        WaitStatus::Exited(_, code) => (Some(code), None),
        WaitStatus::Signaled(_, signal, _) => (None, Some(signal as i32)),
        _ => (None, None),
    };
    // A shell whose child was killed for want of memory ends with 137 itself.
    let killed = signal == Some(9) || code == Some(137);
    let oom = killed && Cgroup::of(launch.instance).oom_kills() > 0;
    Exit { code, signal, oom, disk: None, unhealthy: None, at: Timestamp::now() }
}

impl Output<'_> {
    /// Whether there may be more at once.
    fn read_once(&mut self, buffer: &mut [u8], log: &mut LogWriter) -> bool {
        let Some(pipe) = self.pipe else { return false };
        match rustix::io::read(pipe, &mut *buffer) {
            Ok(0) => {
                self.pipe = None;
                false
            }
            Ok(n) => {
                log.push(self.stream, &buffer[..n]);
                true
            }
            Err(_) => false,
        }
    }
}

fn wait_for_work(
    pidfd: &OwnedFd,
    outputs: &[Output<'_>],
    control: &Control,
    log: &LogWriter,
) -> io::Result<()> {
    let mut fds = vec![PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    if log.has_room() {
        let pipes = outputs.iter().filter_map(|o| o.pipe);
        fds.extend(pipes.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
    } else {
        fds.push(PollFd::new(log.written(), PollFlags::POLLIN));
    }
    fds.extend(control.fds().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
    let patience = log.patience().map(|left| left.as_millis() as u16 + 1);
    match poll(&mut fds, patience.map_or(PollTimeout::NONE, PollTimeout::from)) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What is left in the pipes once everything that could write is dead.
fn finish(launch: &Launch, outputs: &mut [Output<'_>], buffer: &mut [u8], mut log: LogWriter) {
    if let Err(error) = Cgroup::of(launch.instance).kill(super::PATIENCE) {
        eprintln!("{}: {error}", launch.instance);
    }
    for output in outputs.iter_mut() {
        while output.read_once(buffer, &mut log) {
            log.wait_for_room();
        }
    }
    log.finish();
}

/// A process without isolation is asked together with its children, as from a terminal.
fn send(signal: i32, pid: i32, launch: &Launch) {
    let Ok(signal) = Signal::try_from(signal) else { return };
    if signal == Signal::SIGKILL {
        // What somebody froze must not outlive it.
        Cgroup::of(launch.instance).thaw();
    }
    let target = match launch.driver {
        Driver::Container => pid,
        Driver::Process => -pid,
    };
    let _ = nix::sys::signal::kill(Pid::from_raw(target), signal);
}
