//! A copy between engines is whole and equal, or it is not there.

use crate::support::{self, TempStore};
use freehold_model::{Claim, Prune, Write, txn::Idempotency};
use freehold_reconcile::Store;
use freehold_store::{
    Copied, CopyError, Place, PostgresError,
    conformance::fixture::{app, writes},
    testing::Database,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

fn sqlite(path: &Path) -> Place {
    Place::Sqlite(path.to_owned())
}

fn postgres(database: &Database) -> Place {
    Place::Postgres(Box::new(database.options()))
}

async fn copy(from: &Place, to: &Place) -> Result<Copied, CopyError> {
    let (from, to) = (from.clone(), to.clone());
    tokio::task::spawn_blocking(move || freehold_store::copy(&from, &to, |_, _| {})).await.unwrap()
}

/// The same, killed after so many batches.
async fn interrupted(from: &Place, to: &Place, batches: u64) {
    let (from, to) = (from.clone(), to.clone());
    let killed = tokio::task::spawn_blocking(move || {
        let mut gone = 0;
        let copying = || {
            freehold_store::copy(&from, &to, |_, _| {
                gone += 1;
                assert!(gone < batches, "killed");
            })
        };
        catch_unwind(AssertUnwindSafe(copying)).is_err()
    });
    assert!(killed.await.unwrap(), "it ended before");
}

/// What of the log of [`filled`] was pruned.
const PRUNED: u64 = 90;

/// Something in every table, in more than one batch; closed.
async fn filled() -> tempfile::TempDir {
    let subject = TempStore::new();
    let apps: Vec<Write> = (0..1400).map(|n| Write::Put(app(&format!("a{n}"), None))).collect();
    let owner = match &apps[3] {
        Write::Put(app) => app.id,
        _ => unreachable!(),
    };
    let mut txn = writes(apps);
    let claim = |key: &str| Claim { scope: "address".into(), key: key.into(), owner };
    txn.claims = (0..1100).map(|n| claim(&format!("10.0.{}.{}", n / 250, n % 250))).collect();
    txn.idempotency =
        Some(Idempotency { key: "once".into(), answer: serde_json::json!({ "é": [1, null] }) });
    subject.commit(txn).await.unwrap();
    subject.commit(writes([Write::Deleting { id: owner }])).await.unwrap();
    let mut txn = writes([]);
    txn.prune = Some(Prune { last: PRUNED, subject: owner, policy: "400d".into() });
    subject.commit(txn).await.unwrap();
    subject.advance("mail", 7).await.unwrap();
    subject.close().await
}

#[tokio::test]
async fn there_and_back_is_the_same_to_the_last_byte() {
    let dir = filled().await;
    let (first, last) = (dir.path().join("state.db"), dir.path().join("back.db"));
    let database = Database::new();
    let there = copy(&sqlite(&first), &postgres(&database)).await.unwrap();
    let back = copy(&postgres(&database), &sqlite(&last)).await.unwrap();
    assert_eq!(there, back);
    let rows = [
        ("resources", 1400),
        ("claims", 1100),
        ("idempotency", 1),
        ("cursors", 1),
        ("anchor", 1),
        ("tombstones", PRUNED),
        ("events", 1402 - PRUNED),
    ];
    assert_eq!((there.rows.as_slice(), there.first, there.events), (rows.as_slice(), PRUNED + 1, 1402));

    // Both go on from there.
    let more = || writes([Write::Put(app("after", None))]);
    let store = database.open().await.unwrap();
    assert_eq!(store.commit(more()).await.unwrap().version, 1403);
    assert_eq!(store.verify_chain().await.unwrap(), 1403);
    assert_eq!(store.cursor("mail").await.unwrap(), 7);
    store.close().await;
    std::fs::rename(&last, dir.path().join("state.db")).unwrap();
    let store = support::open(dir.path()).unwrap();
    assert_eq!(store.commit(more()).await.unwrap().version, 1403);
    assert_eq!(store.verify_chain().await.unwrap(), 1403);
}

#[tokio::test]
async fn who_is_interrupted_goes_on_and_nobody_uses_the_half() {
    let dir = filled().await;
    let from = sqlite(&dir.path().join("state.db"));
    let database = Database::new();
    let (target, file) = (postgres(&database), dir.path().join("copy.db"));
    interrupted(&from, &target, 3).await;
    assert!(matches!(database.open().await, Err(PostgresError::Copying { .. })));
    let mut told = vec![];
    let whole = {
        let (from, to) = (from.clone(), target.clone());
        let copying = move || {
            let copied = freehold_store::copy(&from, &to, |table, rows| told.push((table, rows)));
            (copied.unwrap(), told)
        };
        let (copied, told) = tokio::task::spawn_blocking(copying).await.unwrap();
        assert_eq!(told[0], ("claims", 100), "what had arrived went over again");
        copied
    };
    interrupted(&from, &sqlite(&file), 5).await;
    assert!(!file.exists());
    assert_eq!(copy(&from, &sqlite(&file)).await.unwrap(), whole);
    assert!(!dir.path().join("copy.db.copying").exists());
}

/// Of a database in use: as of one moment, proved, and once more in a file of its own.
#[tokio::test]
async fn a_backup_is_taken_while_others_commit() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::new();
    let store = database.open().await.unwrap();
    store.commit(writes((0..1200).map(|n| Write::Put(app(&format!("a{n}"), None))))).await.unwrap();
    let file = dir.path().join("backup.db");
    std::fs::write(dir.path().join("backup.db.copying"), "left by one that was killed").unwrap();
    let (options, to) = (database.options(), file.clone());
    let (copied, _) =
        tokio::join!(tokio::task::spawn_blocking(move || freehold_store::backup(&options, &to)), async {
            for n in 1200..1230 {
                store.commit(writes([Write::Put(app(&format!("a{n}"), None))])).await.unwrap();
            }
        });
    let copied = copied.unwrap().unwrap();
    assert!((1200..=1230).contains(&copied.events), "{copied:?}");
    let other = Database::new();
    assert_eq!(copy(&sqlite(&file), &postgres(&other)).await.unwrap(), copied);
}

