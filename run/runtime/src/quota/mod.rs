//! Directories that the file system itself keeps to a size: subvolumes with a quota group on btrfs, projects
//! with a quota on ext4 and xfs, and plain directories wherever neither works.
//!
//! Called by the agent for volumes and by the shim for writable layers. What a file system can is found out
//! by trying. Nobody switches quotas on here: that is a decision about the whole file system, and its
//! administrator's. Invariant: a limit that was not seen to be enforced is never said to be.

mod btrfs;
mod project;

use freehold_model::Bytes;
use std::{fs, io, path::Path};

/// Makes the directory `path`, of a kind that can be limited.
///
/// # Errors
/// As for any directory; it must not be there yet.
pub fn make_dir(path: &Path) -> io::Result<()> {
    match btrfs::make(path) {
        Err(error) if is_unsupported(&error) => fs::create_dir(path),
        made => made,
    }
}

/// Lets `dir`, which was made by [`make_dir`], hold at most `size`, from now on enforced.
///
/// # Errors
/// Why the file system cannot enforce it, for people, with the way out.
pub fn limit(dir: &Path, size: Bytes) -> Result<(), String> {
    match btrfs::limit(dir, size) {
        Some(done) => done,
        None => project::limit(dir, size),
    }
}

/// Makes `to` a copy of the directory `from` in one step, where both are subvolumes of one btrfs; says
/// whether it did. `to` must not be there yet.
///
/// # Errors
/// When the file system can, and fails.
pub fn snapshot(from: &Path, to: &Path) -> io::Result<bool> {
    match btrfs::snapshot(from, to) {
        Err(error) if is_unsupported(&error) => Ok(false),
        done => done.map(|()| true),
    }
}

/// Removes `path` and all in it; that is quick for what [`make_dir`] made on btrfs. What is not there is
/// removed.
///
/// # Errors
/// When something of it stays.
pub fn remove(path: &Path) -> io::Result<()> {
    if btrfs::is_on(path) {
        remove_subvolumes(path, DEPTH);
    }
    freehold_tree::remove(path)
}

/// A volume's folder has its snapshots' data no deeper.
const DEPTH: u32 = 3;

/// What cannot be removed so is removed file by file.
fn remove_subvolumes(path: &Path, depth: u32) {
    if btrfs::remove(path).is_ok() || depth == 0 || btrfs::is_subvolume(path) {
        return;
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_subvolumes(&entry.path(), depth - 1);
        }
    }
}

/// The file system has no such thing, or not here.
fn is_unsupported(error: &io::Error) -> bool {
    use nix::libc::{EINVAL, ENOSYS, ENOTTY, EOPNOTSUPP, EPERM, EXDEV};
    matches!(error.raw_os_error(), Some(ENOTTY | EOPNOTSUPP | ENOSYS | EINVAL | EPERM | EXDEV))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_can_be_enforced_there_are_folders_and_a_reason() {
        let dir = tempfile::tempdir().unwrap();
        // Whatever this is on, a plain folder of a btrfs is never limited: the limit would be its parent's.
        let plain = dir.path().join("plain");
        fs::create_dir(&plain).unwrap();
        if btrfs::is_on(&plain) {
            assert!(limit(&plain, Bytes(1 << 30)).unwrap_err().contains("subvolume"));
        } else if let Err(why) = limit(&plain, Bytes(1 << 30)) {
            assert!(why.contains("quota"), "{why}");
        }
        let made = dir.path().join("made");
        make_dir(&made).unwrap();
        assert_eq!(make_dir(&made).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        fs::write(made.join("file"), "x").unwrap();
        remove(&made).unwrap();
        remove(&made).unwrap();
        assert!(!made.exists());
    }
}
