//! Starts a process without isolation: the image's files as its root, its own control group where
//! there is one, and otherwise the node's network, processes and users. For those who asked for it.

use super::{
    Running, StartError,
    container::{pipe, user_of},
    spec,
};
use crate::{
    Secrets,
    cgroup::Cgroup,
    launch::{InstanceDir, Launch},
    rootless,
    user::User,
};
use nix::{
    mount::{MsFlags, mount},
    sys::{prctl::set_pdeathsig, signal::Signal},
    unistd::{Gid, Uid, chdir, chroot, setgid, setgroups, setsid, setuid},
};
use std::{
    fs, io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

pub(super) fn start(dir: &InstanceDir, launch: &Launch, secrets: Secrets) -> Result<Running, StartError> {
    if rootless::is_rootless() {
        return Err(StartError::because("cannot run a process without isolation")(
            "only root may; write `driver = \"container\"` in the manifest, or run Freehold as root",
        ));
    }
    let root = dir.root();
    let user = user_of(&root, launch)?;
    for name in ["proc", "dev", "sys"] {
        bind(&root, name).map_err(StartError::because(format!("cannot show /{name} to the process")))?;
    }
    let (stdout, inner_stdout) = pipe(&user)?;
    let (stderr, inner_stderr) = pipe(&user)?;
    let env = spec::environment(launch, &user);
    let mut command = Command::new("/proc/self/exe");
    command.stdin(Stdio::null()).stdout(inner_stdout).stderr(inner_stderr);
    let entry = Entry { root, user, launch: launch.clone(), env, secrets };
    // SAFETY: the shim has a single thread, so its child may allocate before it runs the command.
    unsafe { command.pre_exec(move || Err(entry.enter())) };
    let child = command.spawn().map_err(StartError::because(format!("cannot run `{}`", launch.args[0])))?;
    Ok(Running { pid: child.id() as i32, stdout, stderr })
}

/// The node's own directory at the same place; missing in the image is fine.
fn bind(root: &Path, name: &str) -> io::Result<()> {
    let to = root.join(name);
    if fs::symlink_metadata(&to).is_ok_and(|meta| !meta.is_dir()) {
        return Err(io::Error::other("the image has a file in its place"));
    }
    fs::create_dir_all(&to)?;
    let from = PathBuf::from("/").join(name);
    Ok(mount(Some(&from), &to, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)?)
}

/// What the child does between fork and exec.
struct Entry {
    root: PathBuf,
    user: User,
    launch: Launch,
    env: Vec<(String, String)>,
    secrets: Secrets,
}

impl Entry {
    /// Only returns when it failed.
    fn enter(&self) -> io::Error {
        if let Err(error) = self.become_instance() {
            return error;
        }
        let mut command = Command::new(&self.launch.args[0]);
        command.args(&self.launch.args[1..]).env_clear().envs(self.env.iter().cloned());
        command.envs(self.secrets.variables());
        command.exec()
    }

    fn become_instance(&self) -> io::Result<()> {
        setsid()?;
        // Limits are a bonus for this driver: a node without cgroups runs it all the same.
        let _ = Cgroup::enter_limited(&self.launch);
        chroot(&self.root)?;
        let workdir = spec::workdir(&self.launch);
        fs::create_dir_all(workdir)?;
        chdir(workdir)?;
        let groups: Vec<Gid> = self.user.groups.iter().copied().map(Gid::from_raw).collect();
        setgroups(&groups)?;
        setgid(Gid::from_raw(self.user.gid))?;
        setuid(Uid::from_raw(self.user.uid))?;
        // After the change of user, which would undo it.
        set_pdeathsig(Signal::SIGKILL)?;
        Ok(())
    }
}
