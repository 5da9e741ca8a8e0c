//! A log that was cut or edited behind the store's back is found out, with the first bad row.

use crate::support::{TempStore, open};
use freehold_model::{Prune, Txn, Write};
use freehold_reconcile::Store;
use freehold_store::{
    ChainError,
    conformance::fixture::{app, writes},
};

/// A closed store with 2,500 events (more than one stride of the walk), then edited by `sql`.
async fn verdict_after(sql: &str) -> Result<u64, ChainError> {
    verdict(&[], sql).await
}

/// The same, pruned up to these first.
async fn verdict(pruned: &[u64], sql: &str) -> Result<u64, ChainError> {
    let subject = TempStore::new();
    for group in 0..5 {
        let all = (0..500).map(|n| Write::Put(app(&format!("a{group}-{n}"), None)));
        subject.commit(writes(all)).await.unwrap();
    }
    assert_eq!(subject.store.verify_chain().await.unwrap(), 2500);
    let id = app("a", None).id;
    for last in pruned {
        let prune = Some(Prune { last: *last, subject: id, policy: "400d".into() });
        subject.commit(Txn { prune, ..writes([]) }).await.unwrap();
    }
    let path = subject.path();
    let dir = subject.close().await;
    rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
    let store = open(dir.path()).unwrap();
    store.verify_chain().await
}

#[tokio::test]
async fn an_untouched_log_holds() {
    assert_eq!(verdict_after("").await.unwrap(), 2500);
}

#[tokio::test]
async fn the_first_bad_row_is_named() {
    for (sql, bad) in [
        ("UPDATE events SET what = 'app.changed' WHERE seq = 2000", 2000),
        ("UPDATE events SET actor = 'user:eve' WHERE seq IN (3, 2000)", 3),
        ("UPDATE events SET actor = 'ghost' WHERE seq = 1777", 1777),
        ("UPDATE events SET data = '{' WHERE seq = 1", 1),
        ("UPDATE events SET hash = zeroblob(32) WHERE seq = 2500", 2500),
        ("DELETE FROM events WHERE seq = 1000", 1000),
        ("DELETE FROM events WHERE seq = 1", 1),
        ("DELETE FROM events WHERE seq > 2400", 2401),
        ("DELETE FROM events", 1),
    ] {
        let error = verdict_after(sql).await.expect_err(sql);
        assert!(matches!(error, ChainError::Broken { seq, .. } if seq == bad), "{sql}: {error}");
        assert!(error.to_string().contains(&format!("event {bad} ")), "{error}");
    }
}

/// What the store itself took off is no cut; a cut beside it is, however it is covered up.
#[tokio::test]
async fn a_pruned_log_holds_from_its_anchor_on() {
    let pruned = &[800, 1500];
    assert_eq!(verdict(pruned, "").await.unwrap(), 2502);
    for (sql, bad) in [
        ("DELETE FROM events WHERE seq = 1501", 1501),
        ("UPDATE events SET actor = 'user:eve' WHERE seq = 1600", 1600),
        ("DELETE FROM anchor", 1),
        ("UPDATE anchor SET hash = zeroblob(32)", 1501),
        ("UPDATE anchor SET said = 2501", 2501),
        ("DELETE FROM events WHERE seq > 2501", 2502),
        (
            "UPDATE anchor SET seq = 1600, hash = (SELECT hash FROM events WHERE seq = 1600);
             DELETE FROM events WHERE seq <= 1600",
            2502,
        ),
    ] {
        let error = verdict(pruned, sql).await.expect_err(sql);
        assert!(matches!(error, ChainError::Broken { seq, .. } if seq == bad), "{sql}: {error}");
    }
}
