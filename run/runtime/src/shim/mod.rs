//! The shim: owns one instance from before its first process to after its last. Started as
//! `<program> shim <instance directory>` with descriptor 0 a listening socket (`shim.sock`), 1 the
//! held lock of the instance, 2 `shim.log`: so there is no moment at which it lives and cannot be found.
//!
//! It is one process in a session, a mount namespace and a control group of its own. Whoever started it
//! may die. It forks (libcontainer does), so it must be entered before `main` has started any thread (see
//! [`dispatch`]), and has a second one, which writes the log, only once the instance runs.

mod cgroups;
mod container;
mod control;
mod logs;
mod network;
mod preflight;
mod process;
mod program;
mod reasons;
mod rootfs;
mod secret_files;
pub(crate) mod spec;
mod supervise;

pub(crate) use network::reconnect;

use crate::{
    Secrets,
    cgroup::Cgroup,
    first,
    launch::{InstanceDir, Job, Launch},
    rootless,
    wire::{End, Report},
};
use control::Control;
use freehold_model::manifest::Driver;
use jiff::Timestamp;
use logs::LogWriter;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

/// The hidden subcommand.
pub const COMMAND: &str = "shim";
/// After the directory: run the exec helper instead.
pub(crate) const EXEC: &str = "exec";
/// Before the directory: the number of the descriptor with the instance's secrets follows. The directory
/// stays the last argument, which is how a shim is known.
pub(crate) const SECRETS: &str = "secrets";

const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the shim, or its exec helper, when the arguments of the program (the first is its name) ask for
/// it. Must be called before any thread exists. `None`: the program goes on as usual.
pub fn dispatch(args: &[String]) -> Option<ExitCode> {
    let (dir, role) = match args {
        [_, command, dir] if command == COMMAND => (dir, Role::Shim(None)),
        [_, command, dir, exec] if command == COMMAND && exec == EXEC => (dir, Role::Exec),
        [_, command, secrets, fd, dir] if command == COMMAND && secrets == SECRETS => {
            (dir, Role::Shim(Some(fd.parse().ok().filter(|fd| *fd > 2)?)))
        }
        _ => return None,
    };
    let inherited = if let Role::Shim(fd) = role { fd } else { None };
    shed_inheritance(inherited);
    // Otherwise the kernel calls it by the number of the descriptor through which it was executed.
    let _ = nix::sys::prctl::set_name(c"freehold");
    let dir = PathBuf::from(dir);
    Some(match role {
        Role::Exec => crate::exec::helper_main(dir),
        // SAFETY: it came with the process for this alone.
        Role::Shim(fd) => main(dir, fd.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })),
    })
}

/// The C library keeps two signals from its callers, hence the bare calls. SIGPIPE stays ignored: a shim or
/// helper outlives who listens; what they execute hears it again.
fn hear_all_signals() {
    let (default, mask, size) = ([0_u64; 4], 0_u64, size_of::<u64>());
    // SAFETY: the kernel's own `sigaction` is four words of which none means SIG_DFL, flags or a mask here;
    // its set of signals is one word. Those that cannot be set (SIGKILL, SIGSTOP) say so, which is no harm.
    unsafe {
        for signal in (1..=64).filter(|signal| *signal != nix::libc::SIGPIPE) {
            let none = std::ptr::null_mut::<u64>();
            nix::libc::syscall(nix::libc::SYS_rt_sigaction, signal, default.as_ptr(), none, size);
        }
        let none = std::ptr::null_mut::<u64>();
        nix::libc::syscall(
            nix::libc::SYS_rt_sigprocmask,
            nix::libc::SIG_SETMASK,
            &raw const mask,
            none,
            size,
        );
    }
}

/// What this process is to be.
#[derive(Clone, Copy)]
enum Role {
    /// The owner of an instance, with its secrets if there are any.
    Shim(Option<RawFd>),
    /// The helper of one exec.
    Exec,
}

/// Whatever was open where this program was started must not reach an instance, nor signals that were
/// ignored there (`nohup`), and a strict umask there must not make the instance's own root unreadable to
/// its users.
fn shed_inheritance(but: Option<RawFd>) {
    hear_all_signals();
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let kept = but.map_or(2, RawFd::cast_unsigned);
    // SAFETY: called before anything of this process has opened a descriptor above standard error.
    unsafe {
        if kept > 3 {
            nix::libc::close_range(3, kept - 1, 0);
        }
        nix::libc::close_range(kept + 1, nix::libc::c_uint::MAX, 0);
        if kept > 2 {
            // What the shim starts must not have it.
            nix::libc::fcntl(kept.cast_signed(), nix::libc::F_SETFD, nix::libc::FD_CLOEXEC);
        }
    }
}

