//! Whether the process of a shim lives, told by the process itself and not by its socket.
//!
//! A shim that is killed while it creates a container leaves a fork of itself that waits for it for
//! ever, and holds its socket and its lock. So whoever follows a shim watches its process, and whoever
//! clears up after one ends its forks first: they are known by their command line, which ends with the
//! instance's directory.

use crate::launch::InstanceDir;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::{
    fs, io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    time::{Duration, Instant},
};
use tokio::io::{Interest, unix::AsyncFd};

/// The process of a shim, whatever its number comes to mean later.
pub(crate) struct ShimProcess(OwnedFd);

impl ShimProcess {
    /// The child that was just started and not yet waited for.
    pub(crate) fn child(pid: u32) -> io::Result<ShimProcess> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(ShimProcess(pidfd_open(pid, PidfdFlags::empty())?))
    }

    /// The shim of an instance, if one lives: its forks are not leaders of a session, or, where they are to
    /// become the first process of a container, not in this namespace of processes.
    pub(crate) fn find(dir: &InstanceDir) -> Option<ShimProcess> {
        shim(dir).map(|(_, process)| ShimProcess(process))
    }

    /// Until it has ended.
    pub(crate) async fn ended(self) -> io::Result<()> {
        // SAFETY: an owned descriptor stays the same and open until it is dropped, with what watches it.
        let watched = unsafe { AsyncFd::register_with_interest(self.0, Interest::READABLE)? };
        watched.readable().await.map(drop)
    }
}

/// The number of the shim of an instance, if one lives.
pub(crate) fn shim_of(dir: &InstanceDir) -> Option<Pid> {
    shim(dir).map(|(pid, _)| pid)
}

fn shim(dir: &InstanceDir) -> Option<(Pid, OwnedFd)> {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let here = namespace("self");
    let is_shim = |pid: Pid| leads(pid) && namespace(&pid.as_raw_nonzero().to_string()) == here;
    all(dir).into_iter().find(|(pid, _)| is_shim(*pid))
}

/// Whether it is the first of its session. One whose leader is outside of this namespace of processes is in
/// session zero to us, a number that rustix does not expect.
fn leads(pid: Pid) -> bool {
    let pid = nix::unistd::Pid::from_raw(pid.as_raw_nonzero().get());
    nix::unistd::getsid(Some(pid)) == Ok(pid)
}

/// Ends the shim of an instance and every fork of it that has not become something else yet.
pub(crate) fn end_forks(dir: &InstanceDir, patience: Duration) -> io::Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        let left = all(dir);
        if left.is_empty() {
            return Ok(());
        }
        for (_, process) in &left {
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
        if Instant::now() > deadline {
            return Err(io::Error::other("what a shim forked does not die"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Every process whose command line ends with the directory. One that has ended has none.
fn all(dir: &InstanceDir) -> Vec<(Pid, OwnedFd)> {
    let mut end = vec![0];
    end.extend(dir.0.as_os_str().as_bytes());
    end.push(0);
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    pids.filter_map(|pid| {
        // Opened before it is looked at: the number cannot become another's in between.
        let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).ok()?;
        line.ends_with(&end).then_some((pid, process))
    })
    .collect()
}
