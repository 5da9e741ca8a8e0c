//! Which control group hierarchies are mounted: one on v2, one per controller on v1, both on hybrids.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    pub(crate) mount: PathBuf,
    pub(crate) v2: bool,
}

impl Hierarchy {
    /// Whether it carries the v1 controller `name`.
    pub(crate) fn is(&self, name: &str) -> bool {
        let file_name = self.mount.file_name().unwrap_or_default().to_string_lossy();
        file_name.split(',').any(|part| part == name)
    }
}

/// Every mounted hierarchy, once.
pub(crate) fn hierarchies() -> Vec<Hierarchy> {
    parse_mounts(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

fn parse_mounts(mountinfo: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let v2 = match after.split(' ').next() {
            Some("cgroup2") => true,
            Some("cgroup") => false,
            _ => continue,
        };
        let Some(mount) = before.split(' ').nth(4) else { continue };
        let hierarchy = Hierarchy { mount: PathBuf::from(mount), v2 };
        if !found.contains(&hierarchy) {
            found.push(hierarchy);
        }
    }
    found
}

/// Whether swap can be limited: on v1 it is an option of the kernel.
pub(crate) fn counts_swap() -> bool {
    let all = hierarchies();
    match all.iter().find(|h| h.is("memory")) {
        Some(v1) => v1.mount.join("memory.memsw.limit_in_bytes").exists(),
        None => Path::new("/proc/swaps").exists(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_found_in_mountinfo() {
        let text = "\
25 30 0:23 / /sys/fs/cgroup rw - tmpfs tmpfs rw
26 25 0:24 / /sys/fs/cgroup/cpu,cpuacct rw shared:1 - cgroup cgroup rw,cpu,cpuacct
27 25 0:25 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
27 25 0:25 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";
        let found = parse_mounts(text);
        assert_eq!(found.len(), 2);
        assert!(found[0].is("cpu") && found[0].is("cpuacct") && !found[0].is("memory") && !found[0].v2);
        assert!(found[1].v2);
    }
}