/// Whatever keeps an instance from starting, in words for its owner.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub(crate) struct StartError {
    what: String,
    why: String,
}

impl StartError {
    /// For `map_err`: what could not be done.
    fn because<E: std::fmt::Display>(what: impl Into<String>) -> impl FnOnce(E) -> StartError {
        let what = what.into();
        move |why| {
            let mut why = why.to_string();
            if ["os error 28", "ENOSPC", "os error 122", "EDQUOT"].iter().any(|code| why.contains(code)) {
                why.push_str(
                    "; the disk of this node is full: make room, `freehold image gc` removes unused images",
                );
            }
            StartError { what, why }
        }
    }
}

/// The first process of an instance and the read ends of its output.
struct Running {
    pid: i32,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

fn main(dir: PathBuf, secrets: Option<OwnedFd>) -> ExitCode {
    match run(&InstanceDir(dir), secrets) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(dir: &InstanceDir, memory: Option<OwnedFd>) -> io::Result<()> {
    let (listener, _lock) = detach()?;
    std::env::set_current_dir(&dir.0)?;
    let job: Job = InstanceDir::read(&dir.job())?;
    // Without cgroups there are no containers either; the error comes from where it matters.
    let _ = Cgroup::leave_parent(job.launch.installation.as_ref());
    rootless::assume(job.rootless);
    let secrets = match &memory {
        Some(memory) => {
            no_core_files()?;
            Secrets::from_memory(memory)?
        }
        None => Secrets::none(),
    };
    let mut control = Control::new(listener, memory)?;
    let end = match start(dir, &job.launch, secrets) {
        Ok(running) => {
            control.report(Report::Started { pid: running.pid, at: Timestamp::now() });
            // It has a thread, so not before all that forks has forked.
            let log = LogWriter::open(&job.launch.log_dir, job.logs)?;
            let status = supervise::until_end(&running, &job.launch, &mut control, log)?;
            End::Exited(supervise::exit(status, &job.launch))
        }
        Err(error) => End::Failed { message: error.to_string() },
    };
    tear_down(dir, &job.launch);
    InstanceDir::write(&dir.end(), &end)?;
    control.report(Report::Ended(end));
    Ok(())
}

/// Takes over the descriptors that came with the process, and leaves the session and the control
/// groups of whoever started it.
fn detach() -> io::Result<(OwnedFd, OwnedFd)> {
    let take = |fd| nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(10));
    // SAFETY: both numbers were just made by this process and nothing else owns them.
    let (listener, lock) = unsafe { (OwnedFd::from_raw_fd(take(0)?), OwnedFd::from_raw_fd(take(1)?)) };
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    for fd in [0, 1] {
        nix::unistd::dup2(null.as_raw_fd(), fd)?;
    }
    let _ = nix::unistd::setsid();
    outlive_signals()?;
    Ok((listener, lock))
}

/// A handler, not `SIG_IGN`: handlers end with `execve`, so the instance's own processes start with
/// the default. Only SIGKILL ends a shim before its instance.
fn outlive_signals() -> io::Result<()> {
    extern "C" fn nothing(_: i32) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGPIPE] {
        // SAFETY: the handler does nothing, so it is async-signal-safe.
        unsafe { sigaction(signal, &action)? };
    }
    Ok(())
}

fn start(dir: &InstanceDir, launch: &Launch, secrets: Secrets) -> Result<Running, StartError> {
    rootfs::mount(dir, launch)?;
    let user = container::user_of(&dir.root(), launch)?;
    secret_files::put(dir, &user, &secrets)?;
    let root = File::open(dir.root()).map_err(StartError::because("cannot open the instance's root"))?;
    preflight::program(&root, launch, &user)?;
    match launch.driver {
        Driver::Container => container::start(dir, launch, secrets),
        Driver::Process => process::start(dir, launch, secrets),
    }
}

/// A core file of an instance, or of its shim, would hold its secrets on the disk.
pub(crate) fn no_core_files() -> io::Result<()> {
    Ok(nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0)?)
}

/// Leaves nothing of the run but its log and its record. The mounts go with this process.
fn tear_down(dir: &InstanceDir, launch: &Launch) {
    let group = Cgroup::of(launch.instance);
    let steps = [
        first::kill(dir, launch.instance, PATIENCE).and_then(|()| group.remove(PATIENCE)),
        network::disconnect(launch),
        freehold_tree::remove(&dir.0.join(container::STATE)),
    ];
    for error in steps.into_iter().filter_map(Result::err) {
        if error.kind() != io::ErrorKind::NotFound {
            eprintln!("cannot clean up: {error}");
        }
    }
}
