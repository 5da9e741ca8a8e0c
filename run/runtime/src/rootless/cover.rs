//! Where an ordinary user may make no control groups: shows libcontainer a hierarchy of version 2, the only
//! one in which it goes on without a group of the container's own. Called by the shim, in the mount
//! namespace that only it and the instance are in; the instance itself is shown no hierarchy.

use crate::cgroup::hierarchies;
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use std::{io, path::Path};

const ROOT: &str = "/sys/fs/cgroup";

/// Sees to it that what is at `/sys/fs/cgroup` is of version 2.
pub(crate) fn cover_cgroups() -> io::Result<()> {
    let none = None::<&str>;
    match hierarchies().into_iter().find(|one| one.v2) {
        Some(unified) if unified.mount == Path::new(ROOT) => Ok(()),
        Some(unified) => Ok(mount(Some(&unified.mount), ROOT, none, MsFlags::MS_BIND, none)?),
        None => {
            unshare(CloneFlags::CLONE_NEWCGROUP)?;
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            Ok(mount(Some("cgroup2"), ROOT, Some("cgroup2"), flags, none)?)
        }
    }
}
