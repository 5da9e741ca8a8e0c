//! Files that have no name any more and take room all the same: a process of the instance holds them open, or
//! writes to them through its memory.
//!
//! Called by the agent's meter, where no quota of the file system counts them. Only files of the overlay are
//! those of a run's layer; memory files and those of volumes are elsewhere.

use std::{collections::HashSet, fs, os::unix::fs::MetadataExt as _, path::Path};

/// `OVERLAYFS_SUPER_MAGIC` of linux/magic.h.
const OVERLAY: u32 = 0x794c_7630;
/// `S_IWUSR`, which the link of an open file has where it is open for writing.
const WRITES: u32 = 0o200;

/// The bytes on the disk of files without a name that `pids` hold. What changes meanwhile is counted as it was
/// seen, or not.
pub(crate) fn unlinked(pids: &[i32]) -> u64 {
    let mut seen = HashSet::new();
    pids.iter().map(|pid| of_process(Path::new(&format!("/proc/{pid}")), &mut seen)).sum()
}

fn of_process(process: &Path, seen: &mut HashSet<(u64, u64)>) -> u64 {
    // A mapping that is only read is most often a program of the image that was replaced while it ran.
    let open = links(&process.join("fd"), 0, seen);
    open + links(&process.join("map_files"), WRITES, seen)
}

fn links(dir: &Path, mode: u32, seen: &mut HashSet<(u64, u64)>) -> u64 {
    let mut bytes = 0;
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(file) = fs::metadata(&path) else { continue };
        let is_held = file.is_file() && file.nlink() == 0 && file.blocks() > 0;
        if is_held && has_mode(&path, mode) && is_overlay(&path) && seen.insert((file.dev(), file.ino())) {
            bytes += file.blocks() * 512;
        }
    }
    bytes
}

fn has_mode(link: &Path, mode: u32) -> bool {
    mode == 0 || fs::symlink_metadata(link).is_ok_and(|link| link.mode() & mode != 0)
}

fn is_overlay(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|stat| stat.f_type as u32 == OVERLAY)
}
