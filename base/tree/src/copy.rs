//! Copies a tree of files, as it is: owners, modes, times, extended attributes, symbolic and hard links,
//! pipes, sockets, and holes. Blocks are shared where the file system can (`FICLONE`).
//!
//! Goes from descriptor to descriptor with `O_NOFOLLOW`: whatever somebody does to the source meanwhile,
//! nothing outside it is read, and nothing outside the target is written. Files with several names are
//! found again by a name in a folder of the target's own, which is gone in the end: neither a long list
//! nor a long path is needed for them.

use crate::cursor::{Cursor, open};
use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags, chownat,
        copy_file_range, fchmod, fchown, fgetxattr, flistxattr, fsetxattr, fstat, ftruncate, futimens,
        ioctl_ficlone, linkat, mkdirat, mknodat, openat, readlinkat, renameat, seek, statat, symlinkat,
        utimensat,
    },
    io::{Errno, pread, pwrite},
};
use std::{
    ffi::{CStr, CString, OsStr},
    io,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

const COPY_AT_ONCE: usize = 64 << 20;

/// Copies everything in the directory `from` into the directory `to`, which is empty and which nobody else
/// touches; `to` gets the owner, mode, times and attributes of `from`.
///
/// `goes_on` is asked again and again, and what it answers ends the copy.
///
/// # Errors
/// At the first that cannot be read or written, with its path within the tree; when folders are moved
/// meanwhile, or nested more than [`DEEPEST`](crate::DEEPEST) deep; or as `goes_on` says.
pub fn copy(from: &Path, to: &Path, goes_on: &GoesOn<'_>) -> io::Result<()> {
    copy_dir(&open(from)?, &open(to)?, goes_on)
}

/// Says that a copy goes on, or why not.
pub type GoesOn<'a> = dyn Fn() -> io::Result<()> + 'a;

/// The same, of open directories.
///
/// # Errors
/// As for [`copy`].
pub fn copy_dir(from: &OwnedFd, to: &OwnedFd, goes_on: &GoesOn<'_>) -> io::Result<()> {
    let links = Links::beside(from, to)?;
    let mut copy =
        Copy { from: Cursor::new(reopened(from)?)?, to: Cursor::new(reopened(to)?)?, links: &links, goes_on };
    // Who ended it need not hear where it was.
    let copied = copy.all().map_err(|error| goes_on().err().unwrap_or(error));
    let cleared = links.clear();
    copied.and(cleared).and_then(|()| like(from, to))
}

/// A descriptor that is read on its own.
fn reopened(dir: &OwnedFd) -> io::Result<OwnedFd> {
    crate::cursor::open_at(dir, c".")
}

/// A folder in the target's top with a name for each file that has several.
struct Links<'a> {
    target: &'a OwnedFd,
    name: CString,
}

impl Links<'_> {
    /// One with a name that the source does not have.
    fn beside<'a>(source: &OwnedFd, target: &'a OwnedFd) -> io::Result<Links<'a>> {
        for number in 0_u64.. {
            let name = CString::new(format!(".copied-{number}"))?;
            if let Err(Errno::NOENT) = statat(source, &name, AtFlags::SYMLINK_NOFOLLOW) {
                return Ok(Links { target, name });
            }
        }
        Err(Errno::EXIST.into())
    }

    fn path(&self, of: &Stat) -> io::Result<CString> {
        let mut path = self.name.as_bytes().to_vec();
        path.extend(format!("/{:x}-{:x}", of.st_dev, of.st_ino).into_bytes());
        Ok(CString::new(path)?)
    }

    /// Gives a file that was copied already one more name; says whether it was.
    fn link(&self, of: &Stat, to: BorrowedFd<'_>, name: &CStr) -> io::Result<bool> {
        let path = self.path(of)?;
        let known = match statat(self.target, &path, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(false),
            known => known?,
        };
        // Its last name takes ours, so that it never has more than the file system allows.
        if known.st_nlink >= of.st_nlink {
            renameat(self.target, &path, to, name)?;
        } else {
            linkat(self.target, &path, to, name, AtFlags::empty())?;
        }
        Ok(true)
    }

    fn remember(&self, of: &Stat, to: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        match mkdirat(self.target, &self.name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(linkat(to, name, self.target, &self.path(of)?, AtFlags::empty())?)
    }

    fn clear(&self) -> io::Result<()> {
        crate::remove_at(self.target, OsStr::from_bytes(self.name.as_bytes()))
    }
}

struct Copy<'a> {
    from: Cursor,
    to: Cursor,
    links: &'a Links<'a>,
    goes_on: &'a GoesOn<'a>,
}

