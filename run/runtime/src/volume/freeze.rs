//! Freezes an instance while its volume is copied, so that the copy is of one moment: what the data would
//! be after a power cut, and no worse.

use crate::{cgroup, rootless};
use freehold_model::InstanceId;
use std::{
    fs, io,
    path::PathBuf,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(10);

/// A frozen instance; it goes on when this is dropped.
pub struct Frozen {
    file: PathBuf,
    thaw: &'static str,
}

impl Frozen {
    /// Freezes every process of `instance`.
    ///
    /// # Errors
    /// When the node has no freezer, or the instance does not stand still in time.
    pub fn freeze(instance: InstanceId) -> io::Result<Frozen> {
        if rootless::is_rootless() {
            return Err(io::Error::other(
                "without root an instance cannot be frozen while its volume is copied: deploy it with `count = 0`, and try again",
            ));
        }
        for dir in cgroup::Cgroup::of(instance).dirs() {
            if dir.join("freezer.state").exists() {
                let frozen = Frozen { file: dir.join("freezer.state"), thaw: "THAWED" };
                return frozen.wait("FROZEN", || {
                    let state = fs::read_to_string(dir.join("freezer.state"))?;
                    Ok(state.trim() == "FROZEN")
                });
            }
            if dir.join("cgroup.freeze").exists() && has_processes(dir) {
                let frozen = Frozen { file: dir.join("cgroup.freeze"), thaw: "0" };
                return frozen.wait("1", || {
                    let events = fs::read_to_string(dir.join("cgroup.events"))?;
                    Ok(events.lines().any(|line| line == "frozen 1"))
                });
            }
        }
        Err(io::Error::other("this node's control groups cannot freeze an instance"))
    }

    /// Thaws an instance that was frozen by somebody who is gone.
    pub fn thaw(instance: InstanceId) {
        for dir in cgroup::Cgroup::of(instance).dirs() {
            let _ = fs::write(dir.join("freezer.state"), "THAWED");
            let _ = fs::write(dir.join("cgroup.freeze"), "0");
        }
    }

    fn wait(self, order: &str, done: impl Fn() -> io::Result<bool>) -> io::Result<Frozen> {
        fs::write(&self.file, order)?;
        let deadline = Instant::now() + PATIENCE;
        while !done()? {
            if Instant::now() > deadline {
                return Err(io::Error::other("its processes do not stand still"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(self)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Err(error) = fs::write(&self.file, self.thaw) {
            tracing::error!(path = %self.file.display(), %error, "an instance stays frozen");
        }
    }
}

fn has_processes(dir: &std::path::Path) -> bool {
    fs::read_to_string(dir.join("cgroup.procs")).is_ok_and(|procs| !procs.trim().is_empty())
}
