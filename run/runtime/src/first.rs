//! The first process of an instance, noted where no control group tells what belongs to it: killing it
//! ends the instance, because it is the first of a process namespace.
//!
//! Written by the shim of an instance without root, read by whoever clears up after that shim. A number may
//! have become another's; the time at which the process began tells.

use crate::{cgroup::Cgroup, launch::InstanceDir};
use freehold_model::InstanceId;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    time::{Duration, Instant},
};

/// A process, whatever its number comes to mean later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct First {
    pub(crate) pid: i32,
    /// When it began, in ticks since the machine did.
    began: u64,
}

impl First {
    /// Notes that `pid` is the first process of the instance in `dir`.
    pub(crate) fn note(dir: &InstanceDir, pid: i32) -> io::Result<()> {
        let began = began(pid).ok_or(io::ErrorKind::NotFound)?;
        InstanceDir::write(&dir.first(), &First { pid, began })
    }

    /// The one that was noted.
    pub(crate) fn read(dir: &InstanceDir) -> Option<First> {
        InstanceDir::read(&dir.first()).ok()
    }

    /// Whether it has not ended.
    pub(crate) fn lives(&self) -> bool {
        began(self.pid) == Some(self.began)
    }

    /// Kills it, and with it the instance; waits until it is gone.
    fn kill(&self, patience: Duration) -> io::Result<()> {
        let deadline = Instant::now() + patience;
        let Some(process) = Pid::from_raw(self.pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
        else {
            return Ok(());
        };
        // Asked after it was opened: from here on it cannot become another.
        while self.lives() {
            let _ = pidfd_send_signal(&process, Signal::KILL);
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("process {} does not die", self.pid)));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

/// Whether `pid` is a process of the instance in `dir`: its group says so, or the note does.
pub(crate) fn belongs(dir: &InstanceDir, instance: InstanceId, pid: i32) -> bool {
    Cgroup::contains(instance, pid) || First::read(dir).is_some_and(|first| first.pid == pid && first.lives())
}

/// Kills everything that the instance in `dir` runs.
pub(crate) fn kill(dir: &InstanceDir, instance: InstanceId, patience: Duration) -> io::Result<()> {
    Cgroup::of(instance).kill(patience)?;
    First::read(dir).map_or(Ok(()), |first| first.kill(patience))
}

/// When a process that is not dead began (proc_pid_stat(5): the 22nd field).
fn began(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    if state == "Z" || state == "X" { None } else { fields.nth(18)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_when_it_began() {
        let dir = tempfile::tempdir().unwrap();
        let dir = InstanceDir(dir.path().to_owned());
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        First::note(&dir, child.id() as i32).unwrap();
        let first = First::read(&dir).unwrap();
        assert!(first.lives());
        assert!(!First { began: first.began + 1, ..first }.lives());
        // One that only has the number is left alone.
        First { began: first.began + 1, ..first }.kill(Duration::ZERO).unwrap();
        assert!(child.try_wait().unwrap().is_none());
        first.kill(Duration::from_secs(10)).unwrap();
        assert!(!first.lives());
        child.wait().unwrap();
    }
}
