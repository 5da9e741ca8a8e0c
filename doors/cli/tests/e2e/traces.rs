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
        let data = self.data().to_str().unwrap().to_owned();
        let instances: Vec<String> = fs::read_dir(self.data().join("instances"))
            .map(|entries| entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect())
            .unwrap_or_default();
        let links: Vec<serde_json::Value> = {
            let shown = Ended::of(self.command("ip").args(["-j", "link", "show"])).ok().out;
            serde_json::from_str(&shown).unwrap()
        };
        let named = |link: &serde_json::Value| link["ifname"].as_str().unwrap().to_owned();
        Traces {
            shims: processes(&data),
            cgroups: cgroups()
                .into_iter()
                .filter(|path| instances.iter().any(|id| path.contains(id)))
                .collect(),
            links: links.iter().map(named).filter(|name| name != "lo").collect(),
            mounts: fs::read_to_string("/proc/self/mountinfo")
                .unwrap()
                .lines()
                .filter(|line| line.contains(&data))
                .map(str::to_owned)
                .collect(),
            instances,
        }
    }
}

/// The command lines of shims of instances under `data`.
fn processes(data: &str) -> Vec<String> {
    let needle = format!("{data}/instances/");
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let lines = pids.filter_map(|pid| fs::read(format!("/proc/{pid}/cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(&needle)).collect()
}

/// Every cgroup of Freehold's, in all hierarchies.
fn cgroups() -> Vec<String> {
    let mut roots: Vec<PathBuf> = vec![Path::new("/sys/fs/cgroup").to_owned()];
    roots.extend(
        fs::read_dir("/sys/fs/cgroup").into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())),
    );
    let groups = roots.into_iter().filter_map(|root| fs::read_dir(root.join("freehold")).ok()).flatten();
    groups.filter_map(|entry| Some(entry.ok()?.path().display().to_string())).collect()
}

/// Ends every process whose command line names `dir`, then those in the cgroups of its instances.
pub(crate) fn end_everything_under(dir: &Path) {
    let needle = dir.to_str().unwrap();
    let instances: Vec<_> = fs::read_dir(dir.join("data/instances"))
        .map(|entries| entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
        .unwrap_or_default();
    let _ = Command::new("pkill").args(["-9", "-f", needle]).status();
    for group in cgroups().iter().filter(|path| instances.iter().any(|id| path.contains(id))) {
        for pid in fs::read_to_string(format!("{group}/cgroup.procs")).unwrap_or_default().lines() {
            let _ = Command::new("kill").args(["-9", pid]).status();
        }
        eventually(Duration::from_secs(2), || fs::remove_dir(group).is_ok() || !Path::new(group).exists());
    }
}
