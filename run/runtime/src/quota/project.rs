//! Project quotas, as ext4 and xfs have them when mounted with `prjquota`: a directory gets a project
//! that whatever is made in it inherits (linux/fs.h), and the project gets a limit (quotactl_fd(2), Linux
//! 5.14; linux/quota.h, linux/dqblk_xfs.h).
//!
//! Invariant: a limit is said to be enforced only when the kernel says that it enforces limits of projects
//! there, and reads the limit back as it was set.

use freehold_model::Bytes;
use nix::{errno::Errno, ioctl_read, ioctl_write_ptr, libc};
use std::{
    ffi::c_void,
    fs::{File, OpenOptions},
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    path::Path,
};

/// PRJQUOTA
const PROJECT: i32 = 2;
const Q_GETQUOTA: i32 = 0x80_0007;
const Q_SETQUOTA: i32 = 0x80_0008;
const Q_XGETQSTATV: i32 = 0x5808;
/// FS_QUOTA_PDQ_ENFD: limits of projects are enforced, not only counted.
const ENFORCED: u16 = 1 << 5;
/// FS_XFLAG_PROJINHERIT
const INHERIT: u32 = 0x200;
/// QIF_BLIMITS
const BLOCK_LIMITS: u32 = 1;
/// Limits count blocks of so many bytes, whatever the file system's are.
const BLOCK: u64 = 1024;
/// Numbers below are left to people, who give them by hand.
const FIRST: u32 = 1 << 24;

/// `struct fsxattr`
#[repr(C)]
#[derive(Default)]
pub(super) struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    copy_extent_size: u32,
    pad: [u8; 8],
}

/// `struct if_dqblk`
#[repr(C)]
#[derive(Default)]
struct Limits {
    blocks_hard: u64,
    blocks_soft: u64,
    bytes: u64,
    inodes_hard: u64,
    inodes_soft: u64,
    inodes: u64,
    blocks_time: u64,
    inodes_time: u64,
    valid: u32,
}

/// `struct fs_quota_statv`, as far as it matters here.
#[repr(C, align(8))]
struct State {
    version: i8,
    pad: u8,
    flags: u16,
    rest: [u8; 156],
}

ioctl_read!(attributes, b'X', 31, Attributes);
ioctl_write_ptr!(set_attributes, b'X', 32, Attributes);

/// Gives `dir` a project of its own, if it has none yet, and the project the limit.
pub(super) fn limit(dir: &Path, size: Bytes) -> Result<(), String> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
        .open(dir)
        .map_err(|error| error.to_string())?;
    enforces(&file)?;
    let project =
        project(&file, dir).map_err(|error| format!("its file system gives it no project: {error}"))?;
    let wanted = Limits { blocks_hard: size.0.div_ceil(BLOCK), valid: BLOCK_LIMITS, ..Limits::default() };
    let failed = |error: Errno| format!("its file system takes no quota: {error}");
    let mut set = Limits { ..wanted };
    control(&file, Q_SETQUOTA, project, &mut set).map_err(failed)?;
    let known = quota(&file, project).map_err(failed)?;
    match known.blocks_hard == set.blocks_hard {
        true => Ok(()),
        false => Err("its file system does not keep the quota that it was given".into()),
    }
}

/// Whether limits of projects are enforced where `file` is.
fn enforces(file: &File) -> Result<(), String> {
    let mut state = State { version: 1, pad: 0, flags: 0, rest: [0; 156] };
    let asked = control(file, Q_XGETQSTATV, 0, &mut state);
    match asked {
        Ok(()) if state.flags & ENFORCED != 0 => Ok(()),
        Err(Errno::ENOSYS) => Err("the kernel has no quotas for folders (Linux 5.14, CONFIG_QUOTACTL)".into()),
        _ => Err(
            "its file system has no project quotas; ext4 and xfs have them when mounted with `prjquota`, and btrfs with quotas on"
                .into(),
        ),
    }
}

/// The project of the directory; a new one, if it has none, that nothing else is in.
fn project(file: &File, dir: &Path) -> Result<u32, Errno> {
    let mut known = Attributes::default();
    // SAFETY: the descriptor is open and the argument is of the type that the number says.
    unsafe { attributes(file.as_raw_fd(), &mut known) }?;
    if known.project >= FIRST && known.flags & INHERIT != 0 {
        return Ok(known.project);
    }
    let mut number = candidate(dir);
    while quota(file, number).is_ok_and(|used| used.bytes > 0 || used.inodes > 0) {
        number = number.wrapping_add(1).max(FIRST);
    }
    let wanted = Attributes { flags: known.flags | INHERIT, project: number, ..known };
    // SAFETY: as above.
    unsafe { set_attributes(file.as_raw_fd(), &wanted) }?;
    Ok(number)
}

/// A number that follows from the path (FNV-1a), so that others rarely have it.
fn candidate(dir: &Path) -> u32 {
    let bytes = dir.as_os_str().as_encoded_bytes();
    let hash =
        bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    // The uppermost number means none.
    FIRST + hash % (u32::MAX - FIRST)
}

fn quota(file: &File, project: u32) -> Result<Limits, Errno> {
    let mut limits = Limits::default();
    control(file, Q_GETQUOTA, project, &mut limits).map(|()| limits)
}

/// quotactl_fd(2), for projects.
fn control<T>(file: &File, command: i32, project: u32, argument: &mut T) -> Result<(), Errno> {
    let command = (command << 8) | PROJECT;
    let argument = std::ptr::from_mut(argument).cast::<c_void>();
    // SAFETY: the descriptor is open, and every command here is called with the structure that it takes.
    let done = unsafe { libc::syscall(libc::SYS_quotactl_fd, file.as_raw_fd(), command, project, argument) };
    Errno::result(done).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::{offset_of, size_of};

    /// As a C compiler has it from the headers named above.
    #[test]
    fn arguments_are_laid_out_as_in_the_kernels_headers() {
        assert_eq!((size_of::<Attributes>(), offset_of!(Attributes, project)), (28, 12));
        assert_eq!(nix::request_code_read!(b'X', 31, size_of::<Attributes>()), 0x801c_581f);
        assert_eq!(nix::request_code_write!(b'X', 32, size_of::<Attributes>()), 0x401c_5820);
        assert_eq!((size_of::<Limits>(), offset_of!(Limits, bytes)), (72, 16));
        assert_eq!((offset_of!(Limits, inodes), offset_of!(Limits, valid)), (40, 64));
        assert_eq!((size_of::<State>(), offset_of!(State, flags)), (160, 2));
        assert_eq!(((Q_SETQUOTA << 8) | PROJECT).cast_unsigned(), 0x8000_0802);
        assert_eq!(libc::SYS_quotactl_fd, 443);
    }

    #[test]
    fn projects_are_many_and_none_is_a_persons() {
        let numbers: std::collections::BTreeSet<u32> =
            (0..1000).map(|n| candidate(Path::new(&format!("/data/volumes/vol_{n}/data")))).collect();
        assert_eq!(numbers.len(), 1000);
        assert!(numbers.iter().all(|number| (FIRST..u32::MAX).contains(number)));
    }
}
