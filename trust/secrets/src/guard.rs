//! Keeps what a process holds in memory off the disk when it crashes.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// From now on a crash of this process leaves no core file. Called by every process that holds secrets
/// in clear, before it has any. Programs that it starts begin with the limit, and may raise it again.
pub fn forbid_core_dumps() {
    let limit = getrlimit(Resource::Core);
    let none = Rlimit { current: Some(0), ..limit };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "cannot forbid core files");
    }
    // The limit says nothing to a program that collects dumps through a pipe. For others than root it
    // would take away this process's own files in /proc, which rootless containers need.
    if rustix::process::geteuid().is_root()
        && let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable)
    {
        tracing::warn!(%error, "cannot forbid core dumps");
    }
}