impl Copy<'_> {
    fn all(&mut self) -> io::Result<()> {
        loop {
            match self.from.next().map_err(|error| self.from.told(None, &error))? {
                Some(name) => self.entry(&name).map_err(|error| self.from.told(Some(&name), &error))?,
                None => match self.leave().map_err(|error| self.from.told(None, &error))? {
                    true => {}
                    false => return Ok(()),
                },
            }
        }
    }

    /// Goes up from a folder that is whole; `false` at the top.
    fn leave(&mut self) -> io::Result<bool> {
        let (from, to) = (reopen(self.from.here()?)?, reopen(self.to.here()?)?);
        let left = self.from.leave()? && self.to.leave()?;
        if left {
            like(&from, &to)?;
        }
        Ok(left)
    }

    fn entry(&mut self, name: &CStr) -> io::Result<()> {
        (self.goes_on)()?;
        let (from, to) = (self.from.here()?, self.to.here()?);
        let stat = match statat(from, name, AtFlags::SYMLINK_NOFOLLOW) {
            // It went meanwhile.
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            mkdirat(to, name, Mode::RWXU)?;
            return self.from.enter(name).and_then(|()| self.to.enter(name));
        }
        if stat.st_nlink > 1 && self.links.link(&stat, to, name)? {
            return Ok(());
        }
        match kind {
            FileType::RegularFile => file(from, to, name, self.goes_on)?,
            FileType::Symlink => {
                let link = readlinkat(from, name, Vec::new())?;
                symlinkat(link.as_c_str(), to, name)?;
                named(to, name, &stat)?;
            }
            FileType::Fifo | FileType::Socket | FileType::CharacterDevice | FileType::BlockDevice => {
                mknodat(to, name, kind, Mode::from_raw_mode(stat.st_mode & 0o7777), stat.st_rdev)?;
                named(to, name, &stat)?;
            }
            FileType::Directory | FileType::Unknown => return Ok(()),
        }
        if stat.st_nlink > 1 { self.links.remember(&stat, to, name) } else { Ok(()) }
    }
}

/// A descriptor of the same folder.
fn reopen(dir: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    dir.try_clone_to_owned()
}

/// Gives a folder the owner, mode, times and attributes of another.
fn like(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    let stat = fstat(from)?;
    attributes(from, to)?;
    owned(to, &stat)?;
    Ok(futimens(to, &times(&stat))?)
}

fn file(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, goes_on: &GoesOn<'_>) -> io::Result<()> {
    // Should it have become a pipe meanwhile, opening it does not wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let source = openat(from, name, flags, Mode::empty())?;
    let stat = fstat(&source)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("it changed while it was copied"));
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = openat(to, name, flags, Mode::RUSR | Mode::WUSR)?;
    if ioctl_ficlone(&target, &source).is_err() {
        content(&source, &target, stat.st_size as u64, goes_on)?;
    }
    attributes(&source, &target)?;
    owned(&target, &stat)?;
    Ok(futimens(&target, &times(&stat))?)
}

/// Copies what is not a hole.
fn content(source: &OwnedFd, target: &OwnedFd, size: u64, goes_on: &GoesOn<'_>) -> io::Result<()> {
    let mut at = 0;
    loop {
        let start = match seek(source, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = seek(source, SeekFrom::Hole(start))?;
        let (mut read, mut written) = (start, start);
        while read < end {
            goes_on()?;
            let length = usize::try_from(end - read).unwrap_or(COPY_AT_ONCE).min(COPY_AT_ONCE);
            let copied = match copy_file_range(source, Some(&mut read), target, Some(&mut written), length) {
                // Not between these two file systems.
                Err(Errno::XDEV | Errno::NOTSUP | Errno::INVAL | Errno::NOSYS) => {
                    piece(source, &mut read, target, length)?
                }
                other => other?,
            };
            written = read;
            if copied == 0 {
                // It was cut meanwhile.
                return Ok(ftruncate(target, read)?);
            }
        }
        at = end;
    }
    Ok(ftruncate(target, size.max(at))?)
}

/// Copies a piece through this process; says how much it was.
fn piece(source: &OwnedFd, at: &mut u64, target: &OwnedFd, length: usize) -> io::Result<usize> {
    let mut buffer = vec![0; length.min(1 << 20)];
    let read = pread(source, &mut buffer, *at)?;
    let mut rest = &buffer[..read];
    while !rest.is_empty() {
        let written = pwrite(target, rest, *at)?;
        rest = &rest[written..];
        *at += written as u64;
    }
    Ok(read)
}

fn attributes(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    let mut names = vec![0u8; 64 << 10];
    let length = match flistxattr(from, &mut names) {
        Err(Errno::NOTSUP) => return Ok(()),
        other => other?,
    };
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        // Where there is overlayfs, these are its own.
        if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
            continue;
        }
        let name = CString::new(name)?;
        let mut value = vec![0u8; 64 << 10];
        let size = fgetxattr(from, &name, &mut value)?;
        fsetxattr(to, &name, &value[..size], XattrFlags::empty())?;
    }
    Ok(())
}

