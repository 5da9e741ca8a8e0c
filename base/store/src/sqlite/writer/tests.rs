//! What happens when SQLite itself fails: a full disk, simulated by a limit on the pages of the file.

use super::*;
use crate::{
    conformance::fixture::{app, writes},
    sqlite::{prune, schema},
};
use freehold_model::{AnyResource, Prune, Write};
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
    let mut writer =
        Writer::new(schema::open_writer(&path).unwrap(), Arc::new(SystemClock), Renewals::default(), lock)
            .unwrap();
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
    let mut writer =
        Writer::new(schema::open_writer(&path).unwrap(), Arc::new(SystemClock), Renewals::default(), lock)
            .unwrap();
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

/// SQLite fails at the k-th step of its virtual machine, for every k that a group takes: each transaction
/// happened as a whole or not at all, as its answer says, and the log holds.
#[test]
fn a_failure_at_any_step_loses_and_halves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let lock = Lock::take(&path).unwrap();
    let mut writer =
        Writer::new(schema::open_writer(&path).unwrap(), Arc::new(SystemClock), Renewals::default(), lock)
            .unwrap();
    assert!(run(&mut writer, vec![put("taken", 10)])[0].is_ok());
    for k in 1.. {
        let names = [
            vec![format!("a{k}")],
            vec![format!("b{k}"), format!("c{k}")],
            vec!["taken".into()],
            vec![format!("d{k}")],
        ];
        // The last of them prunes a little of what the log held before the group.
        let begin = prune::anchor(&writer.db).unwrap().map_or(0, |anchor| anchor.seq);
        let last = writer.end.seq.min(begin + 10);
        let cut = |name: &str| name.starts_with('d').then_some(last);
        let jobs = names.iter().map(|names| claiming(names, cut(&names[0]))).collect();
        let happened = fail_at(&mut writer, k);
        let answers = run(&mut writer, jobs);
        writer.db.progress_handler(0, None::<fn() -> bool>).unwrap();
        for (names, answer) in names.iter().zip(&answers) {
            let count = |sql| names.iter().filter(|name| exists(&writer, sql, name)).count();
            let (apps, claims) = (
                count("SELECT 1 FROM resources WHERE name = ?1"),
                count("SELECT 1 FROM claims WHERE key = ?1"),
            );
            match answer {
                Ok(_) => assert_eq!((apps, claims), (names.len(), names.len()), "k = {k}"),
                Err(_) if names[0] == "taken" => assert_eq!((apps, claims), (1, 0), "k = {k}"),
                Err(_) => assert_eq!((apps, claims), (0, 0), "k = {k}: {answer:?}"),
            }
        }
        let anchored = prune::anchor(&writer.db).unwrap().map_or(0, |anchor| anchor.seq);
        assert_eq!(anchored, if answers[3].is_ok() { last } else { begin }, "k = {k}");
        let stored = log::head(&writer.db).unwrap();
        assert_eq!((stored.seq, &stored), (*writer.head().borrow(), &writer.end), "k = {k}");
        if !happened.load(std::sync::atomic::Ordering::Relaxed) {
            assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 3, "{answers:?}");
            assert!(k > 100, "only {k} steps");
            break;
        }
    }
    drop(writer);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = crate::SqliteStore::open(&path, Arc::new(SystemClock)).unwrap();
    runtime.block_on(store.verify_chain()).unwrap();
}

/// One transaction: an app of each name, and a claim of the same key for each; pruned up to `cut`.
fn claiming(names: &[String], cut: Option<Seq>) -> (Job, Answered) {
    let mut txn = writes([]);
    let subject = app("log", None).id;
    txn.prune = cut.map(|last| Prune { last, subject, policy: "400d".into() });
    for name in names {
        let new = app(name, None);
        txn.claim("key", name, new.id).writes.push(Write::Put(new));
    }
    let (to, answer) = oneshot::channel();
    (Job::Commit(Box::new(txn.into()), to), answer)
}

/// Interrupts the k-th step from here; says whether it came to that.
fn fail_at(writer: &mut Writer, k: usize) -> Arc<std::sync::atomic::AtomicBool> {
    let happened = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (tell, mut steps) = (Arc::clone(&happened), 0);
    let fails = move || {
        steps += 1;
        let now = steps == k;
        tell.fetch_or(now, std::sync::atomic::Ordering::Relaxed);
        now
    };
    writer.db.progress_handler(1, Some(fails)).unwrap();
    happened
}

fn exists(writer: &Writer, sql: &str, name: &str) -> bool {
    writer.db.prepare_cached(sql).unwrap().exists([name]).unwrap()
}
