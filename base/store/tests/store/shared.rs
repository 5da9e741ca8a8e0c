//! Several processes on one PostgreSQL database: what one commits the others see, in order and whole; and
//! what is refused at the door.

use crate::postgres::TempPostgres;
use freehold_model::{CommitError, Write};
use freehold_reconcile::{Store, SystemClock, watch_from};
use freehold_store::testing::Database;
use freehold_store::{
    ChainError, PostgresError, PostgresOptions, PostgresStore,
    conformance::fixture::{app, existing, status, txn, writes},
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Generous: it is reached only when something hangs.
const DEADLINE: Duration = Duration::from_secs(60);

/// Four stores commit at once; a watcher on each sees every event once, in order, without a gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_of_every_process_see_every_event_in_order() {
    let database = Database::new();
    let mut stores: Vec<Arc<dyn Store>> = vec![];
    for _ in 0..4 {
        stores.push(Arc::new(database.open().await.expect("a store")));
    }
    let (writers, each) = (8, 15);
    let total = (stores.len() * writers * each) as u64;
    let watchers: Vec<_> = stores.iter().map(|store| tokio::spawn(watch(Arc::clone(store), total))).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for (s, store) in stores.iter().enumerate() {
        for w in 0..writers {
            let store = Arc::clone(store);
            tasks.spawn(async move {
                for n in 0..each {
                    let put = Write::Put(app(&format!("a{s}-{w}-{n}"), None));
                    store.commit(writes([put])).await.expect("a commit");
                }
            });
        }
    }
    tasks.join_all().await;
    for watcher in watchers {
        watcher.await.expect("the watcher saw all");
    }
    let again = database.open().await.expect("a store");
    assert_eq!(again.verify_chain().await.expect("a chain"), total);
}

async fn watch(store: Arc<dyn Store>, total: u64) {
    let mut watch = watch_from(store, 0);
    for seq in 1..=total {
        let event = tokio::time::timeout(DEADLINE, watch.next()).await.expect("in time");
        assert_eq!(event.expect("a read").expect("an open store").seq, seq);
    }
}

/// A thousand claims by four processes on a hundred keys: each key has one owner, and everybody was told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_has_one_owner_across_processes() {
    let database = Database::new();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let store = Arc::new(database.open().await.expect("a store"));
        for n in 0..250 {
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                let (key, new) = (n % 100, app(&ulid::Ulid::new().to_string(), None));
                let mut change = txn();
                change.claim("address", key, new.id).writes.push(Write::Put(new.clone()));
                match store.commit(change).await {
                    Ok(_) => Some((key.to_string(), new.id)),
                    Err(CommitError::Claimed { .. }) => None,
                    Err(other) => panic!("{other}"),
                }
            });
        }
    }
    let won: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    let winners: BTreeMap<_, _> = won.iter().cloned().collect();
    assert_eq!((won.len(), winners.len()), (100, 100), "each key was won once");
    let store = database.open().await.expect("a store");
    let claims = store.view().await.expect("a view").claims("address").expect("a read");
    assert_eq!(claims.into_iter().map(|claim| (claim.key, claim.owner)).collect::<BTreeMap<_, _>>(), winners);
}

/// One process's stale read is refused by what another wrote.
#[tokio::test]
async fn versions_hold_across_processes() {
    let database = Database::new();
    let one: Arc<dyn Store> = Arc::new(database.open().await.expect("a store"));
    let two: Arc<dyn Store> = Arc::new(database.open().await.expect("a store"));
    let new = app("web", None);
    one.commit(writes([Write::Put(new.clone())])).await.expect("a commit");
    let read = existing(&two, new.id).await;
    one.commit(writes([status(new.id, json!(1))])).await.expect("a commit");
    let late = Write::Status { id: new.id, status: json!(2), version: Some(read.version) };
    let error = two.commit(writes([late])).await.expect_err("it is late");
    assert!(matches!(error, CommitError::Stale { .. }), "{error}");
}

/// Notifications are switched off behind the store's back: the table is asked all the same.
#[tokio::test]
async fn a_lost_notification_loses_nothing() {
    let subject = TempPostgres::new().await;
    subject.commit(writes([Write::Put(app("a", None))])).await.expect("a commit");
    let mut head = subject.head();
    assert_eq!(*head.borrow_and_update(), 1);
    // What another process would commit, without telling.
    let sql = "BEGIN; INSERT INTO freehold.events SELECT 2, time, actor, request, subject, what, data, hash
               FROM freehold.events WHERE seq = 1; UPDATE freehold.head SET seq = 2; COMMIT";
    subject.database.edit(sql);
    let moved = head.wait_for(|head| *head == 2);
    tokio::time::timeout(DEADLINE, moved).await.expect("in time").expect("an open store");
}

