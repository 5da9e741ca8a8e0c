//! What is found at a start under names that nothing uses any more: what an earlier version called otherwise,
//! and what belongs to nothing that is known.
//!
//! Earlier versions had one table, `freehold`, and links without an installation's id. A running instance of
//! theirs is adopted: its link is renamed, and it goes on. The table goes in the step that sets the new one,
//! once for each data directory, and only where an earlier version kept instances: another's stays.

use crate::{
    cgroup::Cgroup,
    installation::{self, Installation},
    launch::{InstanceDir, Job, Launch},
    netlink::Netlink,
    rootless, surroundings,
};
use freehold_model::InstanceId;
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long what nobody knows may take to die.
const PATIENCE: Duration = Duration::from_secs(10);

/// Says that the rules are under the new name: beside the directory of instances.
fn file(instances: &Path) -> PathBuf {
    instances.with_file_name("named")
}

/// Whether rules may be left of an earlier version over this data directory.
pub(crate) fn is_inherited(instances: &Path) -> bool {
    !file(instances).exists()
        && fs::read_dir(instances).is_ok_and(|entries| {
            let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
            let mut known =
                names.filter(|name| name == "forwarding.json" || name.parse::<InstanceId>().is_ok());
            known.next().is_some()
        })
}

/// The rules are under the new name.
pub(crate) fn settled(instances: &Path) {
    if !file(instances).exists()
        && let Err(error) = fs::write(file(instances), "")
    {
        tracing::warn!(%error, "the next start looks for rules of an earlier version again");
    }
}

/// The launch of a run that goes on, with its link called as this version calls it.
pub(crate) fn renamed(dir: &InstanceDir, launch: Launch, own: Option<&Installation>) -> Launch {
    if launch.installation.is_some() || own.is_none() {
        return launch;
    }
    let new = Launch { installation: own.cloned(), ..launch.clone() };
    let (from, to) = (launch.link(), new.clone());
    let rename = move || {
        let netlink = Netlink::open()?;
        match netlink.index_of(&from) {
            Ok(index) => {
                netlink.rename(index, &to.link())?;
                surroundings::up_again(&to)
            }
            // One that shares the node's network has none; one that lost it gets it back under the new name.
            Err(error) if error.raw_os_error() == Some(nix::libc::ENODEV) => Ok(()),
            Err(error) => Err(error),
        }
    };
    let noted = rootless::inside(rename).and_then(|()| {
        let job: Job = InstanceDir::read(&dir.job())?;
        InstanceDir::write(&dir.job(), &Job { launch: new.clone(), ..job })
    });
    match noted {
        Ok(()) => new,
        Err(error) => {
            tracing::error!(instance = %launch.instance, %error, "its link keeps its old name, and is made anew");
            new
        }
    }
}

/// Removes links and groups of this installation that belong to none of `known`; must be called in the network
/// namespace of the links.
pub(crate) fn tidy(own: &Installation, known: &[InstanceId]) -> io::Result<()> {
    let (netlink, prefix) = (Netlink::open()?, installation::links(Some(own)));
    let wanted: Vec<String> = known.iter().map(|id| installation::link(Some(own), *id)).collect();
    for name in netlink.links()?.into_keys().filter(|name| name.starts_with(&prefix)) {
        if !wanted.contains(&name) {
            tracing::warn!(name, "a link of no instance is removed");
            netlink.delete_link(&name)?;
        }
    }
    for id in Cgroup::instances(own).into_iter().filter(|id| !known.contains(id)) {
        tracing::warn!(instance = %id, "what is left of an instance that is not known is ended");
        let group = Cgroup::of(id);
        group.kill(PATIENCE)?;
        group.remove(PATIENCE)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_inherited_once_and_only_where_instances_were() {
        let dir = tempfile::tempdir().unwrap();
        let instances = dir.path().join("instances");
        fs::create_dir(&instances).unwrap();
        assert!(!is_inherited(&instances), "a new directory has nothing to inherit");
        fs::create_dir(instances.join("ins_01jd0000000000000000000000")).unwrap();
        assert!(is_inherited(&instances));
        settled(&instances);
        assert!(!is_inherited(&instances));
    }
}
