//! Applies the entries of a layer's archive to its folder: files, folders, links, whiteouts, and their
//! owners, modes, times and attributes (image spec, "Image Layer Filesystem Changeset").

use super::{
    Refused, header,
    root::{Root, Was, clean},
    sparse::{self, STRETCH},
};
use rustix::{
    fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags},
    io::Errno,
};
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};
use tar::EntryType;

/// What is left free on the disk, unless a twentieth of it is less.
const RESERVE: u64 = 256 << 20;

/// What the names and attributes of all folders of a layer may take in memory.
const NOTES: usize = 64 << 20;

/// A layer in the making.
pub(super) struct Unpacker {
    root: Root,
    bytes_left: u64,
    /// How much the disk has room for.
    room: u64,
    stretch: Vec<u8>,
    /// Only root may give files away.
    owns: bool,
    /// Applied last and from the bottom up: writing into a folder changes its time, and its mode may
    /// forbid us to write.
    folders: BTreeMap<PathBuf, Attributes>,
    /// How many bytes of names and attributes may still be kept for them.
    notes_left: usize,
}

/// What an entry says about a file besides its content.
#[derive(Debug, Default)]
struct Attributes {
    uid: u32,
    gid: u32,
    mode: u32,
    time: (i64, i64),
    extended: Vec<(String, Vec<u8>)>,
}

impl Unpacker {
    pub(super) fn open(dir: &Path, bytes: u64) -> Result<Unpacker, Refused> {
        let owns = rustix::process::geteuid().is_root();
        Ok(Unpacker {
            root: Root::open(dir)?,
            bytes_left: bytes,
            room: room(dir)?,
            stretch: vec![0; STRETCH],
            owns,
            folders: BTreeMap::new(),
            notes_left: NOTES,
        })
    }

    /// Applies one entry and reads it to its end.
    pub(super) fn apply<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> Result<(), Refused> {
        let kind = header::kind(entry.header());
        if !kind.is_pax_global_extensions() {
            let path = clean(&entry.path_bytes())?;
            self.spend(entry.size())?;
            let attributes = Attributes::of(entry)?;
            match path.file_name() {
                None if kind.is_dir() => self.note(path, attributes)?,
                None => return Err(Refused::Unsafe("only a folder can be the root")),
                Some(name) => match name.as_bytes().strip_prefix(b".wh.") {
                    Some(hidden) => self.whiteout(&path, hidden)?,
                    None => self.create(kind, path, attributes, entry)?,
                },
            }
        }
        io::copy(entry, &mut io::sink())?;
        Ok(())
    }

    /// Settles the folders and makes the layer durable.
    pub(super) fn finish(self) -> Result<(), Refused> {
        for (path, attributes) in self.folders.iter().rev() {
            if let Some(folder) = self.root.folder(path)? {
                attributes.apply(&folder, self.owns)?;
            }
        }
        Ok(rustix::fs::syncfs(self.root.fd())?)
    }

    fn spend(&mut self, bytes: u64) -> Result<(), Refused> {
        let left = self.bytes_left.checked_sub(bytes);
        self.bytes_left = left.ok_or(Refused::Unsafe("the layer unpacks to more bytes than is allowed"))?;
        Ok(())
    }

    /// Keeps what a folder was told until all is in it.
    fn note(&mut self, path: PathBuf, attributes: Attributes) -> Result<(), Refused> {
        let extended: usize = attributes.extended.iter().map(|(name, value)| name.len() + value.len()).sum();
        let left = self.notes_left.checked_sub(path.as_os_str().len() + extended);
        self.notes_left = left.ok_or(Refused::Unsafe(
            "the names and attributes of the layer's folders take more than the 64 MiB that are allowed",
        ))?;
        self.folders.insert(path, attributes);
        Ok(())
    }