/// Every connection of the store is cut by the server, again and again, while it works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_lose_and_double_nothing() {
    const CUTS: usize = 25;
    let subject = Arc::new(TempPostgres::new().await);
    let done = Arc::new(AtomicBool::new(false));
    let mut tasks = tokio::task::JoinSet::new();
    for w in 0..8 {
        let (subject, done) = (Arc::clone(&subject), Arc::clone(&done));
        tasks.spawn(async move {
            let mut count = 0;
            while !done.load(Ordering::Relaxed) {
                // Doing it twice would be refused: the name would be taken.
                let put = Write::Put(app(&format!("a{w}-{count}"), None));
                subject.store.commit(writes([put])).await.expect("a commit");
                count += 1;
            }
            count
        });
    }
    let name = subject.database.name().to_owned();
    let cut = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
    for _ in 0..CUTS {
        let before = *subject.head().borrow();
        subject.database.maintain(&cut);
        let mut head = subject.head();
        let on = head.wait_for(|head| *head > before + 20);
        tokio::time::timeout(DEADLINE, on).await.expect("it goes on").expect("an open store");
    }
    done.store(true, Ordering::Relaxed);
    let total: u64 = tasks.join_all().await.into_iter().sum();
    assert_eq!(subject.store.verify_chain().await.expect("a chain"), total);
}

#[tokio::test]
async fn an_edited_log_is_found_out() {
    for (sql, bad) in [
        ("UPDATE freehold.events SET actor = 'user:eve' WHERE seq = 7", 7),
        ("UPDATE freehold.events SET actor = 'ghost' WHERE seq = 9", 9),
        ("DELETE FROM freehold.events WHERE seq = 1", 1),
        // Nothing else says how long the log was: the apps are gone, too.
        ("DELETE FROM freehold.events WHERE seq > 5; DELETE FROM freehold.resources", 6),
    ] {
        let subject = TempPostgres::new().await;
        subject.commit(writes((0..12).map(|n| Write::Put(app(&format!("a{n}"), None))))).await.unwrap();
        assert_eq!(subject.store.verify_chain().await.expect("a chain"), 12);
        subject.database.edit(sql);
        let error = subject.store.verify_chain().await.expect_err(sql);
        assert!(matches!(error, ChainError::Broken { seq, .. } if seq == bad), "{sql}: {error}");
    }
}

#[tokio::test]
async fn what_postgres_cannot_hold_is_refused_alone() {
    let subject = Arc::new(TempPostgres::new().await);
    let names = ["fine", "not\0fine", &"x".repeat(3000), "also fine"];
    let commits = names.map(|name| subject.store.commit(writes([Write::Put(app(name, None))])));
    let answers: Vec<bool> =
        futures::future::join_all(commits).await.into_iter().map(|answer| answer.is_ok()).collect();
    assert_eq!(answers, [true, false, false, true]);
}

async fn refused(database: &Database) -> PostgresError {
    database.open().await.err().expect("the database is refused")
}

#[tokio::test]
async fn what_is_not_ours_is_refused_with_the_way_out() {
    let foreign = Database::new();
    foreign.edit("CREATE TABLE photos (id int)");
    let error = refused(&foreign).await;
    assert!(matches!(&error, PostgresError::Foreign { found, .. } if found == "public.photos"), "{error}");

    let newer = TempPostgres::new().await;
    newer.store.close().await;
    newer.database.edit("UPDATE freehold.meta SET schema = 7");
    let error = refused(&newer.database).await;
    assert!(matches!(error, PostgresError::Newer { found: 7, .. }), "{error}");

    let latin = Database::new();
    let (old, name) = (latin.name(), format!("{}l", latin.name()));
    let sql = format!("CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'");
    latin.maintain(&sql);
    let url = latin.url().replace(old, &name);
    let error = open(&url).await;
    latin.maintain(&format!("DROP DATABASE {name} WITH (FORCE)"));
    assert!(matches!(error, PostgresError::Encoding { .. }), "{error}");

    let error = open(&latin.url().replace(old, "absent")).await;
    assert!(matches!(error, PostgresError::NoDatabase { .. }), "{error}");
    assert!(error.to_string().contains("createdb"), "{error}");
    let error = open("postgres:///x?user=a&host=/nowhere").await;
    assert!(matches!(error, PostgresError::Unreachable { .. }), "{error}");
}

