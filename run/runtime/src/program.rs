//! This very program, to be run again as a shim or an exec helper.
//!
//! It is opened once, so instances that start later run the same version even if the file was replaced
//! meanwhile; and through a mount of its own that is read-only, because a process in an instance may get
//! hold of what runs there (`/proc/<pid>/exe`) and must not be able to write to it (CVE-2019-5736).

use nix::libc;
use rustix::{
    fs::{CWD, Mode, OFlags, open},
    mount::{OpenTreeFlags, open_tree},
};
use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
};
use tokio::process::Command;

/// A program and its first arguments.
pub(crate) struct Program {
    file: OwnedFd,
    name: String,
    arguments: Vec<String>,
}

impl Program {
    /// Opens the program of `command`.
    pub(crate) fn open(command: &[String]) -> io::Result<Program> {
        let (name, arguments) = command.split_first().ok_or(io::ErrorKind::NotFound)?;
        let file = match read_only(Path::new(name)) {
            Ok(file) => file,
            Err(error) => {
                tracing::warn!(%error, "the program cannot be protected from its instances; Linux 5.12 can");
                open(name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?
            }
        };
        Ok(Program { file, name: name.clone(), arguments: arguments.to_vec() })
    }

    /// As it is called in messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs it, `more` told first, on the directory of an instance, with nothing of this process's
    /// environment: that is not the instance's business, and may hold tokens.
    pub(crate) fn command(&self, more: &[String], dir: &Path) -> Command {
        let mut command = Command::new(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
        if let Some(house) = crate::rootless::namespace() {
            // SAFETY: setns(2) is async-signal-safe. The descriptor stays open as long as the program runs.
            unsafe { command.pre_exec(move || crate::rootless::join(house)) };
        }
        command.arg0(&self.name).args(&self.arguments).args(more).arg(dir).env_clear();
        command
    }
}

/// The file behind a read-only mount that is part of no mount table.
fn read_only(path: &Path) -> io::Result<OwnedFd> {
    let file = open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
    let wanted =
        libc::mount_attr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the path is empty and ends with a zero byte, and the size is that of what is pointed to.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            file.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const wanted,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(file) } else { Err(io::Error::last_os_error()) }
}
