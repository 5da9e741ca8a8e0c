//! Files that appear whole or not at all, for their owner alone.

use super::MembershipError;
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};
use zeroize::Zeroizing;

/// No file of these is longer.
const LONGEST: u64 = 256 << 10;

/// Makes the folder, if it is not there.
pub(super) fn folder(path: &Path) -> Result<(), MembershipError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed(path, "made"))
}

/// The text of a file that no other user may read; `None` if there is none.
pub(super) fn read_own(path: &Path) -> Result<Option<Zeroizing<String>>, MembershipError> {
    let Some(file) = open(path)? else { return Ok(None) };
    let mode = file.metadata().map_err(failed(path, "inspected"))?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(MembershipError::Exposed { path: path.into(), mode });
    }
    let mut text = Zeroizing::new(String::with_capacity(4 << 10));
    file.take(LONGEST).read_to_string(&mut text).map_err(failed(path, "read"))?;
    Ok(Some(text))
}

/// The text of a file; `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<String>, MembershipError> {
    let Some(file) = open(path)? else { return Ok(None) };
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).map_err(failed(path, "read"))?;
    Ok(Some(text))
}

/// Puts `bytes` in the place of the file: written beside, synced, renamed.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), MembershipError> {
    let draft = path.with_extension("new");
    // What a crash may have left.
    let _ = fs::remove_file(&draft);
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(failed(path, "written"))
}

fn open(path: &Path) -> Result<Option<File>, MembershipError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path, "opened")(error)),
    }
}

fn failed(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> MembershipError {
    move |source| MembershipError::Io { path: path.into(), what, source }
}
