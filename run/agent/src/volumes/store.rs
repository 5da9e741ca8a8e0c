//! One volume on the disk: `<data>/volumes/<id>` with `data`, `snapshots/<name>` and `task.json`.
//!
//! Invariant: a volume or a snapshot is there whole or not at all: it is made under another name (with a
//! dot in front, removed by the next who makes one), brought to the disk, and renamed.

use freehold_model::{Bytes, Name, Snapshot, TaskStatus, VolumeId};
use freehold_runtime::{
    quota::{self, remove},
    volume::{data, initialised, measure},
};
use freehold_tree::GoesOn;
use jiff::Timestamp;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// The directory of one volume.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    root: PathBuf,
    dir: PathBuf,
}

impl Store {
    pub(super) fn new(root: &Path, id: VolumeId) -> Store {
        Store { root: root.to_owned(), dir: root.join(id.to_string()) }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether its data is there.
    pub(crate) fn exists(&self) -> bool {
        data(&self.dir).is_dir()
    }

    /// What instances see.
    pub(super) fn data(&self) -> PathBuf {
        data(&self.dir)
    }

    /// Makes it for `size`, empty, or with what is in `source`.
    pub(super) fn make(&self, source: Option<&Path>, size: Bytes, goes_on: &GoesOn<'_>) -> io::Result<()> {
        let draft =
            self.root.join(format!(".{}", self.dir.file_name().unwrap_or_default().to_string_lossy()));
        remove(&draft)?;
        let made = self.fill(&draft, source, size, goes_on);
        or_remove(made, &draft)
    }

    fn fill(&self, draft: &Path, source: Option<&Path>, size: Bytes, goes_on: &GoesOn<'_>) -> io::Result<()> {
        private(draft)?;
        match source {
            None => quota::make_dir(&data(draft))?,
            Some(source) => {
                copy(source, &data(draft), goes_on)?;
                File::create(initialised(draft))?;
            }
        }
        // Where that is not enforced, the size is watched, and the keeper says why.
        let _ = quota::limit(&data(draft), size);
        settle(draft, &self.dir)
    }

    /// Removes it and its snapshots.
    pub(super) fn remove(&self) -> io::Result<()> {
        let gone = self.root.join(format!(".{}", self.dir.file_name().unwrap_or_default().to_string_lossy()));
        remove(&gone)?;
        match fs::rename(&self.dir, &gone) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => remove(&gone),
        }
    }

    pub(super) fn used(&self) -> io::Result<Bytes> {
        measure(&self.data()).map(Bytes)
    }

    /// Has the file system keep it to `size`; if it cannot, why.
    pub(super) fn limit(&self, size: Bytes) -> Result<(), String> {
        quota::limit(&self.data(), size)
    }

    /// The data of a snapshot that is there.
    pub(super) fn snapshot_data(&self, name: &Name) -> io::Result<PathBuf> {
        let dir = self.snapshot_dir(name);
        if dir.exists() { Ok(dir.join("data")) } else { Err(self.no_snapshot(name)) }
    }

    /// Every whole snapshot, the oldest first.
    pub(super) fn snapshots(&self) -> Vec<Snapshot> {
        let entries = fs::read_dir(self.dir.join("snapshots")).into_iter().flatten().flatten();
        let named =
            entries.filter(|entry| entry.file_name().to_str().is_some_and(|name| !name.starts_with('.')));
        let read = |path: PathBuf| serde_json::from_slice(&fs::read(path.join("snapshot.json")).ok()?).ok();
        let mut all: Vec<Snapshot> = named.filter_map(|entry| read(entry.path())).collect();
        all.sort_by_key(|snapshot| (snapshot.taken, snapshot.name.clone()));
        all
    }

