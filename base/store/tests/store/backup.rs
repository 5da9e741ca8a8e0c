//! A copy of the database is whole and proved, or it is not there.

use crate::support::{TempStore, open};
use freehold_model::Write;
use freehold_reconcile::Store;
use freehold_store::{
    BackupError, SqliteStore,
    conformance::fixture::{app, writes},
};
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

async fn copy(from: &Path, to: &Path) -> Result<u64, BackupError> {
    let (from, to) = (from.to_owned(), to.to_owned());
    tokio::task::spawn_blocking(move || SqliteStore::copy(&from, &to)).await.unwrap()
}

async fn filled() -> TempStore {
    let subject = TempStore::new();
    for n in 0..30 {
        subject.commit(writes([Write::Put(app(&format!("a{n}"), None))])).await.unwrap();
    }
    subject
}

#[tokio::test]
async fn a_copy_taken_while_commits_go_on_is_of_one_moment() {
    let subject = filled().await;
    let dir = tempfile::tempdir().unwrap();
    let (backup, again) = (dir.path().join("backup.db"), dir.path().join("state.db"));
    let from = subject.path();
    let (copied, _) = tokio::join!(copy(&from, &backup), async {
        for n in 30..60 {
            subject.commit(writes([Write::Put(app(&format!("a{n}"), None))])).await.unwrap();
        }
    });
    let events = copied.unwrap();
    assert!((30..=60).contains(&events), "{events}");
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(copy(&backup, &again).await.unwrap(), events);
    let store = open(dir.path()).unwrap();
    assert_eq!((*store.head().borrow(), store.verify_chain().await.unwrap()), (events, events));
    store.commit(writes([Write::Put(app("after", None))])).await.unwrap();
}

#[tokio::test]
async fn what_is_there_stays_and_what_is_damaged_is_refused() {
    let subject = filled().await;
    let path = subject.path();
    let dir = subject.close().await;
    let place = dir.path().join("copy.db");
    fs::write(&place, "mine").unwrap();
    assert!(matches!(copy(&path, &place).await, Err(BackupError::Exists { .. })));
    assert_eq!(fs::read(&place).unwrap(), b"mine");

    fs::remove_file(&place).unwrap();
    assert!(matches!(copy(&dir.path().join("none.db"), &place).await, Err(BackupError::Engine { .. })));
    let foreign = dir.path().join("foreign.db");
    rusqlite::Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    assert!(matches!(copy(&foreign, &place).await, Err(BackupError::Open(_))));
    let edit = "UPDATE events SET actor = 'user:eve' WHERE seq = 7";
    rusqlite::Connection::open(&path).unwrap().execute_batch(edit).unwrap();
    let error = copy(&path, &place).await.unwrap_err();
    assert!(matches!(&error, BackupError::Damaged { problem, .. } if problem.contains("event 7")), "{error}");
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("copy")), "{left:?}");
}
