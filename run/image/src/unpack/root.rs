//! A folder that nothing gets out of: every path is resolved by the kernel (openat2, RESOLVE_IN_ROOT) as
//! if the folder were `/`, so symbolic links that an archive brings lead to places inside it.

use super::Refused;
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, XattrFlags},
    io::Errno,
};
use std::{
    ffi::{OsStr, OsString},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path, PathBuf},
};

/// What a path may take, with the byte that ends it (linux/limits.h).
const PATH_MAX: usize = 4096;

/// The opened folder.
pub(super) struct Root {
    fd: OwnedFd,
    /// The attribute that makes a folder hide what is below it: trusted.* is root's alone.
    opaque: &'static str,
}

/// What a name was before it was taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Was {
    Nothing,
    Whiteout,
    Something,
}

/// The parts of an archive's path, within the layer: `/` is the layer's root, and `..` takes the name before
/// it away, as Go's `filepath.Clean` and so podman, containerd and docker have it.
///
/// # Errors
/// The path goes up out of the layer, is too long, or holds a NUL.
pub(super) fn clean(path: &[u8]) -> Result<PathBuf, Refused> {
    if path.contains(&0) {
        return Err(Refused::Unsafe("its name holds a NUL"));
    }
    if path.len() >= PATH_MAX {
        return Err(Refused::Unsafe("its path is longer than the 4,096 bytes that Linux takes"));
    }
    let mut clean = PathBuf::new();
    for part in Path::new(OsStr::from_bytes(path)).components() {
        match part {
            Component::Normal(part) => clean.push(part),
            Component::CurDir => {}
            // At `/`, `..` is `/`.
            Component::ParentDir if clean.pop() || path.starts_with(b"/") => {}
            Component::ParentDir => {
                return Err(Refused::Unsafe("its path goes up with `..`, out of the layer"));
            }
            Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Ok(clean)
}

impl Root {
    pub(super) fn open(dir: &Path) -> Result<Root, Refused> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(dir, flags, Mode::empty())?;
        let root = rustix::process::geteuid().is_root();
        Ok(Root { fd, opaque: if root { "trusted.overlay.opaque" } else { "user.overlay.opaque" } })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Opens a folder inside; `None` when it is not there or not a folder.
    pub(super) fn folder(&self, path: &Path) -> Result<Option<OwnedFd>, Refused> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), resolve) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(Errno::LOOP) => Err(Refused::Unsafe("symbolic links lead in a circle")),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The folder that holds `path`, created if need be, and the last name of `path`.
    pub(super) fn parent(&self, path: &Path) -> Result<(OwnedFd, OsString), Refused> {
        let name = path.file_name().ok_or(Refused::Unsafe("it has no name"))?.to_owned();
        let parent = path.parent().unwrap_or(Path::new(""));
        if let Some(fd) = self.folder(parent)? {
            return Ok((fd, name));
        }
        let mut at = PathBuf::new();
        let mut fd = self.folder(&at)?.ok_or(Refused::Unsafe("the layer's folder is gone"))?;
        for part in parent.components() {
            at.push(part);
            fd = match self.folder(&at)? {
                Some(fd) => fd,
                None => {
                    self.make_folder(&fd, part.as_os_str())?;
                    self.folder(&at)?.ok_or(Refused::Unsafe("a part of its path is not a folder"))?
                }
            };
        }
        Ok((fd, name))
    }

    /// Makes a folder that an archive left out. A whiteout gives way: what it hides stays hidden.
    fn make_folder(&self, parent: &OwnedFd, name: &OsStr) -> Result<(), Refused> {
        let hides = match self.look(parent, name)? {
            Was::Nothing => false,
            Was::Whiteout => self.clear(parent, name)? == Was::Whiteout,
            Was::Something => return Err(Refused::Unsafe("a part of its path is not a folder")),
        };
        self.make(parent, name, 0o755)?;
        if hides { self.hide_below(parent, name) } else { Ok(()) }
    }

    /// Makes the folder `name`. Links that the layer brought may have led far down: what has no path that
    /// the system takes is refused, for nobody could use it or look at it.
    pub(super) fn make(&self, parent: &OwnedFd, name: &OsStr, mode: u32) -> Result<(), Refused> {
        let link = Path::new("/proc/self/fd").join(parent.as_raw_fd().to_string());
        let length = match rustix::fs::readlink(link, Vec::new()) {
            Ok(path) => path.as_bytes().len() + 1 + name.len(),
            Err(Errno::NAMETOOLONG) => usize::MAX,
            Err(errno) => return Err(errno.into()),
        };
        if length >= PATH_MAX {
            return Err(Refused::Unsafe("its folders are nested too deep: paths take 4,096 bytes at most"));
        }
        Ok(rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(mode))?)
    }

    /// What `name` is now.
    pub(super) fn look(&self, parent: &OwnedFd, name: &OsStr) -> Result<Was, Refused> {
        match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                let whiteout =
                    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0;
                Ok(if whiteout { Was::Whiteout } else { Was::Something })
            }
            Err(Errno::NOENT) => Ok(Was::Nothing),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether `name` is a folder itself, not a link to one.
    pub(super) fn is_folder(&self, parent: &OwnedFd, name: &OsStr) -> Result<bool, Refused> {
        match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Takes `name` away, a folder with all that is in it, and says what it was.
    pub(super) fn clear(&self, parent: &OwnedFd, name: &OsStr) -> Result<Was, Refused> {
        let was = self.look(parent, name)?;
        if was == Was::Nothing {
            return Ok(was);
        }
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) => Ok(was),
            Err(Errno::ISDIR | Errno::PERM) => {
                freehold_tree::remove_at(parent, name)?;
                Ok(was)
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Marks a folder so that overlayfs shows nothing of the layers below in it.
    pub(super) fn hide_below(&self, parent: &OwnedFd, name: &OsStr) -> Result<(), Refused> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.make_opaque(&rustix::fs::openat(parent, name, flags, Mode::empty())?)
    }

    /// Like [`Root::hide_below`], for a folder that is open.
    pub(super) fn make_opaque(&self, folder: &OwnedFd) -> Result<(), Refused> {
        Ok(rustix::fs::fsetxattr(folder, self.opaque, b"y", XattrFlags::empty())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_within_the_layer() {
        for (path, good) in [
            ("a/b", Some("a/b")),
            ("./a//b/.", Some("a/b")),
            ("./", Some("")),
            ("/a", Some("a")),
            ("//a//b/", Some("a/b")),
            ("/", Some("")),
            ("", Some("")),
            ("a/../b", Some("b")),
            ("a/b/../..", Some("")),
            ("/../a", Some("a")),
            ("a/../../b", None),
            ("./../b", None),
            ("..", None),
            ("a\0b", None),
        ] {
            assert_eq!(clean(path.as_bytes()).ok(), good.map(PathBuf::from), "{path:?}");
        }
    }
}