    /// Copies what it holds now; whoever writes to it stands still meanwhile, or the copy is not of one moment.
    pub(super) fn take_snapshot(
        &self,
        name: &Name,
        now: Timestamp,
        goes_on: &GoesOn<'_>,
    ) -> io::Result<PathBuf> {
        if self.snapshot_dir(name).exists() {
            return Err(io::Error::other(format!("there is a snapshot `{name}` already")));
        }
        let draft = self.dir.join("snapshots/.new");
        remove(&draft)?;
        let taken = (|| {
            fs::create_dir_all(&draft)?;
            copy(&self.data(), &draft.join("data"), goes_on)?;
            let size = measure(&draft.join("data")).map(Bytes)?;
            let snapshot = Snapshot { name: name.clone(), taken: now, size };
            fs::write(draft.join("snapshot.json"), serde_json::to_vec(&snapshot)?)
        })();
        or_remove(taken, &draft)?;
        Ok(draft)
    }

    /// Makes the draft of a snapshot the snapshot.
    pub(super) fn keep_snapshot(&self, draft: &Path, name: &Name) -> io::Result<()> {
        settle(draft, &self.snapshot_dir(name))
    }

    pub(super) fn drop_snapshot(&self, name: &Name) -> io::Result<()> {
        let gone = self.dir.join("snapshots/.gone");
        remove(&gone)?;
        let renamed = fs::rename(self.snapshot_dir(name), &gone);
        match renamed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(self.no_snapshot(name)),
            Err(error) => Err(error),
            Ok(()) => remove(&gone),
        }
    }

    /// Copies a snapshot beside the data, on the disk, for `size`.
    pub(super) fn draft_restore(&self, name: &Name, size: Bytes, goes_on: &GoesOn<'_>) -> io::Result<()> {
        let draft = self.dir.join(".restore");
        remove(&draft)?;
        let source = self.snapshot_data(name)?;
        or_remove(copy(&source, &draft, goes_on), &draft)?;
        let _ = quota::limit(&draft, size);
        rustix::fs::syncfs(File::open(&draft)?)?;
        Ok(())
    }

    /// Puts the copy in the place of the data, and the note that was drafted in its place; nobody has the
    /// volume meanwhile.
    pub(super) fn swap_restored(&self) -> io::Result<()> {
        // A restore gives content to what had none yet.
        File::create(initialised(&self.dir))?;
        renameat_with(CWD, self.dir.join(".restore"), CWD, self.data(), RenameFlags::EXCHANGE)?;
        self.keep_note()
    }

    /// Removes what is beside the data: what a restore replaced, or what it would have put there.
    pub(super) fn forget_replaced(&self) -> io::Result<()> {
        remove(&self.dir.join(".restore"))
    }

    /// How the last task ended.
    pub(super) fn task(&self) -> Option<TaskStatus> {
        serde_json::from_slice(&fs::read(self.dir.join("task.json")).ok()?).ok()
    }

    pub(super) fn note_task(&self, task: &TaskStatus) -> io::Result<()> {
        self.draft_note(task)?;
        self.keep_note()
    }

    /// Writes how a task will have ended, so that noting it needs no room.
    pub(super) fn draft_note(&self, task: &TaskStatus) -> io::Result<()> {
        let draft = self.dir.join(".task");
        fs::write(&draft, serde_json::to_vec(task)?)?;
        File::open(&draft)?.sync_all()
    }

    fn keep_note(&self) -> io::Result<()> {
        fs::rename(self.dir.join(".task"), self.dir.join("task.json"))?;
        File::open(&self.dir)?.sync_all()
    }

    fn snapshot_dir(&self, name: &Name) -> PathBuf {
        self.dir.join("snapshots").join(name.as_str())
    }

    fn no_snapshot(&self, name: &Name) -> io::Error {
        let names: Vec<String> = self.snapshots().iter().map(|it| it.name.to_string()).collect();
        let there = if names.is_empty() { "none".into() } else { names.join(", ") };
        io::Error::other(format!("there is no snapshot `{name}`; there are: {there}"))
    }
}

