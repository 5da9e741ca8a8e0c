//! The control groups of one instance, `/freehold-<installation>/<instance>`, on cgroup v1, v2 and hybrids of both.
//!
//! libcontainer makes those of containers; the process driver makes its own here. Counting, killing and
//! removing is the same for both, and is done by the shim at the end or, when the shim was killed, by
//! whoever cleans up after it. No systemd is asked: `/freehold-…` belongs to this program. An instance has one
//! id in the world: whoever looks for its groups finds them under whatever installation they are.

mod hierarchy;

pub(crate) use hierarchy::{Hierarchy, counts_swap, hierarchies};

use crate::{
    Launch,
    installation::{self, Installation},
};
use freehold_model::{Bytes, InstanceId, Millicores};
use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// The period of a processor quota, in microseconds: the kernel's default.
pub(crate) const CPU_PERIOD: u64 = 100_000;

/// The hierarchies that a process must leave to outlive a service manager that kills by them.
const MANAGED: [&str; 7] = ["systemd", "memory", "cpu", "cpu,cpuacct", "cpuacct,cpu", "pids", "unified"];

/// One group, seen in every hierarchy that is mounted.
pub(crate) struct Cgroup {
    dirs: Vec<PathBuf>,
}

/// The path that an instance's group gets within every hierarchy.
pub(crate) fn path_of(launch: &Launch) -> PathBuf {
    let parent = installation::group(launch.installation.as_ref());
    Path::new("/").join(parent).join(launch.instance.to_string())
}

/// The parents of instances' groups in a hierarchy, of every installation.
fn parents(hierarchy: &Hierarchy) -> Vec<PathBuf> {
    let ours =
        |dir: &PathBuf| dir.file_name().and_then(|name| name.to_str()).is_some_and(installation::is_group);
    subgroups(&hierarchy.mount).into_iter().filter(ours).collect()
}

impl Cgroup {
    /// The group of `instance`, wherever it exists.
    pub(crate) fn of(instance: InstanceId) -> Cgroup {
        let (all, name) = (hierarchies(), instance.to_string());
        let dirs = all.iter().flat_map(parents).map(|parent| parent.join(&name)).filter(|dir| dir.is_dir());
        Cgroup { dirs: dirs.collect() }
    }

    fn named(hierarchies: &[Hierarchy], parent: &str, name: &str) -> Cgroup {
        Cgroup { dirs: hierarchies.iter().map(|h| h.mount.join(parent).join(name)).collect() }
    }

    /// Where it is, in every hierarchy.
    pub(crate) fn dirs(&self) -> &[PathBuf] {
        &self.dirs
    }

    /// The instances that have a group of this installation.
    pub(crate) fn instances(of: &Installation) -> BTreeSet<InstanceId> {
        let parent = installation::group(Some(of));
        let groups = hierarchies().into_iter().flat_map(|h| subgroups(&h.mount.join(&parent)));
        groups.filter_map(|dir| dir.file_name()?.to_str()?.parse().ok()).collect()
    }

    /// Moves this process out of its parent's groups, so that what ends the parent (a service manager,
    /// a memory limit) does not end it.
    pub(crate) fn leave_parent(of: Option<&Installation>) -> io::Result<()> {
        let all = hierarchies();
        let managed: Vec<_> =
            all.into_iter().filter(|h| h.v2 || MANAGED.iter().any(|name| h.mount.ends_with(name))).collect();
        Cgroup::named(&managed, &installation::group(of), "shims").join_new()
    }

    /// Makes the group with limits where the hierarchies offer them, and moves this process into it.
    pub(crate) fn enter_limited(launch: &Launch) -> io::Result<()> {
        let wanted: Vec<_> = hierarchies()
            .into_iter()
            .filter(|h| h.v2 || ["cpu", "memory", "pids"].iter().any(|name| h.is(name)))
            .collect();
        let parent = installation::group(launch.installation.as_ref());
        for h in wanted.iter().filter(|h| h.v2) {
            delegate(&h.mount, &parent);
        }
        let group = Cgroup::named(&wanted, &parent, &launch.instance.to_string());
        group.create()?;
        for (hierarchy, dir) in wanted.iter().zip(&group.dirs) {
            for (file, value) in limits(hierarchy.v2, launch.cpu, launch.memory, launch.pids) {
                let file = dir.join(file);
                if file.exists() {
                    fs::write(&file, value)?;
                }
            }
        }
        group.join()
    }

    fn create(&self) -> io::Result<()> {
        self.dirs.iter().try_for_each(fs::create_dir_all)
    }

    /// Another process may remove the empty parent between the two steps: then again.
    fn join_new(&self) -> io::Result<()> {
        let mut attempts = 0;
        loop {
            match self.create().and_then(|()| self.join()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempts < 20 => attempts += 1,
                result => return result,
            }
        }
    }

    /// Moves this process into the group, in every hierarchy that has it.
    pub(crate) fn join(&self) -> io::Result<()> {
        self.existing().try_for_each(|dir| fs::write(dir.join("cgroup.procs"), "0"))
    }

    fn existing(&self) -> impl Iterator<Item = &PathBuf> {
        self.dirs.iter().filter(|dir| dir.is_dir())
    }

    /// Whether `pid` is in the group.
    pub(crate) fn contains(instance: InstanceId, pid: i32) -> bool {
        let name = instance.to_string();
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        groups
            .lines()
            .filter_map(|line| line.splitn(3, ':').nth(2)?.strip_prefix('/')?.split_once('/'))
            .any(|(parent, rest)| installation::is_group(parent) && rest.split('/').next() == Some(&name))
    }