    fn create<R: Read>(
        &mut self,
        kind: EntryType,
        path: PathBuf,
        attributes: Attributes,
        entry: &mut tar::Entry<'_, R>,
    ) -> Result<(), Refused> {
        if kind.is_character_special() || kind.is_block_special() {
            // Root filesystems made by debootstrap hold these. A container gets a /dev of its own, so
            // there they are left out; anywhere else a device is an attack.
            return if path.starts_with("dev") { Ok(()) } else { Err(Refused::Unsafe("it is a device")) };
        }
        let (parent, name) = self.root.parent(&path)?;
        // What an earlier folder of this name was told, it does not tell what replaces it.
        self.folders.remove(&path);
        match kind {
            EntryType::Directory => {
                self.folder(&parent, &name)?;
                self.note(path, attributes)
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.root.clear(&parent, &name)?;
                self.file(&parent, &name, &attributes, entry)
            }
            EntryType::Link => {
                let target = clean(&entry.link_name_bytes().ok_or(Refused::Unsafe("it links to nothing"))?)?;
                self.hard_link(&path, &target, &parent, &name)
            }
            EntryType::Symlink => {
                let target =
                    entry.link_name_bytes().ok_or(Refused::Unsafe("it links to nothing"))?.into_owned();
                if target.contains(&0) {
                    return Err(Refused::Unsafe("its target holds a NUL"));
                }
                self.root.clear(&parent, &name)?;
                rustix::fs::symlinkat(OsStr::from_bytes(&target), &parent, &name)?;
                attributes.apply_to_name(&parent, &name, self.owns)
            }
            EntryType::Fifo => {
                self.root.clear(&parent, &name)?;
                rustix::fs::mknodat(&parent, &name, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
                attributes.apply_to_name(&parent, &name, self.owns)?;
                Ok(rustix::fs::chmodat(&parent, &name, attributes.mode(), AtFlags::empty())?)
            }
            _ => Err(Refused::Unsafe("it is of a kind that layers do not have")),
        }
    }

    fn folder(&self, parent: &OwnedFd, name: &OsStr) -> Result<(), Refused> {
        if self.root.is_folder(parent, name)? {
            return Ok(());
        }
        let was = self.root.clear(parent, name)?;
        self.root.make(parent, name, 0o700)?;
        // Deleted and made anew in one layer: what the lower layers have in it stays deleted.
        if was == Was::Whiteout { self.root.hide_below(parent, name) } else { Ok(()) }
    }

    fn file<R: Read>(
        &mut self,
        parent: &OwnedFd,
        name: &OsStr,
        attributes: &Attributes,
        entry: &mut tar::Entry<'_, R>,
    ) -> Result<(), Refused> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600))?;
        let file = File::from(fd);
        let size = entry.size();
        if sparse::copy(entry, &file, &mut self.stretch, &mut self.room)? != size {
            return Err(Refused::Unsafe("the archive ends in the middle of it"));
        }
        attributes.apply(&OwnedFd::from(file), self.owns)
    }

    fn hard_link(&self, path: &Path, target: &Path, parent: &OwnedFd, name: &OsStr) -> Result<(), Refused> {
        if path == target {
            return Err(Refused::Unsafe("it is a hard link to itself"));
        }
        let missing = Refused::Unsafe("it is a hard link to something that is not in this layer");
        let last = target.file_name().ok_or(Refused::Unsafe("it is a hard link to the root"))?;
        let Some(folder) = self.root.folder(target.parent().unwrap_or(Path::new("")))? else {
            return Err(missing);
        };
        if self.root.look(&folder, last)? != Was::Something || self.root.is_folder(&folder, last)? {
            return Err(missing);
        }
        self.root.clear(parent, name)?;
        match rustix::fs::linkat(&folder, last, parent, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Err(missing),
            other => Ok(other?),
        }
    }

    /// `.wh.name` hides `name` of the layers below; `.wh..wh..opq` hides everything in its folder.
    fn whiteout(&self, path: &Path, hidden: &[u8]) -> Result<(), Refused> {
        let (parent, _) = self.root.parent(path)?;
        if hidden == b".wh..opq" {
            return self.root.make_opaque(&parent);
        }
        if hidden.starts_with(b".wh.") {
            return Ok(()); // AUFS kept its own books under such names.
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(Refused::Unsafe("it hides nothing that has a name"));
        }
        let name = OsString::from(OsStr::from_bytes(hidden));
        match self.root.look(&parent, &name)? {
            Was::Nothing => {
                let mode = Mode::from_raw_mode(0o600);
                Ok(rustix::fs::mknodat(&parent, &name, FileType::CharacterDevice, mode, 0)?)
            }
            // This layer has its own already, and a whiteout speaks of lower layers only.
            Was::Something if self.root.is_folder(&parent, &name)? => self.root.hide_below(&parent, &name),
            Was::Something | Was::Whiteout => Ok(()),
        }
    }
}

