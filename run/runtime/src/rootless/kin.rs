//! What an earlier Freehold left running over the same data directory: the namespaces of its instances,
//! which a new one joins to adopt them. They are known by their shims; where those were killed, by what the
//! shims noted of their containers ([`crate::first`]).

use crate::{first::First, launch::InstanceDir, liveness};
use rustix::process::Pid;
use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::Path,
};

/// The namespaces of instances that run.
pub(super) struct Kin {
    /// `None`: this process is in it already.
    pub(super) user: Option<File>,
    /// The house's; `None`: nobody who is in it lives.
    pub(super) network: Option<File>,
}

/// Those of the instances in `data`, if any runs.
pub(super) fn find(data: &Path) -> Option<Kin> {
    let instances = data.join("instances").canonicalize().ok()?;
    let dirs =
        || fs::read_dir(&instances).into_iter().flatten().flatten().map(|entry| InstanceDir(entry.path()));
    let by_shim = dirs().find_map(|dir| {
        let pid = liveness::shim_of(&dir)?;
        Some(Kin { user: user(pid)?, network: Some(File::open(path(pid, "net")).ok()?) })
    });
    by_shim.or_else(|| {
        dirs().find_map(|dir| {
            let first = First::read(&dir).filter(First::lives)?;
            Some(Kin { user: user(Pid::from_raw(first.pid)?)?, network: None })
        })
    })
}

fn path(pid: Pid, kind: &str) -> String {
    format!("/proc/{}/ns/{kind}", pid.as_raw_nonzero())
}

/// The user namespace of a process; `Some(None)` when it is ours.
fn user(pid: Pid) -> Option<Option<File>> {
    let file = File::open(path(pid, "user")).ok()?;
    let own = fs::metadata("/proc/self/ns/user").ok()?;
    Some((file.metadata().ok()?.ino() != own.ino()).then_some(file))
}
