//! The data directory: what is in it, which format it has, and who runs over it.
//!
//! Called by `up` before anything is opened, and by `freehold upgrade`. Invariant: a directory that a
//! newer Freehold wrote is refused before anything in it changes. A released format never changes; a new
//! one is a new number and a step in [`STEPS`], tested on a directory that the release before wrote.

use anyhow::{Context, Result, bail};
use freehold_runtime::Installation;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// One step of migration, from the format before.
type Step = fn(&Path) -> Result<()>;

/// The n-th leads to format n + 2; format 1 is the first. The store within has migrations of its own.
const STEPS: &[Step] = &[];

/// The format that this program reads and writes.
const FORMAT: u32 = STEPS.len() as u32 + 1;

/// Which format a directory has: `format.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    /// Counted from 1.
    pub format: u32,
    /// The version of Freehold that brought it there.
    pub version: String,
}

impl Format {
    /// What this program writes.
    pub fn own() -> Format {
        Format { format: FORMAT, version: env!("CARGO_PKG_VERSION").into() }
    }

    fn file(data: &Path) -> PathBuf {
        data.join("format.json")
    }

    /// What `data` has; `None` when nothing was ever kept there. What was written before there was a
    /// `format.json` is format 1.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn of(data: &Path) -> Result<Option<Format>> {
        let file = Format::file(data);
        match fs::read(&file) {
            Ok(text) => {
                let read = serde_json::from_slice(&text);
                read.map(Some).with_context(|| format!("{} is damaged: {HELP}", file.display()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let first = Format { format: 1, version: "0.1.0".into() };
                Ok(data.join("state.db").exists().then_some(first))
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }
}

const HELP: &str = "restore the directory from a backup, or write `{\"format\":1,\"version\":\"0.1.0\"}` into it if you know that to be so";

/// Makes the directory and the folders that its parts keep there, with mode 0700, and brings an older
/// format up to date. The mode of a directory that exists is its owner's business: what is private is
/// private in it all the same.
pub(crate) fn prepare(data: &Path) -> Result<()> {
    let found = Format::of(data)?;
    if let Some(found) = found.as_ref().filter(|found| found.format > FORMAT) {
        bail!(
            "{} was written by Freehold {} in format {}; this is {}, which knows formats up to {FORMAT}: start the newer program, \
             or name another directory with --data",
            data.display(),
            found.version,
            found.format,
            env!("CARGO_PKG_VERSION"),
        );
    }
    let mut private = fs::DirBuilder::new();
    private.recursive(true).mode(0o700);
    let parts = ["images", "agent", "instances", "volumes"].map(|part| data.join(part));
    for folder in std::iter::once(data.to_owned()).chain(parts) {
        let made = private.create(&folder);
        made.with_context(|| format!("cannot make the data directory {}", folder.display()))?;
    }
    let from = found.as_ref().map_or(FORMAT, |found| found.format.max(1));
    for (number, step) in STEPS.iter().enumerate().skip(from as usize - 1) {
        step(data).with_context(|| format!("cannot bring {} to format {}", data.display(), number + 2))?;
        tracing::info!(format = number + 2, "migrated the data directory");
        write(data, &Format { format: number as u32 + 2, ..Format::own() })?;
    }
    if found != Some(Format::own()) || !Format::file(data).exists() {
        write(data, &Format::own())?;
    }
    Ok(())
}

/// What this installation's links, tables and control groups are named after.
pub(crate) fn installation(data: &Path) -> Result<Installation> {
    let file = data.join("installation");
    Installation::of(data).with_context(|| {
        format!(
            "cannot use {}: without an instance running here it can be removed, and is made again",
            file.display()
        )
    })
}

fn write(data: &Path, format: &Format) -> Result<()> {
    replace(&Format::file(data), format)
}

/// Writes JSON so that a reader sees all of it or what was there before, even after a power cut.
pub(crate) fn replace(path: &Path, value: &impl Serialize) -> Result<()> {
    let new = path.with_extension("new");
    let written = fs::File::create(&new).and_then(|mut file| {
        serde_json::to_writer(&mut file, value)?;
        file.sync_all()?;
        fs::rename(&new, path)
    });
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// The Freehold that is ready over a data directory: `up.json`, there while it serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// The program file that it was started from.
    pub program: PathBuf,
    /// Where its API answers.
    pub url: String,
    /// Since when it is ready.
    pub since: Timestamp,
}

impl Running {
    fn file(data: &Path) -> PathBuf {
        data.join("up.json")
    }

    /// Who serves `data`, if its process lives.
    pub fn over(data: &Path) -> Option<Running> {
        let running: Running = serde_json::from_slice(&fs::read(Running::file(data)).ok()?).ok()?;
        Path::new("/proc").join(running.pid.to_string()).exists().then_some(running)
    }

    /// Says so, until what is answered is dropped.
    pub(crate) fn note(self, data: &Path) -> Result<Noted> {
        let file = Running::file(data);
        replace(&file, &self)?;
        Ok(Noted(file))
    }
}

/// Takes the note away when it is dropped.
pub(crate) struct Noted(PathBuf);

impl Drop for Noted {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_directory_gets_the_newest_format_and_private_folders() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("deep/data");
        prepare(&data).unwrap();
        assert_eq!(Format::of(&data).unwrap(), Some(Format::own()));
        use std::os::unix::fs::PermissionsExt;
        for folder in ["", "images", "agent", "instances"] {
            assert_eq!(fs::metadata(data.join(folder)).unwrap().permissions().mode() & 0o777, 0o700);
        }
        prepare(&data).unwrap();
    }

    #[test]
    fn what_is_older_than_the_file_is_format_1() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Format::of(dir.path()).unwrap(), None);
        fs::write(dir.path().join("state.db"), "").unwrap();
        assert_eq!(Format::of(dir.path()).unwrap().unwrap().format, 1);
        prepare(dir.path()).unwrap();
        assert!(Format::file(dir.path()).exists());
    }

    #[test]
    fn a_newer_format_is_refused_and_nothing_changes() {
        let dir = tempfile::tempdir().unwrap();
        let newer = Format { format: FORMAT + 1, version: "9.9.9".into() };
        write(dir.path(), &newer).unwrap();
        let said = format!("{:#}", prepare(dir.path()).unwrap_err());
        assert!(said.contains("9.9.9") && said.contains("--data"), "{said}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_format_is_said_to_be_so() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("format.json"), "{").unwrap();
        let said = format!("{:#}", prepare(dir.path()).unwrap_err());
        assert!(said.contains("format.json is damaged"), "{said}");
    }
}
