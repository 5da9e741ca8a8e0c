//! What a tree of files takes on the disk: blocks, each file once however many names it has.

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat};
use std::{collections::HashSet, io, os::fd::OwnedFd, path::Path};

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The bytes on the disk of everything in `dir`, the directory itself aside. What goes or changes meanwhile
/// is counted as it was seen, or not; what is deeper than a thousand folders is not.
///
/// # Errors
/// When the directory cannot be read.
pub fn measure(dir: &Path) -> io::Result<u64> {
    let mut seen = HashSet::new();
    Ok(tree(&openat(CWD, dir, DIRECTORY, Mode::empty())?, 0, &mut seen))
}

fn tree(dir: &OwnedFd, depth: usize, seen: &mut HashSet<(u64, u64)>) -> u64 {
    let Ok(entries) = Dir::read_from(dir) else { return 0 };
    let mut bytes = 0;
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let Ok(stat) = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_dir || stat.st_nlink < 2 || seen.insert((stat.st_dev, stat.st_ino)) {
            bytes += stat.st_blocks as u64 * 512;
        }
        if is_dir
            && depth < 1000
            && let Ok(inner) = openat(dir, name, DIRECTORY, Mode::empty())
        {
            bytes += tree(&inner, depth + 1, seen);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn holes_and_second_names_take_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), vec![7; 1 << 20]).unwrap();
        fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
        fs::File::create(dir.path().join("hole")).unwrap().set_len(1 << 30).unwrap();
        fs::create_dir(dir.path().join("c")).unwrap();
        fs::write(dir.path().join("c/d"), vec![7; 1 << 20]).unwrap();
        let bytes = measure(dir.path()).unwrap();
        assert!((2 << 20..3 << 20).contains(&bytes), "{bytes}");
    }
}
