//! Starts a container by libcontainer: created (all namespaces made, the command not yet run), then
//! connected to the network, then started, so that the command never sees a network half made.

use super::{
    Running, StartError, cgroups, network,
    program::{cannot_run, execute},
    reasons, spec,
};
use crate::{
    Secrets,
    first::First,
    launch::{InstanceDir, Launch},
    rootless::{self, cover_cgroups},
    user::{self, User},
};
use libcontainer::{
    container::builder::ContainerBuilder,
    oci_spec::runtime::Spec,
    syscall::syscall::SyscallType,
    workload::{Executor, ExecutorError, ExecutorValidationError},
};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    sys::{
        prctl::set_pdeathsig,
        signal::{SigHandler, Signal, signal},
    },
    unistd::pipe2,
};
use std::{
    ffi::CString,
    fs::{self, File},
    os::fd::OwnedFd,
    path::Path,
    sync::Arc,
};

/// libcontainer's own directory within the instance's.
pub(super) const STATE: &str = "state";

pub(super) fn start(dir: &InstanceDir, launch: &Launch, secrets: Secrets) -> Result<Running, StartError> {
    let root = dir.root();
    let user = user_of(&root, launch)?;
    let config = spec::container(dir, launch, &user).to_string();
    fs::write(dir.0.join("config.json"), config).map_err(StartError::because("cannot write config.json"))?;
    if rootless::is_rootless() {
        cover_cgroups().map_err(StartError::because("cannot do without control groups"))?;
    } else {
        cgroups::prepare(dir).map_err(StartError::because("cannot show it its control groups"))?;
    }
    let (stdout, inner_stdout) = pipe(&user)?;
    let (stderr, inner_stderr) = pipe(&user)?;
    let state = dir.0.join(STATE);
    fs::create_dir_all(&state).map_err(StartError::because("cannot make the state directory"))?;
    let null = File::open("/dev/null").map_err(StartError::because("cannot open /dev/null"))?;
    reasons::note(dir).map_err(StartError::because("cannot note why it fails"))?;
    let mut container = ContainerBuilder::new(launch.instance.to_string(), SyscallType::default())
        .with_root_path(state)
        .map_err(StartError::because("cannot use the state directory"))?
        .with_executor(Command { secrets: Arc::new(secrets) })
        .with_stdin(null)
        .with_stdout(inner_stdout)
        .with_stderr(inner_stderr)
        .as_init(&dir.0)
        .with_systemd(false)
        .build()
        .map_err(|error| StartError::because("cannot create the container")(why(dir, &error)))?;
    let pid = container.pid().map(|pid| pid.as_raw()).ok_or_else(|| {
        StartError::because("cannot create the container")("its first process is gone already")
    })?;
    if rootless::is_rootless() {
        First::note(dir, pid).map_err(StartError::because("cannot note the first process"))?;
    }
    network::connect(launch, pid)?;
    container.start().map_err(|error| StartError::because("cannot start the container")(why(dir, &error)))?;
    Ok(Running { pid, stdout, stderr })
}

/// The user of the instance, looked up in its own root.
pub(super) fn user_of(root: &Path, launch: &Launch) -> Result<User, StartError> {
    let root = File::open(root).map_err(StartError::because("cannot open the instance's root"))?;
    let mut user =
        user::look_up(root, launch.user.as_deref()).map_err(StartError::because("cannot set the user"))?;
    rootless::fit(&mut user).map_err(StartError::because("cannot set the user"))?;
    Ok(user)
}

/// A pipe whose reading end never blocks, large enough that bursts do not stop the writer. It belongs to
/// `user`, who may open it again by name (`/dev/stdout`).
pub(super) fn pipe(user: &User) -> Result<(OwnedFd, OwnedFd), StartError> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC).map_err(StartError::because("cannot make a pipe"))?;
    user.own(&write).map_err(StartError::because("cannot give a pipe to the user"))?;
    let _ = rustix::io::ioctl_fionbio(&read, true);
    let _ = rustix::pipe::fcntl_setpipe_size(&read, 256 << 10);
    Ok((read, write))
}

/// What libcontainer noted first, or else what it returned.
fn why(dir: &InstanceDir, error: &dyn std::error::Error) -> String {
    reasons::first(dir).unwrap_or_else(|| causes(error))
}

/// libcontainer keeps the interesting part of its errors in their sources.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text
}

/// The last steps in the container's first process.
#[derive(Clone)]
struct Command {
    /// In memory alone: the container's configuration is a file.
    secrets: Arc<Secrets>,
}

impl Executor for Command {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        // Without its shim an instance has no one to hold its pipes and note its end. A program that
        // changes its user loses this; then the agent finds it by its control group.
        let _ = set_pdeathsig(Signal::SIGKILL);
        // SAFETY: no handler is installed.
        let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
        for (name, value) in self.secrets.variables() {
            // SAFETY: the container's first process has a single thread.
            unsafe { std::env::set_var(name, value) };
        }
        let args = spec.process().as_ref().and_then(|process| process.args().as_ref());
        let args: Vec<CString> =
            args.into_iter().flatten().filter_map(|arg| CString::new(arg.as_bytes()).ok()).collect();
        let program = args.first().ok_or(ExecutorError::InvalidArg)?;
        let error = execute(&args);
        eprintln!("freehold: {}", cannot_run(&program.to_string_lossy(), error));
        // As shells do: not found, or found and not to be run.
        std::process::exit(if error == Errno::ENOENT { 127 } else { 126 })
    }

    /// Done before, with better words ([`super::preflight`]).
    fn validate(&self, _: &Spec) -> Result<(), ExecutorValidationError> {
        Ok(())
    }
}
