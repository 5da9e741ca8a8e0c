//! The root file system of an instance: its image's layers under a directory of its own (overlayfs),
//! mounted in a mount namespace that only the shim and its children are in. The node's own mount table
//! never shows it, and it is gone with the last process.

use super::{StartError, container, preflight, spec};
use crate::{
    launch::{InstanceDir, Launch},
    quota, rootless,
    user::User,
    volume,
};
use freehold_model::manifest::Driver;
use nix::{
    errno::Errno,
    mount::{MsFlags, mount as mount_syscall},
    sched::{CloneFlags, unshare},
};
use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, ResolveFlags, Uid, fchown, mkdirat, openat, openat2, symlinkat, unlinkat,
};
use std::{
    fs::{self, File},
    io::{self, Write},
    os::{fd::OwnedFd, unix::fs::symlink},
    path::{Component, Path, PathBuf},
};

/// Mounts the root at `<dir>/merged` and writes the files that tell the instance its own names.
pub(super) fn mount(dir: &InstanceDir, launch: &Launch) -> Result<(), StartError> {
    private_mounts().map_err(StartError::because("cannot make a mount namespace"))?;
    layer(dir, launch).map_err(StartError::because("cannot make its writable layer"))?;
    overlay(dir, &launch.layers).map_err(StartError::because("cannot mount the image"))?;
    let root = File::open(dir.root()).map_err(StartError::because("cannot open the instance's root"))?;
    preflight::folders(&root)?;
    let user = container::user_of(&dir.root(), launch)?;
    make_workdir(&root, spec::workdir(launch), &user)
        .map_err(|error| preflight::workdir(spec::workdir(launch), &error))
        .map_err(StartError::because("cannot make the working directory"))?;
    volumes(&root, launch, &user)?;
    write_names(&root, launch).map_err(StartError::because("cannot write /etc/hosts into the instance"))
}

/// Slave rather than private: what the node unmounts does not stay busy here.
fn private_mounts() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none = None::<&str>;
    Ok(mount_syscall(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)?)
}

/// What the instance writes is in one folder, which the file system keeps to its size if it can.
fn layer(dir: &InstanceDir, launch: &Launch) -> io::Result<()> {
    quota::make_dir(&dir.layer())?;
    if launch.disk.0 > 0 && quota::limit(&dir.layer(), launch.disk).is_ok() {
        File::create(dir.enforced())?;
    }
    Ok(())
}

/// mount(2) takes at most a page of options, less than forty paths of layers. So every layer gets a
/// short name, relative to the working directory, which is the instance's. Those names have no `:`
/// or `,` either, which the options would need escaped.
fn overlay(dir: &InstanceDir, layers: &[PathBuf]) -> io::Result<()> {
    for name in ["l", "layer/upper", "layer/work", "merged"] {
        fs::create_dir_all(dir.0.join(name))?;
    }
    for (n, layer) in layers.iter().enumerate() {
        let layer = layer
            .canonicalize()
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", layer.display())))?;
        symlink(layer, dir.0.join("l").join(n.to_string()))?;
    }
    let lower: Vec<String> = (0..layers.len()).rev().map(|n| format!("l/{n}")).collect();
    // What is deleted is noted in attributes, of which an ordinary user has only those of files (Linux 5.11).
    let attributes = if rootless::is_rootless() { ",userxattr" } else { "" };
    let options = format!("lowerdir={},upperdir=layer/upper,workdir=layer/work{attributes}", lower.join(":"));
    // Devices are in the instance's own /dev: one that an image brings along is only a file.
    let flags = MsFlags::MS_NODEV;
    // An instance's files die with it: `volatile` spares the sync at unmounting (Linux 5.10).
    let mount =
        |options: &str| mount_syscall(Some("overlay"), "merged", Some("overlay"), flags, Some(options));
    Ok(mount(&format!("{options},volatile")).or_else(|_| mount(&options))?)
}

/// One that the image does not have is the user's.
fn make_workdir(root: &File, path: &str, user: &User) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let exists = openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT).is_ok();
    let dir = make_dir(root, path)?;
    if exists {
        return Ok(());
    }
    Ok(fchown(&dir, Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(user.gid)))?)
}

/// Before anything else is written into the root: what the image has at a volume's place is its first content.
fn volumes(root: &File, launch: &Launch, user: &User) -> Result<(), StartError> {
    // The outer before the inner, so that neither hides the other.
    let mut volumes: Vec<_> = launch.volumes.iter().collect();
    volumes.sort_by_key(|volume| volume.path.split('/').filter(|part| !part.is_empty()).count());
    for volume in volumes {
        let what = || format!("cannot put the volume at {}", volume.path);
        let place = make_dir(root, &volume.path).map_err(StartError::because(what()))?;
        volume::mount(volume, &place, user).map_err(StartError::because(what()))?;
        restrict(root, &volume.path).map_err(StartError::because(what()))?;
    }
    Ok(())
}

/// No devices and no set-user programs come from a volume. The path is looked up again, to reach the mount
/// itself; only the image could have put something on the way, and it does not run yet.
fn restrict(root: &File, path: &str) -> io::Result<()> {
    let mounted = make_dir(root, path)?;
    let place = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&mounted));
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let none = None::<&str>;
    let set = |flags| mount_syscall(none, place.as_str(), none, flags, none);
    match set(flags) {
        // An ordinary user may not lift what the mount below forbids.
        Err(Errno::EPERM) if rootless::is_rootless() => Ok(set(flags | MsFlags::MS_NOEXEC)?),
        result => Ok(result?),
    }
}

fn write_names(root: &File, launch: &Launch) -> io::Result<()> {
    let etc = make_dir(root, "etc")?;
    for (name, content) in names(launch) {
        replace(&etc, name, &content)?;
    }
    match symlinkat("/proc/mounts", &etc, "mtab") {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Makes a directory and those above it, without ever leaving `root`: links of the image are followed
/// as the instance itself would.
pub(super) fn make_dir(root: &File, path: &str) -> io::Result<OwnedFd> {
    let open = |path: &Path| {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)
    };
    let mut dir = open(Path::new("."))?;
    let mut whole = PathBuf::new();
    for component in Path::new(path).components() {
        if let Component::Normal(name) = component {
            match mkdirat(&dir, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        whole.push(component);
        dir = open(&whole)?;
    }
    Ok(dir)
}

/// A process without isolation is on the node's network, so it gets the node's names.
fn names(launch: &Launch) -> Vec<(&'static str, String)> {
    let node = |path| fs::read_to_string(path).unwrap_or_default();
    match launch.driver {
        Driver::Process => vec![("hosts", node("/etc/hosts")), ("resolv.conf", node("/etc/resolv.conf"))],
        Driver::Container => vec![
            (
                "hosts",
                format!(
                    "127.0.0.1 localhost\n::1 localhost ip6-localhost\n{} {}\n{} node.freehold\n",
                    launch.address, launch.hostname, launch.gateway
                ),
            ),
            ("hostname", format!("{}\n", launch.hostname)),
            (
                "resolv.conf",
                format!("nameserver {}\nsearch internal\noptions timeout:2 attempts:3\n", launch.gateway),
            ),
        ],
    }
}

/// Never follows what the image put there: it may be a link to anywhere.
pub(super) fn replace(dir: &OwnedFd, name: &str, content: &str) -> io::Result<()> {
    match unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    File::from(openat(dir, name, flags, Mode::from_raw_mode(0o644))?).write_all(content.as_bytes())
}
