//! How a new process becomes one of an instance's: its control group, namespaces, root, limits, rights
//! and user, in the order in which each is still allowed. Runs between fork and exec.

use crate::{
    Launch, Secrets,
    cgroup::Cgroup,
    rootless, seccomp,
    shim::{
        no_core_files,
        spec::{self, CAPABILITIES},
    },
    user::User,
};
use freehold_model::{exec::ExecRequest, manifest::Driver};
use nix::{
    libc,
    sched::{CloneFlags, setns},
    sys::{
        prctl::set_dumpable,
        resource::{Resource, setrlimit},
    },
    unistd::{Gid, Uid, chdir, chroot, dup2, fchdir, setgid, setgroups, setsid, setuid},
};
use std::{
    fs::File,
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::Command,
};

/// All that is needed to become a process of an instance.
pub(super) struct Entry<'a> {
    pub(super) launch: &'a Launch,
    pub(super) user: &'a User,
    pub(super) secrets: &'a Secrets,
    /// The instance's first process.
    pub(super) pidfd: &'a OwnedFd,
    /// Its root directory.
    pub(super) root: &'a File,
    pub(super) request: &'a ExecRequest,
    /// Standard input, output and error.
    pub(super) stdio: [&'a OwnedFd; 3],
}

impl Entry<'_> {
    /// Becomes the command. Only returns when it cannot.
    pub(super) fn run(&self) -> io::Error {
        if let Err(error) = self.enter() {
            // Not the command's own failure: no code of it may be taken for one.
            return io::Error::other(format!("cannot enter the instance: {error}"));
        }
        let mut command = Command::new(&self.request.command[0]);
        let term = self.request.tty.map(|_| ("TERM".to_owned(), "xterm-256color".to_owned()));
        command.args(&self.request.command[1..]).env_clear();
        command.envs(term).envs(self.environment()).envs(self.secrets.variables());
        command.envs(self.request.env.clone());
        command.exec()
    }

    /// The instance's, before secrets and before what was asked. Another user has a home of their own.
    fn environment(&self) -> Vec<(String, String)> {
        let mut env = spec::environment(self.launch, self.user);
        if self.request.user.is_some() {
            env.push(("HOME".into(), self.user.home.clone()));
        }
        env
    }

    fn enter(&self) -> io::Result<()> {
        // Until it is the command, nobody in the instance may look into it: it still holds things of the
        // node (CVE-2016-9962). The kernel forgets this with the exec.
        set_dumpable(false)?;
        if !self.secrets.is_empty() {
            no_core_files()?;
        }
        setsid()?;
        for (fd, target) in self.stdio.iter().zip(0..) {
            dup2(fd.as_raw_fd(), target)?;
        }
        if self.request.tty.is_some() {
            rustix::process::ioctl_tiocsctty(self.stdio[0])?;
        }
        Cgroup::of(self.launch.instance).join()?;
        setns(self.pidfd, namespaces(self.launch.driver))?;
        fchdir(self.root.as_raw_fd())?;
        chroot(".")?;
        if self.launch.driver == Driver::Container {
            let (soft, hard) = spec::open_files();
            setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
            drop_bounding()?;
            // While the right to do it is there; nothing that follows is forbidden by it.
            seccomp::confine()?;
        }
        self.become_user()?;
        let workdir = self.request.workdir.as_deref().unwrap_or(spec::workdir(self.launch));
        chdir(workdir).map_err(|errno| {
            let error = io::Error::from(errno);
            io::Error::new(error.kind(), format!("working directory {workdir}: {error}"))
        })?;
        Ok(())
    }

    /// Only root keeps capabilities: a change to another user drops what is effective and permitted.
    /// What is inheritable would stay, and be had again with the next file that has capabilities.
    fn become_user(&self) -> io::Result<()> {
        let groups: Vec<Gid> = self.user.groups.iter().copied().map(Gid::from_raw).collect();
        // Where there is root alone there are no other groups, and no right to say so.
        if !groups.is_empty() || !rootless::is_rootless() {
            setgroups(&groups)?;
        }
        setgid(Gid::from_raw(self.user.gid))?;
        setuid(Uid::from_raw(self.user.uid))?;
        match self.launch.driver {
            Driver::Container if self.user.uid == 0 => set_capabilities(&CAPABILITIES),
            Driver::Container => set_capabilities(&[]),
            Driver::Process => Ok(()),
        }
    }
}

fn namespaces(driver: Driver) -> CloneFlags {
    match driver {
        Driver::Process => CloneFlags::CLONE_NEWNS,
        // Its process namespace was joined by the parent: it takes effect for children only.
        Driver::Container => {
            CloneFlags::CLONE_NEWNS
                | CloneFlags::CLONE_NEWUTS
                | CloneFlags::CLONE_NEWIPC
                | CloneFlags::CLONE_NEWNET
                | CloneFlags::CLONE_NEWCGROUP
        }
    }
}

/// What is not in the bounding set can never be had again, by no program (capabilities(7)).
fn drop_bounding() -> io::Result<()> {
    for capability in 0..64 {
        if CAPABILITIES.iter().any(|(_, number)| *number == capability) {
            continue;
        }
        // SAFETY: plain numbers; fails with EINVAL past the last capability that the kernel knows.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) } != 0 {
            let error = io::Error::last_os_error();
            return if error.raw_os_error() == Some(libc::EINVAL) { Ok(()) } else { Err(error) };
        }
    }
    Ok(())
}

fn set_capabilities(wanted: &[(&str, u8)]) -> io::Result<()> {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
    let bits = wanted.iter().fold(0u64, |bits, (_, number)| bits | (1 << number));
    let wanted = CapabilitySet::from_bits_retain(bits);
    let sets = CapabilitySets { effective: wanted, permitted: wanted, inheritable: CapabilitySet::empty() };
    Ok(set_capabilities(None, sets)?)
}