fn private(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Brings everything under `draft` to the disk, then gives it its name.
fn settle(draft: &Path, name: &Path) -> io::Result<()> {
    rustix::fs::syncfs(File::open(draft)?)?;
    fs::rename(draft, name)?;
    File::open(name.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// Makes `to` a folder with what is in `from`: at once, where the file system can.
fn copy(from: &Path, to: &Path, goes_on: &GoesOn<'_>) -> io::Result<()> {
    goes_on()?;
    if quota::snapshot(from, to)? {
        return Ok(());
    }
    quota::make_dir(to)?;
    freehold_tree::copy(from, to, goes_on)
}

/// What was not finished takes no room.
fn or_remove(done: io::Result<()>, draft: &Path) -> io::Result<()> {
    if done.is_err() {
        let _ = remove(draft);
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on() -> io::Result<()> {
        Ok(())
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn store(root: &Path) -> Store {
        let store = Store::new(root, VolumeId(ulid::Ulid::from_parts(1, 1)));
        store.make(None, Bytes(1 << 30), &on).unwrap();
        store
    }

    fn write(store: &Store, text: &str) {
        fs::write(store.data().join("note"), text).unwrap();
    }

    fn read(store: &Store) -> String {
        fs::read_to_string(store.data().join("note")).unwrap()
    }

    #[test]
    fn a_snapshot_is_listed_when_it_is_whole_and_not_before() {
        let root = tempfile::tempdir().unwrap();
        let store = store(root.path());
        write(&store, "one");
        let draft = store.take_snapshot(&name("a"), Timestamp::UNIX_EPOCH, &on).unwrap();
        assert_eq!(store.snapshots(), [], "it has no name yet");
        // A crash here leaves a draft, which the next one replaces.
        let again = store.take_snapshot(&name("a"), Timestamp::UNIX_EPOCH, &on).unwrap();
        assert_eq!(draft, again);
        store.keep_snapshot(&again, &name("a")).unwrap();
        assert_eq!(store.snapshots().len(), 1);
        let taken = store.take_snapshot(&name("a"), Timestamp::UNIX_EPOCH, &on).unwrap_err();
        assert!(taken.to_string().contains("already"), "{taken}");
        store.drop_snapshot(&name("a")).unwrap();
        assert_eq!(store.snapshots(), []);
        assert!(store.drop_snapshot(&name("a")).unwrap_err().to_string().contains("there are: none"));
    }

    #[test]
    fn a_restore_done_twice_is_a_restore() {
        let root = tempfile::tempdir().unwrap();
        let store = store(root.path());
        write(&store, "one");
        let draft = store.take_snapshot(&name("a"), Timestamp::UNIX_EPOCH, &on).unwrap();
        store.keep_snapshot(&draft, &name("a")).unwrap();
        write(&store, "two");
        for _ in 0..2 {
            store.draft_restore(&name("a"), Bytes(1 << 30), &on).unwrap();
            let note = TaskStatus {
                id: "1".into(),
                state: freehold_model::kinds::TaskState::Done,
                message: "".into(),
            };
            store.draft_note(&note).unwrap();
            store.swap_restored().unwrap();
            assert_eq!(store.task(), Some(note));
            assert_eq!(read(&store), "one");
        }
        store.forget_replaced().unwrap();
        assert_eq!(read(&store), "one");
        assert!(
            store
                .draft_restore(&name("b"), Bytes(1 << 30), &on)
                .unwrap_err()
                .to_string()
                .contains("there are: a")
        );
    }

    #[test]
    fn a_clone_is_a_volume_of_its_own() {
        let root = tempfile::tempdir().unwrap();
        let store = store(root.path());
        write(&store, "one");
        let clone = Store::new(root.path(), VolumeId(ulid::Ulid::from_parts(2, 2)));
        clone.make(Some(&store.data()), Bytes(1 << 30), &on).unwrap();
        write(&clone, "two");
        assert_eq!((read(&store), read(&clone)), ("one".into(), "two".into()));
        assert!(initialised(clone.dir()).exists(), "an image must not replace what was cloned");
        clone.remove().unwrap();
        clone.remove().unwrap();
        assert!(!clone.exists() && store.exists());
    }
}
