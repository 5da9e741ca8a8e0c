//! What a run holds that nobody can give back to it while it runs: its control groups, which limit it, and the
//! mounts of its volumes.
//!
//! Compared with what the same run held before, so that what a machine never had is not missed.

use crate::Launch;
use std::{collections::BTreeSet, fmt, fs};

/// Something that a running instance had, and has no more: it must be started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// Its processes are in no control group of its own any more: nothing limits them.
    Group,
    /// A volume is not mounted in it any more, or its folder was removed: what it writes there is not kept.
    Volume,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Lost::Group => "its control group was taken away, so nothing limited it",
            Lost::Volume => {
                "a volume of it was unmounted or removed, so nothing that it wrote there was kept"
            }
        })
    }
}

/// What one run holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Holdings {
    /// The hierarchies in which it has a group.
    groups: BTreeSet<String>,
    /// Where its volumes are mounted.
    volumes: BTreeSet<String>,
}

impl Holdings {
    /// What the run with this first process holds; `None`: it is ending.
    pub(crate) fn of(launch: &Launch, pid: i32) -> Option<Holdings> {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
        let (groups, mounts) = (read("cgroup")?, read("mountinfo").filter(|text| !text.is_empty())?);
        Some(Holdings::read(launch, &groups, &mounts))
    }

    fn read(launch: &Launch, groups: &str, mounts: &str) -> Holdings {
        let id = launch.instance.to_string();
        // proc_pid_cgroup(5): number, controllers, path.
        let in_group = groups.lines().filter_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            path.split('/').any(|part| part == id).then(|| controllers.to_owned())
        });
        // proc_pid_mountinfo(5): the fourth field is what is mounted, the fifth where.
        let mounted = mounts.lines().filter_map(|line| {
            let mut fields = line.split(' ').skip(3);
            let (root, place) = (fields.next()?, fields.next()?);
            let is_volume = launch.volumes.iter().any(|volume| volume.path == place);
            (is_volume && !root.ends_with("//deleted")).then(|| place.to_owned())
        });
        Holdings { groups: in_group.collect(), volumes: mounted.collect() }
    }

    /// What of this is not held `now`.
    pub(crate) fn lost(&self, now: &Holdings) -> Option<Lost> {
        if !self.groups.is_subset(&now.groups) {
            Some(Lost::Group)
        } else if !self.volumes.is_subset(&now.volumes) {
            Some(Lost::Volume)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::VolumeMount;

    #[test]
    fn what_was_held_and_is_not_is_lost() {
        let mut launch = super::super::links::tests::launch();
        launch.volumes = vec![VolumeMount { dir: "/srv/v".into(), path: "/data".into() }];
        let id = launch.instance;
        let groups = |pids: &str| format!("4:pids:{pids}\n3:memory:/freehold-ab2c/{id}\n0::/\n");
        let ours = format!("/freehold-ab2c/{id}");
        let mounts = "30 20 0:5 / / rw - overlay overlay rw\n31 30 8:1 /srv/v /data rw - ext4 /dev/sda1 rw\n";
        let read = |groups: &str, mounts: &str| Holdings::read(&launch, groups, mounts);
        let held = read(&groups(&ours), mounts);
        assert_eq!(held.lost(&held), None);
        assert_eq!(held.lost(&read(&groups("/"), mounts)), Some(Lost::Group));
        assert_eq!(held.lost(&read(&groups(&ours), "")), Some(Lost::Volume));
        let removed = mounts.replace("/srv/v ", "/srv/v//deleted ");
        assert_eq!(held.lost(&read(&groups(&ours), &removed)), Some(Lost::Volume));
        // Where there never was a group none is missed.
        assert_eq!(read("0::/", mounts).lost(&read("0::/", mounts)), None);
    }
}