    /// Its processes.
    pub(crate) fn pids(&self) -> Vec<i32> {
        let mut pids = Vec::new();
        for dir in self.existing() {
            let mut stack = vec![dir.clone()];
            while let Some(dir) = stack.pop() {
                let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
                pids.extend(procs.lines().filter_map(|line| line.parse::<i32>().ok()));
                stack.extend(subgroups(&dir));
            }
        }
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Kills everything in the group until it is empty.
    pub(crate) fn kill(&self, patience: Duration) -> io::Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            self.thaw();
            let pids: Vec<i32> = self.pids().into_iter().filter(|pid| *pid > 0).collect();
            if pids.is_empty() {
                return Ok(());
            }
            for pid in &pids {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), nix::sys::signal::SIGKILL);
            }
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("processes {pids:?} do not die")));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Lets everything in the group go on. What is frozen does not even die (version 1).
    pub(crate) fn thaw(&self) {
        for top in self.existing() {
            let mut stack = vec![top.clone()];
            while let Some(dir) = stack.pop() {
                for (file, thawed) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
                    // Groups of other controllers have no such file, and none is made.
                    if let Ok(mut file) = OpenOptions::new().write(true).open(dir.join(file)) {
                        let _ = file.write_all(thawed.as_bytes());
                    }
                }
                stack.extend(subgroups(&dir));
            }
        }
    }

    /// Removes the empty group, its subgroups, and the parent when it is empty too.
    pub(crate) fn remove(&self, patience: Duration) -> io::Result<()> {
        let deadline = Instant::now() + patience;
        for dir in self.existing() {
            while let Err(error) = remove_tree(dir) {
                if error.kind() == io::ErrorKind::NotFound {
                    break;
                }
                if Instant::now() > deadline {
                    return Err(io::Error::new(error.kind(), format!("{}: {error}", dir.display())));
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        Ok(())
    }

    /// Removes the groups that all instances share, where they are empty. A shim that just ended may
    /// still count for a moment.
    pub(crate) fn remove_shared(of: Option<&Installation>) {
        for h in hierarchies() {
            let parent = h.mount.join(installation::group(of));
            let shims = parent.join("shims");
            for _ in 0..20 {
                let alive =
                    fs::read_to_string(shims.join("cgroup.procs")).is_ok_and(|procs| !procs.is_empty());
                if alive || fs::remove_dir(&shims).is_ok() || !shims.exists() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            let _ = fs::remove_dir(parent);
        }
    }

    /// How often the kernel killed something in the group for want of memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        self.oom_counter().map_or(0, |file| oom_kills(&file))
    }

    /// The file that counts that; `None` where there is no group, or it does not count memory.
    pub(crate) fn oom_counter(&self) -> Option<PathBuf> {
        let files = |dir: &PathBuf| [dir.join("memory.oom_control"), dir.join("memory.events")];
        self.existing().flat_map(files).find(|file| file.exists())
    }
}

/// What the counter in `file` says.
pub(crate) fn oom_kills(file: &Path) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
}

/// Lets the children of a v2 root and of the installation's parent have limits. What cannot be had is done without.
fn delegate(mount: &Path, parent: &str) {
    let parent = mount.join(parent);
    let _ = fs::create_dir_all(&parent);
    for dir in [mount, &parent] {
        for controller in ["+cpu", "+memory", "+pids"] {
            let _ = fs::write(dir.join("cgroup.subtree_control"), controller);
        }
    }
}

fn limits(v2: bool, cpu: Millicores, memory: Bytes, pids: u32) -> Vec<(&'static str, String)> {
    let mut limits = vec![("pids.max", pids.to_string())];
    if cpu.0 > 0 && v2 {
        limits.push(("cpu.max", format!("{} {CPU_PERIOD}", cpu_quota(cpu))));
    } else if cpu.0 > 0 {
        limits.push(("cpu.cfs_period_us", CPU_PERIOD.to_string()));
        limits.push(("cpu.cfs_quota_us", cpu_quota(cpu).to_string()));
    }
    if memory.0 > 0 && v2 {
        limits.push(("memory.max", memory.0.to_string()));
        limits.push(("memory.swap.max", "0".into()));
    } else if memory.0 > 0 {
        limits.push(("memory.limit_in_bytes", memory.0.to_string()));
        limits.push(("memory.memsw.limit_in_bytes", memory.0.to_string()));
    }
    limits
}

/// Microseconds of processor time per period; the kernel takes no less than a millisecond.
pub(crate) fn cpu_quota(cpu: Millicores) -> i64 {
    (i64::from(cpu.0) * (CPU_PERIOD as i64) / 1000).max(1000)
}

fn subgroups(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}

/// Directories of a cgroup file system hold files that cannot be removed, and need not be.
fn remove_tree(dir: &Path) -> io::Result<()> {
    for child in subgroups(dir) {
        remove_tree(&child)?;
    }
    fs::remove_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_millicores_of_the_period() {
        assert_eq!(cpu_quota(Millicores(250)), 25_000);
        assert_eq!(cpu_quota(Millicores(2000)), 200_000);
        assert_eq!(cpu_quota(Millicores(1)), 1000);
    }

    #[test]
    fn limits_use_the_names_of_each_version() {
        let names = |v2| {
            limits(v2, Millicores(500), Bytes(1 << 20), 100).into_iter().map(|(n, _)| n).collect::<Vec<_>>()
        };
        assert!(names(true).contains(&"memory.max") && names(true).contains(&"cpu.max"));
        assert!(
            names(false).contains(&"memory.limit_in_bytes") && names(false).contains(&"cpu.cfs_quota_us")
        );
        assert_eq!(limits(true, Millicores(0), Bytes(0), 100).len(), 1, "zero is no limit");
    }
}
