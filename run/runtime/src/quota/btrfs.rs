//! Subvolumes and their quota groups: btrfs's own ioctls (linux/btrfs.h).
//!
//! Invariant: a limit is only ever set on a subvolume's root. On any other directory the kernel would
//! limit the subvolume around it, which may be the whole system.

use freehold_model::Bytes;
use nix::{ioctl_read, ioctl_write_ptr};
use rustix::fs::{CWD, Mode, OFlags, fstat, fstatfs, openat};
use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

/// Of every btrfs (statfs(2)).
const MAGIC: u32 = 0x9123_683e;
/// The number of every subvolume's root: BTRFS_FIRST_FREE_OBJECTID.
const ROOT: u64 = 256;
/// BTRFS_QGROUP_LIMIT_MAX_RFER: what a subvolume refers to, shared with snapshots or not.
const REFERRED: u64 = 1;

/// `struct btrfs_ioctl_vol_args`
#[repr(C)]
pub(super) struct Named {
    fd: i64,
    name: [u8; 4088],
}

/// `struct btrfs_ioctl_qgroup_limit_args`
#[repr(C)]
#[derive(Default)]
pub(super) struct GroupLimit {
    /// Zero: that of the subvolume that the descriptor is of.
    group: u64,
    flags: u64,
    referred: u64,
    exclusive: u64,
    reserved_referred: u64,
    reserved_exclusive: u64,
}

ioctl_write_ptr!(snapshot_create, 0x94, 1, Named);
ioctl_write_ptr!(subvolume_create, 0x94, 14, Named);
ioctl_write_ptr!(snapshot_destroy, 0x94, 15, Named);
// The kernel reads it; the direction in its number is a slip of long ago.
ioctl_read!(group_limit, 0x94, 43, GroupLimit);

/// Makes a subvolume.
pub(super) fn make(path: &Path) -> io::Result<()> {
    let (parent, named) = place(path)?;
    if !is_btrfs(&parent) {
        return Err(unsupported());
    }
    // SAFETY: the descriptor is open and the argument is of the type that the number says.
    unsafe { subvolume_create(parent.as_raw_fd(), &named) }?;
    Ok(())
}

/// Makes `to` a writable snapshot of the subvolume `from`.
pub(super) fn snapshot(from: &Path, to: &Path) -> io::Result<()> {
    let source = open(from)?;
    let (parent, mut named) = place(to)?;
    if !is_root(&source) || !is_btrfs(&parent) {
        return Err(unsupported());
    }
    named.fd = source.as_raw_fd().into();
    // SAFETY: as above; `fd` is an open descriptor.
    unsafe { snapshot_create(parent.as_raw_fd(), &named) }?;
    Ok(())
}

/// Removes a subvolume at once, with what is in it; the kernel frees its blocks by and by.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    if !is_subvolume(path) {
        return Err(unsupported());
    }
    let (parent, named) = place(path)?;
    // SAFETY: as above.
    unsafe { snapshot_destroy(parent.as_raw_fd(), &named) }?;
    Ok(())
}

/// `None` where there is no btrfs.
pub(super) fn limit(dir: &Path, size: Bytes) -> Option<Result<(), String>> {
    let dir = open(dir).ok().filter(is_btrfs)?;
    if !is_root(&dir) {
        return Some(Err("it is a folder and no subvolume, as it was made by an earlier version; a restore, or a clone, makes it one".into()));
    }
    let mut wanted = GroupLimit { flags: REFERRED, referred: size.0, ..GroupLimit::default() };
    // SAFETY: as above.
    let done = unsafe { group_limit(dir.as_raw_fd(), &mut wanted) };
    Some(match done {
        Ok(_) => Ok(()),
        Err(nix::errno::Errno::ENOTCONN) => {
            Err("quotas are off on this btrfs; where they are wanted: `btrfs quota enable MOUNTPOINT`".into())
        }
        Err(error) => Err(format!("its btrfs takes no quota: {error}")),
    })
}

/// Whether `path` is on a btrfs.
pub(super) fn is_on(path: &Path) -> bool {
    open(path).is_ok_and(|dir| is_btrfs(&dir))
}

/// Whether `path` is the root of a subvolume.
pub(super) fn is_subvolume(path: &Path) -> bool {
    open(path).is_ok_and(|dir| is_root(&dir))
}

fn is_root(dir: &OwnedFd) -> bool {
    is_btrfs(dir) && fstat(dir).is_ok_and(|stat| stat.st_ino == ROOT)
}

fn is_btrfs(dir: &OwnedFd) -> bool {
    fstatfs(dir).is_ok_and(|stat| u64::try_from(stat.f_type) == Ok(MAGIC.into()))
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::empty())?)
}

/// The directory of `path`, and its name in it as the kernel takes it.
fn place(path: &Path) -> io::Result<(OwnedFd, Named)> {
    let name = path.file_name().unwrap_or(OsStr::new("")).as_bytes();
    let mut named = Named { fd: 0, name: [0; 4088] };
    if name.is_empty() || name.len() > 255 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    named.name[..name.len()].copy_from_slice(name);
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((open(parent)?, named))
}

fn unsupported() -> io::Error {
    io::Error::from_raw_os_error(nix::libc::ENOTTY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::{offset_of, size_of};

    /// As a C compiler has it from linux/btrfs.h: BTRFS_IOC_QGROUP_LIMIT is 0x8030942b, and so on.
    #[test]
    fn arguments_are_laid_out_as_in_the_kernels_headers() {
        assert_eq!(size_of::<Named>(), 4096);
        assert_eq!((size_of::<GroupLimit>(), offset_of!(GroupLimit, referred)), (48, 16));
        assert_eq!(nix::request_code_read!(0x94, 43, size_of::<GroupLimit>()), 0x8030_942b);
        assert_eq!(nix::request_code_write!(0x94, 1, size_of::<Named>()), 0x5000_9401);
        assert_eq!(nix::request_code_write!(0x94, 14, size_of::<Named>()), 0x5000_940e);
        assert_eq!(nix::request_code_write!(0x94, 15, size_of::<Named>()), 0x5000_940f);
    }
}
