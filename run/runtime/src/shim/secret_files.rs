//! Secrets that are files: on a file system in memory, each mounted at its place in the instance's root.
//!
//! The file system is in the shim's mount namespace alone, read-only once it is written, not swapped
//! where the kernel can promise that (Linux 6.4), and gone with the run's last process.

use super::{
    StartError,
    rootfs::{make_dir, replace},
};
use crate::{Secrets, launch::InstanceDir, user::User};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::fs::{CWD, Gid, Mode, OFlags, Uid, fchown, openat};
use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    },
    path::Path,
};

const PAGE: usize = 4096;

/// Puts every file of `secrets` into the instance's root, for `user` alone.
pub(super) fn put(dir: &InstanceDir, user: &User, secrets: &Secrets) -> Result<(), StartError> {
    if secrets.files().next().is_none() {
        return Ok(());
    }
    let hidden = dir.0.join("secrets");
    in_memory(&hidden, user, secrets).map_err(StartError::because("cannot keep secrets in memory"))?;
    let root = File::open(dir.root()).map_err(StartError::because("cannot open the instance's root"))?;
    for (n, (path, _)) in secrets.files().enumerate() {
        bind(&root, &hidden.join(n.to_string()), path)
            .map_err(StartError::because(format!("cannot put a secret into {path}")))?;
    }
    // The files stay at their places.
    umount2(&hidden, MntFlags::MNT_DETACH).map_err(StartError::because("cannot hide the secrets"))
}

/// Mounts a file system in memory at `hidden` and writes each file into it, by number.
fn in_memory(hidden: &Path, user: &User, secrets: &Secrets) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(hidden)?;
    let pages: usize = secrets.files().map(|(_, value)| value.len().div_ceil(PAGE) + 1).sum();
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let options = format!("mode=0700,size={},nr_inodes={}", pages * PAGE, secrets.files().count() + 1);
    let make = |options: &str| mount(Some("tmpfs"), hidden, Some("tmpfs"), flags, Some(options));
    make(&format!("{options},noswap")).or_else(|_| make(&options))?;
    for (n, (_, value)) in secrets.files().enumerate() {
        let path = hidden.join(n.to_string());
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(path)?;
        file.write_all(value)?;
        fchown(&file, Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(user.gid)))?;
    }
    let none = None::<&str>;
    Ok(mount(none, hidden, none, flags | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, none)?)
}

/// Never follows what the image put at `path` itself: it may be a link to anywhere.
fn bind(root: &File, from: &Path, path: &str) -> io::Result<()> {
    let path = Path::new(path);
    let (Some(parent), Some(name)) = (path.parent().and_then(Path::to_str), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = make_dir(root, parent)?;
    let name = name.to_str().ok_or(io::ErrorKind::InvalidInput)?;
    replace(&parent, name, "")?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = openat(&parent, name, flags, Mode::empty())?;
    // A bind mount follows the link in /proc to the very file, whatever its path means by now.
    let target = format!("/proc/self/fd/{}", target.as_raw_fd());
    let source = openat(CWD, from, flags, Mode::empty())?;
    let source = format!("/proc/self/fd/{}", source.as_raw_fd());
    Ok(mount(Some(source.as_str()), target.as_str(), None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
}
