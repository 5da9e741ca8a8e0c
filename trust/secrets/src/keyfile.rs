//! A file of keys for its owner alone: `<data>/keys/secrets.key` of the house, `node.key` of a node.
//!
//! The first key seals; those after it are older and only open, until a rotation is done with them.
//! Invariant: no other user of the machine can ever read it, and a crash at any moment leaves either the
//! keys before a change or those after it.

use crate::{Key, Recipient};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// A key file and what it holds.
#[derive(Debug, Clone)]
pub struct KeyFile {
    path: PathBuf,
    keys: Vec<Key>,
}

/// A key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Other users could have read the keys.
    #[error(
        "{path} can be read by other users (mode {mode:04o}): if none of them may have the keys, \
         `chmod 600 {path}`; otherwise do that, start, and `freehold key rotate`", path = path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file has something else in it.
    #[error(
        "{path} holds no age key, or something else beside it: restore it from a backup; without it, what it \
         sealed is lost", path = path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read or written.
    #[error("the key file {path} cannot be {what}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl KeyFile {
    /// Reads the keys, or makes one if there is no file yet.
    ///
    /// # Errors
    /// When other users may read the file, when it holds no keys, or when it cannot be read or made.
    pub fn open(path: &Path) -> Result<KeyFile, KeyFileError> {
        if let Some(keys) = read(path)? {
            return Ok(KeyFile { path: path.into(), keys });
        }
        let mut file = KeyFile { path: path.into(), keys: vec![] };
        file.replace(vec![Key::generate()])?;
        Ok(file)
    }

    /// Every key, the one that seals first.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The key that seals.
    pub fn current(&self) -> &Key {
        &self.keys[0]
    }

    /// The public half of the key that seals.
    pub fn recipient(&self) -> Recipient {
        self.current().recipient()
    }

    /// Adds a new key that seals from now on; the others go on opening.
    ///
    /// # Errors
    /// When the file cannot be written; then the keys are as before.
    pub fn add(&mut self) -> Result<(), KeyFileError> {
        self.replace([vec![Key::generate()], self.keys.clone()].concat())
    }

    /// Forgets every key but the one that seals.
    ///
    /// # Errors
    /// When the file cannot be written; then the keys are as before.
    pub fn forget_older(&mut self) -> Result<(), KeyFileError> {
        self.replace(vec![self.current().clone()])
    }

    fn replace(&mut self, keys: Vec<Key>) -> Result<(), KeyFileError> {
        write(&self.path, &keys).map_err(io_error(&self.path, "written"))?;
        self.keys = keys;
        Ok(())
    }
}

/// The keys in the file, or `None` if there is no file. Looks at the mode of the very file it reads.
fn read(path: &Path) -> Result<Option<Vec<Key>>, KeyFileError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(io_error(path, "opened"))?,
    };
    let mode = file.metadata().map_err(io_error(path, "inspected"))?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Exposed { path: path.into(), mode });
    }
    // A key has 74 characters; whatever fills more than this is something else.
    let mut text = Zeroizing::new(String::with_capacity(64 << 10));
    file.take(64 << 10).read_to_string(&mut text).map_err(io_error(path, "read"))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys: Option<Vec<Key>> = lines.map(Key::read).collect();
    match keys {
        Some(keys) if !keys.is_empty() => Ok(Some(keys)),
        _ => Err(KeyFileError::Malformed { path: path.into() }),
    }
}

/// Makes the whole file appear at once: written beside, synced, renamed into place.
fn write(path: &Path, keys: &[Key]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let draft = path.with_extension("new");
    // What a crash may have left.
    let _ = fs::remove_file(&draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let mut text = Zeroizing::new(String::with_capacity(256 + keys.len() * 160));
    text.push_str("# Freehold opens secrets with these. Keep a copy where only you can read it.\n");
    for key in keys {
        text.push_str(&format!("# public key: {}\n", key.recipient()));
        text.push_str(&key.reveal());
        text.push('\n');
    }
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all())?;
    fs::rename(&draft, path)?;
    File::open(folder)?.sync_all()
}

fn io_error(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> KeyFileError {
    move |source| KeyFileError::Io { path: path.into(), what, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_first_open_makes_it_for_its_owner_alone_and_later_ones_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/secrets.key");
        let (first, second) = (KeyFile::open(&path).unwrap(), KeyFile::open(&path).unwrap());
        assert_eq!(first.recipient().to_string(), second.recipient().to_string());
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left behind");
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.key");
        KeyFile::open(&path).unwrap();
        for mode in [0o644, 0o640, 0o604, 0o620] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = KeyFile::open(&path).unwrap_err();
            assert!(matches!(error, KeyFileError::Exposed { .. }), "{error}");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn an_added_key_seals_and_the_older_ones_stay_until_they_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.key");
        let mut file = KeyFile::open(&path).unwrap();
        let first = file.recipient().to_string();
        file.add().unwrap();
        let again = KeyFile::open(&path).unwrap();
        let recipients = |file: &KeyFile| -> Vec<String> {
            file.keys().iter().map(|key| key.recipient().to_string()).collect()
        };
        assert_eq!(recipients(&again), recipients(&file));
        assert_eq!(recipients(&again)[1], first);
        file.forget_older().unwrap();
        assert_eq!(KeyFile::open(&path).unwrap().keys().len(), 1);
        assert_ne!(file.recipient().to_string(), first);
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.key");
        KeyFile::open(&path).unwrap();
        for text in ["", "# a comment\n", "hunter2\n"] {
            fs::write(&path, text).unwrap();
            let error = KeyFile::open(&path).unwrap_err().to_string();
            assert!(error.contains("no age key") && !error.contains("hunter2"), "{error}");
        }
    }
}
