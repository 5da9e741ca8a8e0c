//! What instances leave on a machine while they run, and must not leave when they are gone.

use crate::world::{Ended, World, eventually};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// Everything on the machine that belongs to instances.
#[derive(Debug, PartialEq)]
pub(crate) struct Traces {
    pub(crate) shims: Vec<String>,
    pub(crate) cgroups: Vec<String>,
    pub(crate) links: Vec<String>,
    pub(crate) mounts: Vec<String>,
    pub(crate) instances: Vec<String>,
}

impl Traces {
    pub(crate) fn is_empty(&self) -> bool {
        let all = [&self.shims, &self.cgroups, &self.links, &self.mounts, &self.instances];
        all.iter().all(|list| list.is_empty())
    }
}

impl World {
    /// Everything on the machine that belongs to instances: shims, cgroups, network devices, mounts.
    pub(crate) fn traces(&self) -> Traces {
        let data = self.data();
        let shown = Ended::of(self.command("ip").args(["-j", "link", "show"])).ok().out;
        let links: Vec<serde_json::Value> = serde_json::from_str(&shown).unwrap();
        let names = links.iter().map(|link| link["ifname"].as_str().unwrap().to_owned());
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let ours = |line: &&str| line.contains(data.to_str().unwrap());
        Traces {
            shims: shims(&data).into_iter().map(|(_, line)| line).collect(),
            cgroups: cgroups(&data),
            links: names.filter(|name| name != "lo").collect(),
            mounts: mounts.lines().filter(ours).map(str::to_owned).collect(),
            instances: names_in(&data.join("instances")),
        }
    }

    /// `kill -9` of everything that instances consist of: the processes that hold them, and their own.
    pub(crate) fn kill_instances(&self) {
        let held = cgroups(&self.data()).into_iter().flat_map(|group| {
            let listed = fs::read_to_string(format!("{group}/cgroup.procs")).unwrap_or_default();
            listed.lines().map(str::to_owned).collect::<Vec<_>>()
        });
        for pid in shims(&self.data()).into_iter().map(|(pid, _)| pid).chain(held) {
            let _ = Command::new("kill").args(["-9", &pid]).stderr(std::process::Stdio::null()).status();
        }
    }
}

/// The process ids and command lines of shims of instances under `data`.
fn shims(data: &Path) -> Vec<(String, String)> {
    let needle = format!("{}/instances/", data.display());
    let lines = names_in(Path::new("/proc")).into_iter().filter_map(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        Some((pid, String::from_utf8_lossy(&line).replace('\0', " ")))
    });
    lines.filter(|(_, line)| line.contains(&needle)).collect()
}

/// The cgroups, in all hierarchies, of every instance that ever ran from `data`: each has left a log.
fn cgroups(data: &Path) -> Vec<String> {
    let ids = names_in(&data.join("logs"));
    let hierarchies = names_in(Path::new("/sys/fs/cgroup")).into_iter().chain([String::new()]);
    let parents = hierarchies.flat_map(|name| {
        let hierarchy = Path::new("/sys/fs/cgroup").join(name);
        let parents = names_in(&hierarchy).into_iter().filter(|name| name.starts_with("freehold"));
        parents.map(|parent| hierarchy.join(parent)).collect::<Vec<PathBuf>>()
    });
    let groups =
        parents.flat_map(|parent| ids.iter().map(move |id| parent.join(id)).collect::<Vec<PathBuf>>());
    groups.filter(|group| group.is_dir()).map(|group| group.display().to_string()).collect()
}

/// The processes of every instance that ever ran from `data`, by number.
pub(crate) fn instance_processes(data: &Path) -> Vec<String> {
    let lists =
        cgroups(data).into_iter().filter_map(|group| fs::read_to_string(group + "/cgroup.procs").ok());
    let all: std::collections::BTreeSet<String> =
        lists.flat_map(|list| list.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    all.into_iter().collect()
}

fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Ends every process whose command line names `dir`, which is one test's own, then those in the cgroups
/// of its instances. Each by its number: a pattern would fit more than is meant.
pub(crate) fn end_everything_under(dir: &Path) {
    let needle = dir.to_str().unwrap();
    let own = std::process::id().to_string();
    let named = |pid: &String| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(needle)
    };
    let numbers =
        names_in(Path::new("/proc")).into_iter().filter(|name| name.bytes().all(|c| c.is_ascii_digit()));
    for pid in numbers.filter(|pid| *pid != own).filter(named) {
        let _ = Command::new("kill").args(["-9", &pid]).status();
    }
    // More than one Freehold may have run there.
    let datas: Vec<PathBuf> = names_in(dir).into_iter().map(|name| dir.join(name)).collect();
    for group in datas.iter().flat_map(|data| cgroups(data)) {
        for pid in fs::read_to_string(format!("{group}/cgroup.procs")).unwrap_or_default().lines() {
            let _ = Command::new("kill").args(["-9", pid]).status();
        }
        eventually(Duration::from_secs(2), || fs::remove_dir(&group).is_ok() || !Path::new(&group).exists());
    }
    datas.iter().for_each(|data| remove_parents(data));
}

/// Removes the groups that all instances of an installation share.
fn remove_parents(data: &Path) {
    let Ok(id) = fs::read_to_string(data.join("installation")) else { return };
    for hierarchy in names_in(Path::new("/sys/fs/cgroup")).into_iter().chain([String::new()]) {
        let parent = Path::new("/sys/fs/cgroup").join(hierarchy).join(format!("freehold-{}", id.trim()));
        let _ = fs::remove_dir(parent.join("shims"));
        let _ = fs::remove_dir(parent);
    }
}
