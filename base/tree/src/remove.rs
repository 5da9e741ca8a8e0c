//! Removes a tree. Goes down a bounded number of levels; what lies deeper is moved up and removed there, so
//! neither descriptors nor memory grow with the depth.

use crate::cursor::{open, open_at};
use rustix::{
    fs::{AtFlags, Dir, FileType, renameat, unlinkat},
    io::Errno,
};
use std::{
    ffi::{CStr, CString, OsStr},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

/// The number of levels that are open at a time.
const LEVELS: usize = crate::OPEN;

/// Removes `path` and all in it, following no links. What is not there is removed.
///
/// # Errors
/// When something of it stays.
pub fn remove(path: &Path) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    match rustix::fs::open(parent, flags, rustix::fs::Mode::empty()) {
        Ok(parent) => remove_at(parent, name),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes `name` in the open folder `parent`, and all in it.
///
/// # Errors
/// As for [`remove`].
pub fn remove_at(parent: impl AsFd, name: &OsStr) -> io::Result<()> {
    let (parent, name) = (parent.as_fd(), CString::new(name.as_bytes())?);
    match unlinkat(parent, &name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error @ (Errno::ISDIR | Errno::PERM)) => match open_at(parent, &name) {
            Ok(dir) => Removal::default().run(parent, dir, name),
            Err(_) if error == Errno::PERM => Err(error.into()),
            Err(opened) => Err(opened),
        },
        Err(error) => Err(error.into()),
    }
}

/// Removes all that is in the folder `dir`, and keeps the folder.
///
/// # Errors
/// As for [`remove`].
pub fn empty(dir: &Path) -> io::Result<()> {
    let dir = open(dir)?;
    for _ in 0..PASSES {
        let (mut entries, mut found) = (Dir::read_from(&dir)?, false);
        while let Some(entry) = entries.read() {
            let entry = entry?;
            if entry.file_name() != c"." && entry.file_name() != c".." {
                found = true;
                remove_at(&dir, OsStr::from_bytes(entry.file_name().to_bytes()))?;
            }
        }
        if !found {
            return Ok(());
        }
    }
    Err(Errno::NOTEMPTY.into())
}

/// Reading while removing may skip what is there; so often a folder is read again.
const PASSES: usize = 16;

struct Level {
    dir: Dir,
    name: CString,
    /// Whether something went since it was read from its beginning.
    progress: bool,
}

#[derive(Default)]
struct Removal {
    levels: Vec<Level>,
    lifted: u64,
}

impl Removal {
    fn run(mut self, parent: BorrowedFd<'_>, dir: OwnedFd, name: CString) -> io::Result<()> {
        self.levels.push(Level { dir: Dir::new(dir)?, name, progress: false });
        while let Some(level) = self.levels.last_mut() {
            match level.dir.read() {
                Some(entry) => {
                    let entry = entry?;
                    if entry.file_name() != c"." && entry.file_name() != c".." {
                        let (name, kind) = (entry.file_name().to_owned(), entry.file_type());
                        self.entry(&name, kind)?;
                    }
                }
                None => self.finish(parent)?,
            }
        }
        Ok(())
    }

    fn entry(&mut self, name: &CStr, kind: FileType) -> io::Result<()> {
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        let unlinked = match kind {
            FileType::Directory => Err(Errno::ISDIR),
            _ => unlinkat(level.dir.fd()?, name, AtFlags::empty()),
        };
        match unlinked {
            Ok(()) => level.progress = true,
            Err(Errno::NOENT) => {}
            Err(Errno::ISDIR) => self.descend(name)?,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn descend(&mut self, name: &CStr) -> io::Result<()> {
        let name = if self.levels.len() < LEVELS { name.to_owned() } else { self.lift(name)? };
        let Some(level) = self.levels.last() else { return Ok(()) };
        let dir = Dir::new(open_at(level.dir.fd()?, &name)?)?;
        self.levels.push(Level { dir, name, progress: false });
        Ok(())
    }

    /// Moves a folder of the lowest level up as far as it goes, goes up there, and says what it is called
    /// there. Quotas of projects, and subvolumes, may keep it from the uppermost levels.
    fn lift(&mut self, name: &CStr) -> io::Result<CString> {
        let Some((lowest, above)) = self.levels.split_last() else { return Err(Errno::NOENT.into()) };
        let mut failed = Errno::XDEV;
        for (number, level) in above.iter().enumerate() {
            loop {
                self.lifted += 1;
                let lifted = CString::new(format!(".removed-{}", self.lifted))?;
                match renameat(lowest.dir.fd()?, name, level.dir.fd()?, &lifted) {
                    Ok(()) => {
                        self.levels.truncate(number + 1);
                        return Ok(lifted);
                    }
                    // A stranger has that name. (An empty folder of that name is replaced: it goes, too.)
                    Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
                    Err(error) => {
                        failed = error;
                        break;
                    }
                }
            }
        }
        Err(failed.into())
    }

    /// Removes the lowest level, which was read to its end.
    fn finish(&mut self, parent: BorrowedFd<'_>) -> io::Result<()> {
        let Some(mut level) = self.levels.pop() else { return Ok(()) };
        let outer = match self.levels.last() {
            Some(outer) => outer.dir.fd()?,
            None => parent,
        };
        match unlinkat(outer, &level.name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {
                if let Some(outer) = self.levels.last_mut() {
                    outer.progress = true;
                }
            }
            Err(Errno::NOTEMPTY | Errno::EXIST) if level.progress => {
                level.progress = false;
                level.dir.rewind();
                self.levels.push(level);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{DEPTH, nest, quick};
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn twenty_thousand_nested_folders_go_on_a_small_stack_with_few_descriptors() {
        let dir = quick();
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).unwrap();
        drop(nest(&tree, DEPTH));
        // The stack of the smallest thread there is.
        let work = std::thread::Builder::new().stack_size(128 << 10);
        work.spawn(move || remove(&tree).unwrap()).unwrap().join().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn wide_deep_and_contrary_trees_go_and_what_they_point_at_stays() {
        let dir = quick();
        let (tree, kept) = (dir.path().join("tree"), dir.path().join("kept"));
        fs::create_dir_all(&tree).unwrap();
        fs::create_dir_all(kept.join("folder")).unwrap();
        fs::write(kept.join("file"), "x").unwrap();
        let mut at = tree.clone();
        for level in 0..100 {
            for name in 0..20 {
                fs::write(at.join(format!("file-{name}")), "x").unwrap();
            }
            fs::create_dir_all(at.join("side/below")).unwrap();
            symlink(&kept, at.join("link")).unwrap();
            // Names that the removal itself would choose: a file, a folder with something in it, a link.
            fs::write(tree.join(format!(".removed-{}", level * 3 + 1)), "x").unwrap();
            fs::create_dir_all(tree.join(format!(".removed-{}/full", level * 3 + 2))).unwrap();
            symlink(&kept, tree.join(format!(".removed-{}", level * 3 + 3))).unwrap();
            at = at.join("d");
            fs::create_dir(&at).unwrap();
        }
        remove(&tree).unwrap();
        remove(&tree).unwrap();
        assert!(!tree.exists());
        assert_eq!(fs::read_dir(&kept).unwrap().count(), 2);
        symlink(&kept, &tree).unwrap();
        remove(&tree).unwrap();
        assert_eq!(fs::read_dir(&kept).unwrap().count(), 2, "a link goes, not what it points at");
    }

    #[test]
    fn an_emptied_folder_stays() {
        let dir = quick();
        drop(nest(dir.path(), 100));
        for number in 0..3000 {
            fs::write(dir.path().join(number.to_string()), "").unwrap();
        }
        empty(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
