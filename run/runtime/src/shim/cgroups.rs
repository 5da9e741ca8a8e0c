//! What an instance sees of control groups: its own, and nothing that it can write to. Called by the shim
//! before libcontainer, which makes the groups and then these mounts.
//!
//! libcontainer's own mount of cgroups of version 1 forgets that it was asked for a read-only one, and then
//! root inside lifts its limits or freezes itself out of everybody's reach. So the groups are bound one by
//! one: such a mount is read-only before it is anywhere, and to lift that takes a right that no instance has.

use crate::{
    cgroup::{self, Hierarchy},
    launch::{InstanceDir, Launch},
};
use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};
use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

const ROOT: &str = "/sys/fs/cgroup";
const OPTIONS: [&str; 6] = ["bind", "ro", "nosuid", "nodev", "noexec", "relatime"];

/// The controllers of version 1 in which libcontainer makes a group.
const CONTROLLERS: [&str; 12] = [
    "cpu",
    "cpuacct",
    "cpuset",
    "devices",
    "hugetlb",
    "memory",
    "pids",
    "perf_event",
    "blkio",
    "net_prio",
    "net_cls",
    "freezer",
];

/// Prepares what [`mounts`] shows beside the groups themselves: on version 1 a folder for each of them.
pub(super) fn prepare(dir: &InstanceDir) -> io::Result<()> {
    let all = cgroup::hierarchies();
    let groups = shown(&all);
    if groups.is_empty() {
        return Ok(());
    }
    let folder = folder(dir);
    fs::create_dir_all(&folder)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    // Programs tell the versions from each other by the kind of this file system.
    mount(Some("tmpfs"), &folder, Some("tmpfs"), flags, Some("mode=555,size=64k"))?;
    for name in groups.iter().filter_map(|group| group.mount.file_name()) {
        fs::create_dir(folder.join(name))?;
        // Controllers that are mounted together are found by each of their names.
        for part in name.to_string_lossy().split(',').filter(|part| name != *part) {
            symlink(name, folder.join(part))?;
        }
    }
    Ok(())
}

/// The mounts, in order.
pub(super) fn mounts(dir: &InstanceDir, launch: &Launch) -> Vec<Value> {
    mounts_of(&cgroup::hierarchies(), &folder(dir), &cgroup::path_of(launch))
}

fn folder(dir: &InstanceDir) -> PathBuf {
    dir.0.join("cgroups")
}

fn mounts_of(all: &[Hierarchy], folder: &Path, path: &Path) -> Vec<Value> {
    let bind = |from: &Path, to: &Path| json!({ "type": "bind", "source": from, "destination": to, "options": OPTIONS });
    let group = |hierarchy: &Hierarchy| hierarchy.mount.join(path.strip_prefix("/").unwrap_or(path));
    let v1 = shown(all);
    if v1.is_empty() {
        let unified = all.iter().find(|one| one.v2);
        return unified.map(|one| bind(&group(one), Path::new(ROOT))).into_iter().collect();
    }
    let groups = v1.into_iter().filter_map(|one| {
        let name = one.mount.file_name()?;
        Some(bind(&group(one), &Path::new(ROOT).join(name)))
    });
    std::iter::once(bind(folder, Path::new(ROOT))).chain(groups).collect()
}

/// The hierarchies of version 1 in which the instance has a group.
fn shown(all: &[Hierarchy]) -> Vec<&Hierarchy> {
    let mut shown: Vec<&Hierarchy> = Vec::new();
    for one in all.iter().filter(|one| !one.v2 && CONTROLLERS.iter().any(|name| one.is(name))) {
        if shown.iter().all(|known| known.mount.file_name() != one.mount.file_name()) {
            shown.push(one);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hierarchies(v1: &[&str], v2: &[&str]) -> Vec<Hierarchy> {
        let of = |names: &[&str], v2| {
            names.iter().map(|name| Hierarchy { mount: name.into(), v2 }).collect::<Vec<_>>()
        };
        [of(v1, false), of(v2, true)].concat()
    }

    #[test]
    fn whatever_the_versions_each_mount_is_read_only_and_shows_its_own_group() {
        let (instance, path) = ("ins_01jd", Path::new("/freehold/ins_01jd"));
        let hybrid =
            ["/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/systemd", "/else/memory"];
        /// Mounts of version 1, those of version 2, and what is mounted where.
        type Row<'a> = (&'a [&'a str], &'a [&'a str], &'a [(&'a str, &'a str)]);
        let table: [Row<'_>; 4] = [
            (&[], &["/sys/fs/cgroup"], &[("/sys/fs/cgroup/freehold/INS", "/sys/fs/cgroup")]),
            (
                &hybrid,
                &["/sys/fs/cgroup/unified"],
                &[
                    ("/data/cgroups", "/sys/fs/cgroup"),
                    ("/sys/fs/cgroup/cpu,cpuacct/freehold/INS", "/sys/fs/cgroup/cpu,cpuacct"),
                    ("/sys/fs/cgroup/memory/freehold/INS", "/sys/fs/cgroup/memory"),
                ],
            ),
            (&["/sys/fs/cgroup/systemd"], &[], &[]),
            (&[], &[], &[]),
        ];
        for (v1, v2, expected) in table {
            let mounts = mounts_of(&hierarchies(v1, v2), Path::new("/data/cgroups"), path);
            let expected: Vec<_> =
                expected.iter().map(|(from, to)| (from.replace("INS", instance), (*to).to_owned())).collect();
            let got: Vec<_> = mounts
                .iter()
                .map(|one| {
                    let text = |key: &str| one[key].as_str().unwrap().to_owned();
                    (text("source"), text("destination"))
                })
                .collect();
            assert_eq!(got, expected);
            assert!(mounts.iter().all(|one| one["options"].as_array().unwrap().contains(&json!("ro"))));
        }
    }
}
