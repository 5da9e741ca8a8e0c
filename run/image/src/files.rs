//! Small files written whole or not at all, and unpredictable names for unfinished ones.

use crate::ImageError;
use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

/// Runs what waits for the disk where it holds nobody up.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))
}

/// A name that no other unfinished file has.
pub(crate) fn random_name() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}

/// Makes `path` hold `bytes`, whatever happens in between: written to `scratch` (a folder of the same
/// file system), made durable, renamed.
pub(crate) fn write_atomically(path: &Path, scratch: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    let unfinished = scratch.join(random_name());
    let write = || {
        let mut file = File::create_new(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    let written = write()
        .map_err(ImageError::io("write", &unfinished))
        .and_then(|()| rename_durably(&unfinished, path));
    if written.is_err() {
        // A full disk must not be filled further by what came to nothing.
        let _ = std::fs::remove_file(&unfinished);
    }
    written
}

/// Renames, and makes the rename survive a loss of power.
pub(crate) fn rename_durably(from: &Path, to: &Path) -> Result<(), ImageError> {
    let parent = to.parent().unwrap_or(Path::new("."));
    std::fs::rename(from, to)
        .and_then(|()| File::open(parent)?.sync_all())
        .map_err(ImageError::io("rename to", to))
}

/// Creates a folder and its parents.
pub(crate) fn create_dirs(path: &Path) -> Result<PathBuf, ImageError> {
    std::fs::create_dir_all(path).map_err(ImageError::io("create", path))?;
    Ok(path.to_owned())
}

/// Does `work` in a folder that others remove whenever it is empty: made again as often as it takes.
pub(crate) fn within<T>(dir: &Path, work: impl Fn() -> Result<T, ImageError>) -> Result<T, ImageError> {
    let mut left = 100;
    loop {
        create_dirs_again(dir)?;
        match work() {
            Err(ImageError::Io { source, .. }) if source.kind() == ErrorKind::NotFound && left > 0 => {
                left -= 1
            }
            done => return done,
        }
    }
}

/// Like [`create_dirs`], when a parent may vanish between two steps.
fn create_dirs_again(path: &Path) -> Result<(), ImageError> {
    let mut made = fs::create_dir_all(path);
    for _ in 0..100 {
        match &made {
            // It was there when it was made, and gone when it was looked at; or the other way round.
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists) => {
                made = fs::create_dir_all(path);
            }
            _ => break,
        }
    }
    made.map_err(ImageError::io("create", path))
}

/// The whole of a small file; `None` when there is none.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, ImageError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e)
            if e.kind() == std::io::ErrorKind::NotFound || e.kind() == std::io::ErrorKind::NotADirectory =>
        {
            Ok(None)
        }
        Err(e) => Err(ImageError::io("read", path)(e)),
    }
}

/// Removes a file; whether there was one.
pub(crate) fn remove_file(path: &Path) -> Result<bool, ImageError> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(ImageError::io("remove", path)(e)),
    }
}

/// The names in a folder, sorted; none when it is not there.
pub(crate) fn names(dir: &Path) -> Result<Vec<String>, ImageError> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(ImageError::io("list", dir)(e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(ImageError::io("list", dir))?;
        names.extend(entry.file_name().into_string().ok());
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_fails_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = tempfile::tempdir_in(dir.path()).unwrap();
        assert!(write_atomically(&dir.path().join("absent/x"), scratch.path(), b"x").is_err());
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
    }
}
