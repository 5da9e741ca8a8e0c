//! The attempts themselves, each undone by the end of its thread or by its own hand.

use crate::{cgroup::Hierarchy, netlink::Netlink, network};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use std::{fs, io, path::Path, thread};

/// Runs `act` on a thread of its own in new namespaces, which end with it.
pub(super) fn apart<T: Send>(flags: CloneFlags, act: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let attempt = scope.spawn(|| {
            unshare(flags)?;
            act()
        });
        attempt.join().unwrap_or_else(|_| Err(io::Error::other("the attempt panicked")))
    })
}

/// Mounts an overlay within the directory, or the nearest one above it that exists; answers with the
/// kind of its file system.
pub(super) fn overlay(data: &Path) -> io::Result<String> {
    let place = data.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
    let probe = place.join(format!(".freehold-doctor-{}", std::process::id()));
    fs::create_dir(&probe)?;
    let result = apart(CloneFlags::CLONE_NEWNS, || try_overlay(&probe));
    freehold_tree::remove(&probe)?;
    result.map(|()| kind_of(place))
}

fn try_overlay(probe: &Path) -> io::Result<()> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)?;
    for name in ["lower", "upper", "work", "merged"] {
        fs::create_dir(probe.join(name))?;
    }
    fs::write(probe.join("lower/file"), "x")?;
    // A new mount namespace comes with a working directory of the thread's own.
    nix::unistd::chdir(probe)?;
    let attributes = if crate::rootless::is_rootless() { ",userxattr" } else { "" };
    let options = format!("lowerdir=lower,upperdir=upper,workdir=work{attributes}");
    mount(Some("overlay"), "merged", Some("overlay"), MsFlags::empty(), Some(options.as_str()))?;
    fs::write("merged/file", "y")?;
    Ok(nix::mount::umount("merged")?)
}

/// The file system of a path by its longest mount point.
fn kind_of(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_default();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let fitting = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (at, kind) = (fields.next()?, fields.next()?);
        path.starts_with(at).then_some((at.len(), kind))
    });
    fitting.max_by_key(|(length, _)| *length).map(|(_, kind)| kind.to_owned()).unwrap_or_default()
}

/// Makes and removes a group wherever a limit is needed; answers with the version.
pub(super) fn cgroups(all: &[Hierarchy]) -> io::Result<String> {
    let mut versions = Vec::new();
    for controller in ["cpu", "memory", "pids"] {
        let (hierarchy, version) = find(all, controller)
            .ok_or_else(|| io::Error::other(format!("no hierarchy has the controller `{controller}`")))?;
        let probe = hierarchy.mount.join(format!("freehold-doctor-{}", std::process::id()));
        fs::create_dir(&probe)?;
        fs::remove_dir(&probe)?;
        versions.push(format!("{controller} on {version}"));
    }
    Ok(versions.join(", "))
}

fn find<'a>(all: &'a [Hierarchy], controller: &str) -> Option<(&'a Hierarchy, &'static str)> {
    let v2_has = |h: &&Hierarchy| {
        let controllers = fs::read_to_string(h.mount.join("cgroup.controllers")).unwrap_or_default();
        h.v2 && controllers.split_whitespace().any(|name| name == controller)
    };
    let v1 = all.iter().find(|h| !h.v2 && h.is(controller)).map(|h| (h, "v1"));
    v1.or_else(|| all.iter().find(v2_has).map(|h| (h, "v2")))
}

/// Makes a pair of links; they go with the namespace.
pub(super) fn veth() -> io::Result<()> {
    apart(CloneFlags::CLONE_NEWNET, || {
        let netlink = Netlink::open()?;
        netlink.add_veth("fh-doctor", "eth0", nix::unistd::gettid().as_raw().unsigned_abs())?;
        netlink.index_of("eth0").map(drop)
    })
}

/// Sets the rules of a node with one instance; they go with the namespace.
pub(super) fn packet_filter() -> io::Result<()> {
    apart(CloneFlags::CLONE_NEWNET, network::rehearse)
}

/// Whether the node forwards, or can be made to.
pub(super) fn forwarding() -> io::Result<String> {
    const SETTING: &str = "/proc/sys/net/ipv4/ip_forward";
    if fs::read_to_string(SETTING)?.trim() == "1" {
        return Ok("on".into());
    }
    fs::OpenOptions::new()
        .write(true)
        .open(SETTING)
        .map(|_| "off; switched on while some egress opens anything".into())
}