async fn open(url: &str) -> PostgresError {
    let options = PostgresOptions::parse(url).expect("a URL");
    PostgresStore::open(options, Arc::new(SystemClock)).await.err().expect("it is refused")
}

/// Wherever something goes wrong with a URL, its password is not shown.
#[tokio::test]
async fn a_password_is_in_no_error() {
    let database = Database::new();
    let role = format!(
        "DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'sesame') THEN
             CREATE ROLE sesame LOGIN PASSWORD 'open-sesame'; END IF;
         EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
         ALTER DATABASE {} OWNER TO sesame",
        database.name()
    );
    database.maintain(&role);
    let url =
        |password: &str| database.url().replace("user=freehold", &format!("user=sesame&password={password}"));
    let error = open(&url("hunter2")).await;
    assert!(matches!(error, PostgresError::Denied { .. }), "{error}");
    let shown = format!("{error} {error:?} {:?}", PostgresOptions::parse(&url("hunter2")));
    assert!(!shown.contains("hunter2"), "{shown}");
    let error = open(&url("")).await;
    assert!(matches!(error, PostgresError::Denied { .. }), "{error}");
    for bad in [
        "postgres://u:hunter2@[",
        "postgres://u:hunter2@h:port/d",
        "mysql://u:hunter2@h/d",
        "postgres://u:hunter2@h/d?sslmode=hunter2",
        "postgres://u:hunter2@h/d?sslmode=verify-ca",
        "postgres://u:hunter2@h/d?sslmode=require&sslrootcert=/x",
        "postgres://u:hunter2@h/d?sslmode=verify-full&sslrootcert=/no/such/file",
        "postgres:///d?user=u&password=hunter2&host=/run/x&sslmode=require",
        "postgres://u:hunter2@h/d?password2=hunter2",
    ] {
        let error = PostgresOptions::parse(bad).expect_err(bad);
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
    let options = PostgresOptions::parse(&url("open-sesame")).expect("a URL");
    PostgresStore::open(options, Arc::new(SystemClock)).await.expect("the right password opens");
}

/// A process that asked to be alone is, until it ends.
#[tokio::test]
async fn a_sole_process_keeps_others_that_ask_for_the_same_out() {
    let database = Database::new();
    let open = || async { PostgresStore::open(database.options().sole(), Arc::new(SystemClock)).await };
    let first = open().await.expect("a store");
    let error = open().await.err().expect("somebody has it");
    assert!(matches!(error, PostgresError::InUse { .. }), "{error}");
    assert!(error.to_string().contains(&format!("freehold {}", std::process::id())), "{error}");
    first.close().await;
    open().await.expect("a store, once the first is closed");
}

/// Two processes start on an empty database at once.
#[tokio::test]
async fn two_that_start_at_once_make_one_schema() {
    let database = Database::new();
    let opened = futures::future::join_all((0..6).map(|_| database.open())).await;
    for store in opened {
        store.expect("a store");
    }
}

/// `pg_dump` and `pg_restore`, as docs/operating.md has it.
#[tokio::test]
async fn a_dump_restores_whole() {
    let subject = TempPostgres::new().await;
    let new = app("web", None);
    let mut change = writes([Write::Put(new.clone())]);
    change.claim("port", 80, new.id);
    subject.commit(change).await.expect("a commit");
    let restored = Database::new();
    let (from, to) = (&subject.database, &restored);
    let line = "set -o pipefail; pg_dump --format=custom \"$1\" | pg_restore --dbname \"$2\" --exit-on-error";
    let output = std::process::Command::new("bash")
        .args(["-c", line, "dump", &from.url(), &to.url()])
        .output()
        .expect("bash runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let store = restored.open().await.expect("a store");
    assert_eq!(store.verify_chain().await.expect("a chain"), 1);
    let held = store.view().await.expect("a view").claim("port", "80").expect("a read");
    assert_eq!(held, Some(new.id));
    assert_eq!(store.installation(), subject.store.installation(), "it is the same installation");
    let next = store.commit(writes([Write::Delete { id: new.id }])).await.expect("a commit");
    assert_eq!(next.version, 2);
}
