//! What the node must know of its instances when nobody else can tell: assignment and memory, one file each.
//!
//! `<data>/agent/journal/<instance>.json`, replaced atomically by the instance's worker. What runs is not in
//! it: the runtime knows that better. A file that cannot be read is as good as none. What was assigned is
//! synced to disk, as nobody may be there to say it again after a power cut; counts of restarts are not.

use crate::backoff::Memory;
use freehold_model::{AnyId, InstanceId, InstanceSpec};
use freehold_secrets::Delivered;
use serde::{Deserialize, Serialize};
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

/// The directory of entries.
#[derive(Debug)]
pub(crate) struct Journal(PathBuf);

impl Journal {
    /// Opens the journal under the data directory, made if need be.
    pub(crate) fn open(data: &Path) -> io::Result<Journal> {
        let directory = data.join("agent/journal");
        fs::create_dir_all(&directory)?;
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

    /// Keeps `entry`, in place of the one before; `durably`, it is there after a power cut too. A failure is
    /// logged: the instance runs on without.
    pub(crate) fn save(&self, id: InstanceId, entry: &Entry, durably: bool) {
        let path = self.path(id);
        let new = path.with_extension("new");
        let written = serde_json::to_vec(entry).map_err(io::Error::from).and_then(|bytes| {
            let mut file = File::create(&new)?;
            file.write_all(&bytes)?;
            if durably {
                file.sync_all()?;
            }
            fs::rename(&new, &path)?;
            if durably { File::open(&self.0)?.sync_all() } else { Ok(()) }
        });
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), %error, "the journal cannot be written");
        }
    }

    /// Forgets an instance.
    pub(crate) fn forget(&self, id: InstanceId) {
        let path = self.path(id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "a journal entry cannot be removed");
            }
            _ => {}
        }
    }

    fn path(&self, id: InstanceId) -> PathBuf {
        self.0.join(format!("{id}.json"))
    }
}

fn read(path: &Path) -> Option<(InstanceId, Entry)> {
    let id = path.file_name()?.to_str()?.strip_suffix(".json")?.parse().ok()?;
    let entry =
        fs::read(path).map_err(serde_json::Error::io).and_then(|bytes| serde_json::from_slice(&bytes));
    match entry {
        Ok(entry) => Some((id, entry)),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a journal entry cannot be read; going on without it");
            None
        }
    }
}
