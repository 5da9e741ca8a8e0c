//! What the node must know of its instances when nobody else can tell, two files each.
//!
//! `<data>/agent/journal/<instance>.json` is the assignment: what to run, with its secrets. It is synced to the
//! disk before it takes the place of the one before, for nobody may be there to say it again after a power
//! cut. `<instance>.memory.json` is what happened so far: it changes with every restart, is not synced, and
//! may be lost. Each is replaced atomically by the instance's worker. What runs is in neither: the runtime
//! knows that better. A file that cannot be read is as good as none.
//!
//! Invariant: nothing that is not synced ever takes the place of an assignment.

use crate::backoff::Memory;
use freehold_model::{AnyId, InstanceId, InstanceSpec};
use freehold_secrets::Delivered;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    fs,
    fs::File,
    io,
    io::Write as _,
    path::{Path, PathBuf},
};

/// What is kept of one instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The last assignment.
    pub(crate) spec: InstanceSpec,
    /// The env that it is of.
    #[serde(default)]
    pub(crate) env: Option<AnyId>,
    /// What happened so far.
    #[serde(default)]
    pub(crate) memory: Memory,
    /// Its secrets, sealed under the node's key: it is started again without asking anybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) sealed: Vec<Delivered>,
}

/// The part of an entry that outlives a power cut.
#[derive(PartialEq, Serialize)]
struct Assignment<'a> {
    spec: &'a InstanceSpec,
    env: Option<AnyId>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    sealed: &'a [Delivered],
}

impl Assignment<'_> {
    fn of(entry: &Entry) -> Assignment<'_> {
        Assignment { spec: &entry.spec, env: entry.env, sealed: &entry.sealed }
    }
}

/// The directory of entries.
#[derive(Debug)]
pub(crate) struct Journal(PathBuf);

impl Journal {
    /// Opens the journal under the data directory, made if need be.
    pub(crate) fn open(data: &Path) -> io::Result<Journal> {
        let directory = data.join("agent/journal");
        fs::create_dir_all(&directory)?;
        // The folders themselves are there after a power cut, too.
        for folder in directory.ancestors().take(3) {
            File::open(folder)?.sync_all()?;
        }
        Ok(Journal(directory))
    }

    /// Every entry that can be read.
    pub(crate) fn load(&self) -> io::Result<BTreeMap<InstanceId, Entry>> {
        let files = fs::read_dir(&self.0)?.collect::<io::Result<Vec<_>>>()?;
        Ok(files.iter().filter_map(|file| read(&file.path())).collect())
    }

    /// What is kept of one instance, if it can be read.
    pub(crate) fn find(&self, id: InstanceId) -> Option<Entry> {
        let path = self.path(id);
        if path.exists() { read(&path).map(|(_, entry)| entry) } else { None }
    }

    /// Keeps `entry` in place of `known`, the one before: of its two files those that differ. Whether it is
    /// kept; the instance runs on without.
    pub(crate) fn save(&self, id: InstanceId, entry: &Entry, known: Option<&Entry>) -> io::Result<()> {
        let memory = self.memory(id);
        // Where an earlier version kept it in the assignment's file, it moves before that is written.
        if known.is_none_or(|known| known.memory != entry.memory) || !memory.exists() {
            replace(&memory, &serde_json::to_vec(&entry.memory)?, false)?;
        }
        let assignment = Assignment::of(entry);
        if known.map(Assignment::of).as_ref() != Some(&assignment) {
            replace(&self.path(id), &serde_json::to_vec(&assignment)?, true)?;
        }
        Ok(())
    }

    /// Forgets an instance.
    pub(crate) fn forget(&self, id: InstanceId) {
        for path in [self.path(id), self.memory(id)] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "a journal entry cannot be removed");
                }
                _ => {}
            }
        }
    }

    fn memory(&self, id: InstanceId) -> PathBuf {
        self.0.join(format!("{id}.memory.json"))
    }

    fn path(&self, id: InstanceId) -> PathBuf {
        self.0.join(format!("{id}.json"))
    }
}

/// Writes `bytes` beside `path`, and gives them its name; `durably`, they and the name are there after a power
/// cut too.
fn replace(path: &Path, bytes: &[u8], durably: bool) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    if durably {
        file.sync_all()?;
    }
    fs::rename(&new, path)?;
    match path.parent() {
        Some(folder) if durably => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Option<(InstanceId, Entry)> {
    let id: InstanceId = path.file_name()?.to_str()?.strip_suffix(".json")?.parse().ok()?;
    let mut entry: Entry = read_file(path)?;
    let memory = path.with_file_name(format!("{id}.memory.json"));
    // Earlier versions kept it in the assignment's file.
    if memory.exists() {
        entry.memory = read_file(&memory).unwrap_or_default();
    }
    Some((id, entry))
}

fn read_file<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let read = fs::read(path).map_err(serde_json::Error::io).and_then(|bytes| serde_json::from_slice(&bytes));
    read.inspect_err(|error| {
        tracing::warn!(path = %path.display(), %error, "a journal entry cannot be read; going on without it");
    })
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::residents::tests::spec;
    use std::os::unix::fs::MetadataExt as _;

    fn entry(restarts: u32) -> Entry {
        let mut memory = Memory::default();
        memory.restarts = restarts;
        Entry { spec: spec("web", 2, &[]), env: None, memory, sealed: vec![] }
    }

    /// What a file system may make of a file that was renamed and not synced, once the power is cut.
    fn cut_power(journal: &Journal, synced: &[u64]) {
        for file in fs::read_dir(&journal.0).unwrap().flatten() {
            if !synced.contains(&file.metadata().unwrap().ino()) {
                File::create(file.path()).unwrap();
            }
        }
    }

    #[test]
    fn a_power_cut_between_restarts_loses_counts_and_no_assignment() {
        let data = tempfile::tempdir().unwrap();
        let journal = Journal::open(data.path()).unwrap();
        let id = InstanceId(ulid::Ulid::from_parts(1, 1));
        journal.save(id, &entry(0), None).unwrap();
        let synced = fs::metadata(journal.path(id)).unwrap().ino();
        for restarts in 1..4 {
            journal.save(id, &entry(restarts), Some(&entry(restarts - 1))).unwrap();
        }
        assert_eq!(journal.find(id), Some(entry(3)));
        assert_eq!(fs::metadata(journal.path(id)).unwrap().ino(), synced, "what was synced was replaced");
        cut_power(&journal, &[synced]);
        assert_eq!(journal.load().unwrap(), [(id, entry(0))].into());
        journal.forget(id);
        assert_eq!(fs::read_dir(&journal.0).unwrap().count(), 0);
    }

    #[test]
    fn an_entry_of_an_earlier_version_is_read_whole() {
        let data = tempfile::tempdir().unwrap();
        let journal = Journal::open(data.path()).unwrap();
        let id = InstanceId(ulid::Ulid::from_parts(1, 1));
        fs::write(journal.path(id), serde_json::to_vec(&entry(7)).unwrap()).unwrap();
        assert_eq!(journal.find(id), Some(entry(7)));
    }
}
