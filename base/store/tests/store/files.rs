//! The files: their modes, who may open them, and which schemas are known.

use crate::support::{TempStore, open};
use freehold_model::{Actor, Kind, Prune, Query, Txn, Write};
use freehold_reconcile::{Store, SystemClock};
use freehold_store::{
    OpenError, SqliteStore,
    conformance::fixture::{app, existing, writes},
};
use std::{os::unix::fs::PermissionsExt, path::Path, sync::Arc};

fn edit(path: &Path, sql: &str) {
    rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

#[tokio::test]
async fn what_was_committed_is_there_after_reopening() {
    let subject = TempStore::new();
    let new = app("web", None);
    subject.commit(writes([Write::Put(new.clone())])).await.unwrap();
    subject.advance("edge", 1).await.unwrap();
    let dir = subject.close().await;
    assert!(!dir.path().join("state.db-wal").exists(), "closing checkpoints the journal");
    let store = open(dir.path()).unwrap();
    assert_eq!(*store.head().borrow(), 1);
    assert_eq!(store.cursor("edge").await.unwrap(), 1);
    let store: Arc<dyn Store> = Arc::new(store);
    assert_eq!(existing(&store, new.id).await.version, 1);
    let next = store.commit(writes([Write::Delete { id: new.id }])).await.unwrap();
    assert_eq!(next.version, 2);
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let subject = TempStore::new();
    subject.store.close().await;
    subject.store.close().await;
    let commit = subject.commit(writes([])).await.unwrap_err();
    let view = subject.view().await.err().unwrap();
    let advance = subject.advance("edge", 1).await.unwrap_err();
    for text in [commit.to_string(), view.to_string(), advance.to_string()] {
        assert!(text.contains("closed"), "{text}");
    }
}

#[tokio::test]
async fn dropping_commits_what_is_queued() {
    let TempStore { store, dir } = TempStore::new();
    let store = Arc::new(store);
    let commits: Vec<_> = (0..50)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.commit(writes([Write::Put(app(&format!("a{n}"), None))])).await })
        })
        .collect();
    drop(store);
    for commit in commits {
        commit.await.unwrap().unwrap();
    }
    let store = open(dir.path()).expect("the last drop gave the lock back");
    assert_eq!(*store.head().borrow(), 50);
}

#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    let subject = TempStore::new();
    subject.commit(writes([Write::Put(app("web", None))])).await.unwrap();
    for entry in std::fs::read_dir(subject.dir.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.file_name());
    }
    let path = subject.path();
    let dir = subject.close().await;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let _store = open(dir.path()).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn one_process_at_a_time_may_open_it() {
    let subject = TempStore::new();
    let error = open(subject.dir.path()).err().unwrap();
    let text = error.to_string();
    assert!(matches!(error, OpenError::InUse { .. }), "{text}");
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    let dir = subject.close().await;
    assert!(open(dir.path()).is_ok());
}

#[tokio::test]
async fn a_newer_schema_and_a_foreign_database_are_refused() {
    let subject = TempStore::new();
    let path = subject.path();
    let dir = subject.close().await;
    edit(&path, "PRAGMA user_version = 7");
    let error = open(dir.path()).err().unwrap();
    assert!(matches!(error, OpenError::Newer { found: 7, .. }), "{error}");

    let dir = tempfile::tempdir().unwrap();
    edit(&dir.path().join("state.db"), "CREATE TABLE photos (id)");
    assert!(matches!(open(dir.path()).err().unwrap(), OpenError::Foreign { .. }));

    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("state.db"), "not a database, but long enough to be looked at".repeat(99))
        .unwrap();
    assert!(matches!(open(dir.path()).err().unwrap(), OpenError::Engine { .. }));

    let nowhere = dir.path().join("absent/state.db");
    let error = SqliteStore::open(&nowhere, Arc::new(SystemClock)).err().unwrap();
    assert!(error.to_string().contains("absent"), "{error}");
}

/// `fixtures/v1.sql` is a dump of what schema 1 wrote; `v2.sql` is what schema 2 added. They never change.
#[tokio::test]
async fn databases_of_older_schemas_open() {
    for dump in [
        include_str!("../fixtures/v1.sql").to_owned(),
        include_str!("../fixtures/v1.sql").to_owned() + include_str!("../fixtures/v2.sql"),
    ] {
        opens(&dump).await;
    }
}

async fn opens(dump: &str) {
    let dir = tempfile::tempdir().unwrap();
    edit(&dir.path().join("state.db"), dump);
    let store = open(dir.path()).unwrap();
    assert_eq!(store.verify_chain().await.unwrap(), 4);
    assert_eq!(store.cursor("edge").await.unwrap(), 2);
    let view = store.view().await.unwrap();
    let org = view.list(&Query::of(Kind::Org)).unwrap().items.remove(0);
    let app = view.list(&Query::of(Kind::App).under(org.id)).unwrap().items.remove(0);
    assert_eq!((app.name.as_str(), app.generation, app.version), ("web", 2, 3));
    assert_eq!(app.created.to_string(), "2026-11-21T01:02:03.123456789Z");
    assert_eq!(app.labels["tier"], "front");
    assert_eq!(app.status["phase"], "up");
    assert_eq!(view.claim("port", "tcp/8000").unwrap(), Some(app.id));
    let last = view.last_events(1, None).unwrap().remove(0);
    assert_eq!((last.what.as_str(), last.actor), ("app.greeted", Actor::User("ada".into())));
    let next = store.commit(writes([Write::Delete { id: app.id }])).await.unwrap();
    assert_eq!(next.version, 5);
    assert_eq!(store.verify_chain().await.unwrap(), 5);
    assert_eq!(store.view().await.unwrap().anchor().unwrap(), None);
    let prune = Some(Prune { last: 4, subject: org.id, policy: "400d".into() });
    store.commit(Txn { prune, ..writes([]) }).await.unwrap();
    assert_eq!(store.verify_chain().await.unwrap(), 6);
}

/// Between fork and exec a child holds a copy of every file, the lock among them.
#[tokio::test]
async fn a_child_being_started_does_not_keep_the_lock() {
    use std::{io::Read, os::unix::process::CommandExt, process::Command, time::Duration};
    let subject = TempStore::new();
    let (mut started, child) = std::io::pipe().unwrap();
    let starter = std::thread::spawn(move || {
        let mut command = Command::new("true");
        // SAFETY: between fork and exec it only writes and sleeps, which is async-signal-safe.
        unsafe {
            command.pre_exec(move || {
                std::io::Write::write_all(&mut &child, b"x")?;
                std::thread::sleep(Duration::from_millis(500));
                Ok(())
            });
        }
        command.status().unwrap()
    });
    started.read_exact(&mut [0]).unwrap();
    let dir = subject.close().await;
    let reopened = open(dir.path());
    assert!(!starter.is_finished(), "the child was to be still starting");
    assert!(reopened.is_ok(), "{}", reopened.err().unwrap());
    starter.join().unwrap();
}