/// The mode comes after the owner: a change of owner takes set-user bits away.
fn owned(fd: &OwnedFd, stat: &Stat) -> io::Result<()> {
    fchown(fd, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    Ok(fchmod(fd, Mode::from_raw_mode(stat.st_mode & 0o7777))?)
}

/// The same for what cannot be opened; its mode was set when it was made, or it has none.
fn named(dir: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(utimensat(dir, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?)
}

fn times(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime, tv_nsec: stat.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{DEPTH, nest, quick};
    use std::{
        fs::{self, File},
        os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink},
    };

    #[test]
    fn a_copy_that_is_called_off_ends_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        for path in [&from, &to] {
            fs::create_dir(path).unwrap();
        }
        (0..10).for_each(|n| fs::write(from.join(n.to_string()), "x").unwrap());
        let asked = std::cell::Cell::new(0);
        let goes_on = || {
            asked.set(asked.get() + 1);
            if asked.get() > 6 { Err(io::Error::other("called off")) } else { Ok(()) }
        };
        assert_eq!(copy(&from, &to, &goes_on).unwrap_err().to_string(), "called off");
        assert!(fs::read_dir(&to).unwrap().count() < 10);
    }

    #[test]
    fn a_copy_is_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("deep/er")).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(from.join("deep/er/text"), "hello").unwrap();
        fs::set_permissions(from.join("deep/er/text"), fs::Permissions::from_mode(0o4751)).unwrap();
        fs::hard_link(from.join("deep/er/text"), from.join("same")).unwrap();
        symlink("/etc/passwd", from.join("absolute")).unwrap();
        symlink("gone", from.join("deep/dangling")).unwrap();
        let sparse = File::create(from.join("sparse")).unwrap();
        sparse.write_all_at(b"x", 5 << 30).unwrap();
        sparse.set_len(6 << 30).unwrap();
        mknodat(open(&from).unwrap(), "pipe", FileType::Fifo, Mode::RUSR, 0).unwrap();
        let file = File::open(from.join("same")).unwrap();
        let attributed = fsetxattr(&file, "user.origin", b"home", XattrFlags::empty()).is_ok();
        fs::set_permissions(from.join("deep"), fs::Permissions::from_mode(0o1711)).unwrap();

        copy(&from, &to, &|| Ok(())).unwrap();

        assert_eq!(fs::read_to_string(to.join("same")).unwrap(), "hello");
        let meta = |path: &str| fs::symlink_metadata(to.join(path)).unwrap();
        assert_eq!(meta("same").ino(), meta("deep/er/text").ino(), "one file with two names");
        assert_eq!((meta("same").mode() & 0o7777, meta("deep").mode() & 0o7777), (0o4751, 0o1711));
        assert_eq!(fs::read_link(to.join("absolute")).unwrap(), Path::new("/etc/passwd"));
        assert_eq!(fs::read_link(to.join("deep/dangling")).unwrap(), Path::new("gone"));
        assert_eq!(meta("sparse").len(), 6 << 30);
        assert!(meta("sparse").blocks() < 100, "holes were filled");
        let mut byte = [0];
        File::open(to.join("sparse")).unwrap().read_exact_at(&mut byte, 5 << 30).unwrap();
        assert_eq!(&byte, b"x");
        assert!(std::os::unix::fs::FileTypeExt::is_fifo(&meta("pipe").file_type()));
        let before = fs::metadata(from.join("same")).unwrap();
        assert_eq!(meta("same").modified().unwrap(), before.modified().unwrap());
        if attributed {
            let mut value = [0u8; 16];
            let copied = File::open(to.join("same")).unwrap();
            let size = fgetxattr(&copied, "user.origin", &mut value).unwrap();
            assert_eq!(&value[..size], b"home");
        }
    }

    #[test]
    fn many_names_and_deep_folders_are_copied_with_nothing_left_over() {
        let dir = quick();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir(&from).unwrap();
        fs::create_dir(&to).unwrap();
        let deepest = nest(&from, DEPTH);
        drop(openat(&deepest, "file", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap());
        linkat(&deepest, "file", open(&from).unwrap(), "first", AtFlags::empty()).unwrap();
        linkat(&deepest, "file", &deepest, "third", AtFlags::empty()).unwrap();
        fs::write(from.join(".copied-0"), "a stranger's").unwrap();
        fs::write(dir.path().join("outside"), "two names, one of them elsewhere").unwrap();
        fs::hard_link(dir.path().join("outside"), from.join("inside")).unwrap();

        copy(&from, &to, &|| Ok(())).unwrap();

        let mut at = open(&to).unwrap();
        for _ in 0..DEPTH {
            at = crate::cursor::open_at(&at, c"d").unwrap();
        }
        let stat = |name| statat(&at, name, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        assert_eq!((stat("file").st_ino, stat("file").st_nlink), (stat("third").st_ino, 3));
        assert_eq!(stat("file").st_ino, fs::metadata(to.join("first")).unwrap().ino());
        let mut names: Vec<_> = fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".copied-0", "d", "first", "inside"]);
        assert_eq!(fs::metadata(to.join("inside")).unwrap().nlink(), 1);
        crate::remove(&from).unwrap();
        crate::remove(&to).unwrap();
    }
}
