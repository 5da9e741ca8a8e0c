//! Copies a tree of files, as it is: owners, modes, times, extended attributes, symbolic and hard links,
//! pipes, sockets, and holes. Blocks are shared where the file system can (`FICLONE`).
//!
//! Goes from descriptor to descriptor with `O_NOFOLLOW`: whatever somebody does to the source meanwhile,
//! nothing outside it is read, and nothing outside the target is written.

use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid,
        XattrFlags, chownat, copy_file_range, fchmod, fchown, fgetxattr, flistxattr, fsetxattr, fstat,
        ftruncate, futimens, ioctl_ficlone, linkat, mkdirat, mknodat, openat, readlinkat, seek, statat,
        symlinkat, utimensat,
    },
    io::{Errno, pread, pwrite},
};
use std::{
    collections::HashMap,
    ffi::{CStr, CString},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

/// Deeper trees are refused: each level costs two descriptors.
const DEEPEST: usize = 1000;
const COPY_AT_ONCE: usize = 64 << 20;
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Copies everything in the directory `from` into the directory `to`, which is empty and which nobody else
/// touches; `to` gets the owner, mode, times and attributes of `from`.
///
/// `goes_on` is asked again and again, and what it answers ends the copy.
///
/// # Errors
/// At the first that cannot be read or written, with its path within the tree; or as `goes_on` says.
pub fn copy_tree(from: &Path, to: &Path, goes_on: &GoesOn<'_>) -> io::Result<()> {
    let (from, to) =
        (openat(CWD, from, DIRECTORY, Mode::empty())?, openat(CWD, to, DIRECTORY, Mode::empty())?);
    copy_dir(&from, &to, goes_on)
}

/// Says that a copy goes on, or why not.
pub type GoesOn<'a> = dyn Fn() -> io::Result<()> + 'a;

/// The same, of open directories.
pub(super) fn copy_dir(from: &OwnedFd, to: &OwnedFd, goes_on: &GoesOn<'_>) -> io::Result<()> {
    let mut copy = Copy { target: to.try_clone()?, linked: HashMap::new(), path: PathBuf::new(), goes_on };
    let copied = copy.directory(from, to).map_err(|error| copy.told(error));
    // Who ended it need not hear where it was.
    copied.map_err(|error| goes_on().err().unwrap_or(error))
}

struct Copy<'a> {
    goes_on: &'a GoesOn<'a>,
    target: OwnedFd,
    /// Where files with several names were copied to first.
    linked: HashMap<(u64, u64), PathBuf>,
    /// Where we are, within the tree.
    path: PathBuf,
}

impl Copy<'_> {
    fn told(&self, error: io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
    }

    fn directory(&mut self, from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
        if self.path.components().count() > DEEPEST {
            return Err(io::Error::other(format!("folders are nested more than {DEEPEST} deep")));
        }
        for entry in Dir::read_from(from)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            self.path.push(os(name));
            self.entry(from.as_fd(), to, name)?;
            self.path.pop();
        }
        let stat = fstat(from)?;
        attributes(from, to)?;
        owned(to, &stat)?;
        Ok(futimens(to, &times(&stat))?)
    }

    fn entry(&mut self, from: BorrowedFd<'_>, to: &OwnedFd, name: &CStr) -> io::Result<()> {
        (self.goes_on)()?;
        let stat = match statat(from, name, AtFlags::SYMLINK_NOFOLLOW) {
            // It went meanwhile.
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory && stat.st_nlink > 1 {
            if let Some(first) = self.linked.get(&(stat.st_dev, stat.st_ino)) {
                return Ok(linkat(&self.target, first, to, name, AtFlags::empty())?);
            }
            self.linked.insert((stat.st_dev, stat.st_ino), self.path.clone());
        }
        match kind {
            FileType::Directory => {
                let source = openat(from, name, DIRECTORY, Mode::empty())?;
                mkdirat(to, name, Mode::RWXU)?;
                self.directory(&source, &openat(to, name, DIRECTORY, Mode::empty())?)
            }
            FileType::RegularFile => file(from, to, name, self.goes_on),
            FileType::Symlink => {
                let link = readlinkat(from, name, Vec::new())?;
                symlinkat(link.as_c_str(), to, name)?;
                named(to, name, &stat)
            }
            FileType::Fifo | FileType::Socket | FileType::CharacterDevice | FileType::BlockDevice => {
                mknodat(to, name, kind, Mode::from_raw_mode(stat.st_mode & 0o7777), stat.st_rdev)?;
                named(to, name, &stat)
            }
            FileType::Unknown => Ok(()),
        }
    }
}

fn file(from: BorrowedFd<'_>, to: &OwnedFd, name: &CStr, goes_on: &GoesOn<'_>) -> io::Result<()> {
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
fn named(dir: &OwnedFd, name: &CStr, stat: &Stat) -> io::Result<()> {
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

fn os(name: &CStr) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(name.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
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
        assert_eq!(copy_tree(&from, &to, &goes_on).unwrap_err().to_string(), "called off");
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
        mknodat(openat(CWD, &from, DIRECTORY, Mode::empty()).unwrap(), "pipe", FileType::Fifo, Mode::RUSR, 0)
            .unwrap();
        let file = File::open(from.join("same")).unwrap();
        let attributed = fsetxattr(&file, "user.origin", b"home", XattrFlags::empty()).is_ok();
        fs::set_permissions(from.join("deep"), fs::Permissions::from_mode(0o1711)).unwrap();

        copy_tree(&from, &to, &|| Ok(())).unwrap();

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
}