impl Attributes {
    fn of<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Attributes, Refused> {
        let header = entry.header().as_old();
        let id = |id: Option<i64>| {
            let id = id.and_then(|id| u32::try_from(id).ok()).filter(|id| *id != u32::MAX);
            id.ok_or(Refused::Unsafe("its owner is no user id"))
        };
        let mode = header::number(&header.mode).ok_or(Refused::Unsafe("its mode is no number"))?;
        let time = header::number(&header.mtime).ok_or(Refused::Unsafe("its time is no number"))?;
        let mut attributes = Attributes {
            uid: id(header::number(&header.uid))?,
            gid: id(header::number(&header.gid))?,
            mode: (mode & 0o7777) as u32,
            time: (time, 0),
            extended: Vec::new(),
        };
        if let Some(extensions) = entry.pax_extensions()? {
            for extension in extensions {
                let extension = extension?;
                let Ok(key) = extension.key() else { continue };
                if key.starts_with("GNU.sparse.") {
                    // The archive reader does not know this format and would give the file's map as its content.
                    return Err(Refused::Unsafe(
                        "it is a sparse file in the pax format; pack it without --sparse",
                    ));
                }
                if key == "mtime" {
                    let time = extension.value().ok().and_then(header::pax_time);
                    attributes.time = time.ok_or(Refused::Unsafe("its time is no number"))?;
                } else if let Some(name) = key.strip_prefix("SCHILY.xattr.").filter(|name| is_welcome(name)) {
                    attributes.extended.push((name.to_owned(), extension.value_bytes().to_vec()));
                }
            }
        }
        Ok(attributes)
    }

    fn mode(&self) -> Mode {
        Mode::from_raw_mode(self.mode)
    }

    /// Applies all to an open file or folder. The order matters: a change of owner takes the set-user-id
    /// bit and the capabilities away.
    fn apply(&self, fd: &OwnedFd, owns: bool) -> Result<(), Refused> {
        if owns {
            let given = rustix::fs::fchown(fd, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)));
            given.map_err(|error| self.not_given(error))?;
        }
        for (name, value) in &self.extended {
            match rustix::fs::fsetxattr(fd, name.as_str(), value, XattrFlags::empty()) {
                Ok(()) | Err(Errno::OPNOTSUPP) => {}
                Err(Errno::PERM) if !owns => {}
                Err(errno) => {
                    let (name, bytes) = (name.clone(), value.len());
                    return Err(Refused::Attribute { name, bytes, source: errno.into() });
                }
            }
        }
        rustix::fs::fchmod(fd, self.mode())?;
        Ok(rustix::fs::futimens(fd, &self.times())?)
    }

    /// Applies owner and time to what cannot be opened: a link or a fifo.
    fn apply_to_name(&self, parent: &OwnedFd, name: &OsStr, owns: bool) -> Result<(), Refused> {
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        if owns {
            let given = rustix::fs::chownat(
                parent,
                name,
                Some(Uid::from_raw(self.uid)),
                Some(Gid::from_raw(self.gid)),
                nofollow,
            );
            given.map_err(|error| self.not_given(error))?;
        }
        Ok(rustix::fs::utimensat(parent, name, &self.times(), nofollow)?)
    }

    /// A user that does not exist in the user namespace of this process is an invalid argument (chown(2)).
    fn not_given(&self, error: Errno) -> Refused {
        match error {
            Errno::INVAL => Refused::Owner { uid: self.uid, gid: self.gid },
            error => error.into(),
        }
    }

    fn times(&self) -> Timestamps {
        let time = Timespec { tv_sec: self.time.0, tv_nsec: self.time.1 };
        Timestamps { last_access: time, last_modification: time }
    }
}

/// How much may be written before the disk is so full that others suffer.
fn room(dir: &Path) -> Result<u64, Refused> {
    let disk = rustix::fs::statvfs(dir)?;
    let reserve = (disk.f_blocks / 20).saturating_mul(disk.f_frsize).min(RESERVE);
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize).saturating_sub(reserve))
}

/// Attributes that a layer may bring. Those of overlayfs would let it redirect what it shows, and those of
/// security modules belong to the machine it comes from.
fn is_welcome(name: &str) -> bool {
    name == "security.capability" || (name.starts_with("user.") && !name.starts_with("user.overlay."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_of_overlayfs_are_not_taken() {
        for (name, welcome) in [
            ("user.a", true),
            ("security.capability", true),
            ("user.overlay.redirect", false),
            ("trusted.overlay.opaque", false),
            ("security.selinux", false),
            ("system.posix_acl_access", false),
        ] {
            assert_eq!(is_welcome(name), welcome, "{name}");
        }
    }
}