#[tokio::test]
async fn a_source_that_went_on_meanwhile_is_not_mixed_with_what_it_was() {
    let dir = filled().await;
    let from = sqlite(&dir.path().join("state.db"));
    let database = Database::new();
    interrupted(&from, &postgres(&database), 2).await;
    let store = support::open(dir.path()).unwrap();
    store.commit(writes([Write::Put(app("meanwhile", None))])).await.unwrap();
    store.close().await;
    let error = copy(&from, &postgres(&database)).await.unwrap_err();
    assert!(matches!(error, CopyError::Changed { .. }), "{error}");
    assert!(error.to_string().contains("drop the schema"), "{error}");
}

#[tokio::test]
async fn what_is_in_use_or_there_or_not_there_is_refused() {
    let dir = filled().await;
    let path = dir.path().join("state.db");
    let (database, other) = (Database::new(), Database::new());
    let store = support::open(dir.path()).unwrap();
    assert!(matches!(copy(&sqlite(&path), &postgres(&database)).await, Err(CopyError::Open(_))));
    store.close().await;
    let store = database.open().await.unwrap();
    store.commit(writes([Write::Put(app("mine", None))])).await.unwrap();
    let in_use = copy(&sqlite(&path), &postgres(&database)).await;
    assert!(matches!(in_use, Err(CopyError::InUse { .. })), "{in_use:?}");
    store.close().await;
    drop(store);
    let taken = copy(&sqlite(&path), &postgres(&database)).await;
    assert!(matches!(taken, Err(CopyError::Taken(_))), "{taken:?}");
    assert!(matches!(copy(&postgres(&database), &sqlite(&path)).await, Err(CopyError::Taken(_))));
    for nothing in [postgres(&other), sqlite(&dir.path().join("none.db"))] {
        let file = dir.path().join("copy.db");
        assert!(matches!(copy(&nothing, &sqlite(&file)).await, Err(CopyError::Empty(_))));
    }
}

#[tokio::test]
async fn a_log_that_does_not_hold_together_becomes_no_store() {
    let dir = filled().await;
    let path = dir.path().join("state.db");
    let edit = "UPDATE events SET actor = 'user:eve' WHERE seq = 97";
    rusqlite::Connection::open(&path).unwrap().execute_batch(edit).unwrap();
    let database = Database::new();
    let error = copy(&sqlite(&path), &postgres(&database)).await.unwrap_err();
    assert!(error.to_string().contains("event 97"), "{error}");
    assert!(matches!(database.open().await, Err(PostgresError::Copying { .. })));
    let file = dir.path().join("copy.db");
    copy(&sqlite(&path), &sqlite(&file)).await.unwrap_err();
    assert!(!file.exists());
}

/// The anchor is as good as the event that names it.
#[tokio::test]
async fn a_log_that_was_cut_further_than_it_says_becomes_no_store() {
    let dir = filled().await;
    let path = dir.path().join("state.db");
    let edit = "UPDATE anchor SET seq = 95, hash = (SELECT hash FROM events WHERE seq = 95);
                DELETE FROM events WHERE seq <= 95";
    rusqlite::Connection::open(&path).unwrap().execute_batch(edit).unwrap();
    let error = copy(&sqlite(&path), &postgres(&Database::new())).await.unwrap_err();
    assert!(
        error.to_string().contains("event 1402 does not say that the log was pruned up to event 95"),
        "{error}"
    );
}
