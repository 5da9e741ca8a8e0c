//! What happens when SQLite itself fails: a full disk, simulated by a limit on the pages of the file.

use super::*;
use crate::{
    conformance::fixture::{app, writes},
    sqlite::schema,
};
use freehold_model::{AnyResource, Write};
use freehold_reconcile::SystemClock;

type Answered = oneshot::Receiver<Result<Committed, CommitError>>;

fn put(name: &str, bytes: usize) -> (Job, Answered) {
    let spec = serde_json::json!({ "value": "x".repeat(bytes) });
    let txn = writes([Write::Put(AnyResource { spec, ..app(name, None) })]);
    let (to, answer) = oneshot::channel();
    (Job::Commit(Box::new(txn.into()), to), answer)
}

fn run(writer: &mut Writer, jobs: Vec<(Job, Answered)>) -> Vec<Result<Committed, CommitError>> {
    let (jobs, answers): (Vec<_>, Vec<_>) = jobs.into_iter().unzip();
    writer.group(jobs.into_iter());
    answers.into_iter().map(|answer| answer.blocking_recv().expect("everybody is answered")).collect()
}

fn limit_pages(writer: &Writer, more: i64) {
    let pages: i64 = writer.db.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    let sql = format!("PRAGMA max_page_count = {}", pages + more);
    writer.db.query_row(&sql, [], |_| Ok(())).unwrap();
}

#[test]
fn a_full_disk_fails_commits_and_passes_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let lock = Lock::take(&path).unwrap();
    let mut writer = Writer::new(schema::open_writer(&path).unwrap(), Arc::new(SystemClock), lock).unwrap();
    let head = writer.head();
    assert!(run(&mut writer, vec![put("first", 10)])[0].is_ok());

    limit_pages(&writer, 2);
    let answers = run(&mut writer, vec![put("big", 1 << 20), put("bigger", 2 << 20)]);
    for answer in answers {
        assert!(matches!(answer, Err(CommitError::Full)), "{answer:?}");
    }
    assert_eq!(*head.borrow(), 1);

    limit_pages(&writer, 1 << 20);
    let answers = run(&mut writer, vec![put("big", 1 << 20), put("second", 10), put("second", 10)]);
    let versions: Vec<_> = answers.iter().map(|a| a.as_ref().ok().map(|c| c.version)).collect();
    assert_eq!(versions, [Some(2), Some(3), None]);
    assert_eq!(*head.borrow(), 3);
}

#[test]
fn a_failed_group_fails_for_everybody_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let lock = Lock::take(&path).unwrap();
    let mut writer = Writer::new(schema::open_writer(&path).unwrap(), Arc::new(SystemClock), lock).unwrap();
    // A deferred constraint is looked at by COMMIT alone.
    let sql = "PRAGMA foreign_keys = ON;
               CREATE TABLE broken (id REFERENCES absent (id) DEFERRABLE INITIALLY DEFERRED);
               CREATE TABLE absent (id PRIMARY KEY);
               CREATE TRIGGER breaking AFTER INSERT ON resources WHEN NEW.name = 'breaks'
               BEGIN INSERT INTO broken VALUES (1); END;";
    writer.db.execute_batch(sql).unwrap();
    let answers = run(&mut writer, vec![put("a", 1), put("breaks", 1), put("b", 1)]);
    for answer in answers {
        assert!(matches!(answer, Err(CommitError::Engine(_))), "{answer:?}");
    }
    assert_eq!(*writer.head().borrow(), 0);
    let answers = run(&mut writer, vec![put("a", 1), put("b", 1)]);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(*writer.head().borrow(), 2);
}
