//! A position in a tree: goes down by name and up by `..`, with few descriptors open at any depth.

use rustix::fs::{CWD, Dir, Mode, OFlags, fstat, openat};
use std::{
    collections::VecDeque,
    ffi::{CStr, CString, OsStr},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

/// How many folders of one tree are open at a time.
pub const OPEN: usize = 32;
/// Trees with more levels are not walked.
pub const DEEPEST: usize = 1 << 20;
/// The number of names that are kept to say where an error was.
const NAMED: usize = 16;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a folder of the caller's own choice.
pub(crate) fn open(path: &Path) -> io::Result<OwnedFd> {
    Ok(openat(CWD, path, DIRECTORY, Mode::empty())?)
}

/// Opens a folder in a folder; a symbolic link is none.
pub(crate) fn open_at(dir: impl AsFd, name: &CStr) -> io::Result<OwnedFd> {
    Ok(openat(dir, name, DIRECTORY, Mode::empty())?)
}

/// The folders from the top of a tree to the place where one is.
pub(crate) struct Cursor {
    /// Every level: which folder it is, and how far it was read.
    levels: Vec<Level>,
    /// The lowest levels, open; the last is where one is.
    open: VecDeque<Dir>,
    /// The uppermost names on the way, for errors.
    names: Vec<CString>,
}

struct Level {
    device: u64,
    inode: u64,
    read: i64,
}

impl Cursor {
    pub(crate) fn new(top: OwnedFd) -> io::Result<Cursor> {
        let mut cursor = Cursor { levels: Vec::new(), open: VecDeque::new(), names: Vec::new() };
        cursor.push(top)?;
        Ok(cursor)
    }

    /// The folder where one is.
    pub(crate) fn here(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.open.back().ok_or_else(moved)?.fd()?)
    }

    /// The next name in it; `None` at its end.
    pub(crate) fn next(&mut self) -> io::Result<Option<CString>> {
        let (Some(dir), Some(level)) = (self.open.back_mut(), self.levels.last_mut()) else {
            return Err(moved());
        };
        while let Some(entry) = dir.read() {
            let entry = entry?;
            level.read = entry.offset();
            if entry.file_name() != c"." && entry.file_name() != c".." {
                return Ok(Some(entry.file_name().to_owned()));
            }
        }
        Ok(None)
    }

    /// Goes down into a folder.
    pub(crate) fn enter(&mut self, name: &CStr) -> io::Result<()> {
        if self.levels.len() >= DEEPEST {
            return Err(io::Error::other(format!("folders are nested more than {DEEPEST} deep")));
        }
        let inner = open_at(self.here()?, name)?;
        if self.levels.len() <= NAMED {
            self.names.push(name.to_owned());
        }
        self.push(inner)
    }

    /// Goes up, to where the folder was left; `false` at the top.
    ///
    /// # Errors
    /// Somebody moved the folder meanwhile.
    pub(crate) fn leave(&mut self) -> io::Result<bool> {
        if self.levels.len() < 2 {
            return Ok(false);
        }
        let left = self.open.pop_back().ok_or_else(moved)?;
        self.levels.pop();
        self.names.truncate(self.levels.len() - 1);
        if self.open.is_empty() {
            let outer = open_at(left.fd()?, c"..")?;
            let (stat, level) = (fstat(&outer)?, self.levels.last().ok_or_else(moved)?);
            if (stat.st_dev, stat.st_ino) != (level.device, level.inode) {
                return Err(moved());
            }
            let mut dir = Dir::new(outer)?;
            if level.read != 0 {
                dir.seek(level.read)?;
            }
            self.open.push_back(dir);
        }
        Ok(true)
    }

    /// An error with the place where it was; the uppermost folders and the last name of a long way.
    pub(crate) fn told(&self, name: Option<&CStr>, error: &io::Error) -> io::Error {
        let os = |name: &CStr| OsStr::from_bytes(name.to_bytes()).to_string_lossy().into_owned();
        let mut way: Vec<String> = self.names.iter().map(|name| os(name)).collect();
        if self.levels.len() > NAMED + 2 {
            way.push("…".into());
        }
        way.extend(name.map(os));
        io::Error::new(error.kind(), format!("{}: {error}", way.join("/")))
    }

    fn push(&mut self, dir: OwnedFd) -> io::Result<()> {
        let stat = fstat(&dir)?;
        self.levels.push(Level { device: stat.st_dev, inode: stat.st_ino, read: 0 });
        self.open.push_back(Dir::new(dir)?);
        if self.open.len() > OPEN {
            self.open.pop_front();
        }
        Ok(())
    }
}

fn moved() -> io::Error {
    io::Error::other("folders were moved meanwhile")
}
