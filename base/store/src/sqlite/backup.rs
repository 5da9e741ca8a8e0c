//! Copies of a whole database: taken as of one moment while it may be in use, and proved before they count.
//! A backup and its restore are the same act.

use super::{SqliteStore, pool::Pool, schema, view::SqliteView};
use crate::{BackupError, chain};
use freehold_model::Seq;
use freehold_reconcile::ViewExt as _;
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

impl SqliteStore {
    /// Copies the database at `from` to `to`, where nothing may be yet; answers how many events it holds.
    /// The copy is its owner's alone, has been read through, and is there as a whole or not at all. Blocks.
    ///
    /// # Errors
    /// When `from` is none of ours or does not hold together, `to` exists, or a file fails.
    pub fn copy(from: &Path, to: &Path) -> Result<Seq, BackupError> {
        if to.exists() {
            return Err(BackupError::Exists { path: to.to_owned() });
        }
        let draft = Draft::make(to)?;
        let failed = |source| BackupError::Engine { path: from.to_owned(), source };
        let source = schema::open_reader(from).map_err(failed)?;
        schema::check(&source, from)?;
        let target = draft.0.to_str().ok_or_else(|| BackupError::Name { path: to.to_owned() })?;
        source.execute("VACUUM INTO ?1", [target]).map_err(failed)?;
        let events = prove(&draft.0, from)?;
        keep(&draft.0, to)?;
        Ok(events)
    }
}

/// The copy before it is proved; removed when it is dropped.
struct Draft(PathBuf);

impl Draft {
    fn make(to: &Path) -> Result<Draft, BackupError> {
        let mut name = to.file_name().ok_or_else(|| BackupError::Name { path: to.to_owned() })?.to_owned();
        name.push(format!(".new.{}", std::process::id()));
        let path = to.with_file_name(name);
        // What a killed process of the same number may have left.
        let _ = fs::remove_file(&path);
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        made.map_err(|source| BackupError::File { path: path.clone(), source })?;
        Ok(Draft(path))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Makes the file `draft` durable under its name `to`, never over another. The draft stays as well.
pub(super) fn keep(draft: &Path, to: &Path) -> Result<(), BackupError> {
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let kept = File::open(draft)
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::hard_link(draft, to))
        .and_then(|()| File::open(folder)?.sync_all());
    kept.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Exists { path: to.to_owned() },
        _ => BackupError::File { path: to.to_owned(), source },
    })
}

/// Reads all of the database at `path`, a copy of `from`, and walks its log.
fn prove(path: &Path, from: &Path) -> Result<Seq, BackupError> {
    let failed = |source| BackupError::Engine { path: from.to_owned(), source };
    let pool = Pool::new(path.to_owned());
    let reader = futures::executor::block_on(pool.lend()).map_err(failed)?;
    let reader = reader.expect("the pool is open");
    let check = "SELECT group_concat(integrity_check, '; ') FROM pragma_integrity_check";
    let found: String = reader.db().query_row(check, [], |row| row.get(0)).map_err(failed)?;
    if found != "ok" {
        return Err(BackupError::Damaged { path: from.to_owned(), problem: found });
    }
    let view = SqliteView::begin(reader).map_err(failed)?;
    let damaged = |problem: String| BackupError::Damaged { path: from.to_owned(), problem };
    let reached = view.greatest_version().map_err(|error| damaged(error.to_string()))?;
    let end = chain::verify(&view, reached).map_err(|error| damaged(error.to_string()))?;
    Ok(end - view.beginning().map_err(|error| damaged(error.to_string()))?)
}
