//! Every process of PostgreSQL is killed at once while commits are under way, again and again: what was
//! acknowledged is there, what was refused is not, nothing is there by half, and the store goes on.

use freehold_model::{AnyId, CommitError, Write};
use freehold_reconcile::{Store, SystemClock};
use freehold_store::testing::{server, url};
use freehold_store::{
    PostgresOptions, PostgresStore,
    conformance::fixture::{app, writes},
};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

const ROUNDS: usize = 3;
const WRITERS: usize = 8;
const DEADLINE: Duration = Duration::from_secs(90);

/// A server of this test's own, which flushes.
struct Server(tempfile::TempDir);

impl Server {
    fn start() -> Server {
        let dir = tempfile::tempdir().expect("a folder");
        server("own", dir.path().to_str().expect("text"));
        Server(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run(&self, verb: &str) {
        server(verb, self.path().to_str().expect("text"));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.run("stop");
    }
}

/// What was said about a pair of resources put in one transaction: its version, or nothing.
type Said = (Option<u64>, [AnyId; 2]);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_commits_survive_the_death_of_the_server() {
    let server = Server::start();
    let options = PostgresOptions::parse(&url(server.path(), "postgres")).expect("a URL");
    let store = PostgresStore::open(options.clone(), Arc::new(SystemClock)).await.expect("a store");
    let (store, done) = (Arc::new(store), Arc::new(AtomicBool::new(false)));
    let writers: Vec<_> = (0..WRITERS).map(|_| tokio::spawn(commit(store.clone(), done.clone()))).collect();
    for round in 0..ROUNDS {
        let mut head = store.head();
        let before = *head.borrow();
        let random = (ulid::Ulid::new().random() % 60) as u64;
        let on = head.wait_for(|head| *head > before + random);
        tokio::time::timeout(DEADLINE, on).await.expect("it goes on").expect("an open store");
        server.run("kill");
        server.run("again");
        eprintln!("round {round}: {} events before", before);
    }
    let (mut head, before) = (store.head(), *store.head().borrow());
    let on = head.wait_for(|head| *head > before);
    tokio::time::timeout(DEADLINE, on).await.expect("it goes on").expect("an open store");
    done.store(true, Ordering::Relaxed);
    let mut said: Vec<Said> = vec![];
    for writer in writers {
        said.extend(writer.await.expect("no panic"));
    }
    store.close().await;
    check(options, &said).await;
}

/// Commits pairs until it is told to end.
async fn commit(store: Arc<PostgresStore>, done: Arc<AtomicBool>) -> Vec<Said> {
    let mut said = vec![];
    while !done.load(Ordering::Relaxed) {
        let pair = [(); 2].map(|()| app(&ulid::Ulid::new().to_string(), None));
        let ids = [pair[0].id, pair[1].id];
        match store.commit(writes(pair.map(Write::Put))).await {
            Ok(committed) => said.push((Some(committed.version), ids)),
            // The server was away for too long.
            Err(CommitError::Engine(_)) => said.push((None, ids)),
            Err(other) => panic!("{other}"),
        }
    }
    said
}

async fn check(options: PostgresOptions, said: &[Said]) {
    let store = PostgresStore::open(options, Arc::new(SystemClock)).await.expect("a store");
    let length = store.verify_chain().await.expect("a chain");
    assert_eq!(*store.head().borrow(), length);
    let view = store.view().await.expect("a view");
    for (version, ids) in said {
        for id in ids {
            assert_eq!(view.get(*id).expect("a read").map(|found| found.version), *version);
        }
    }
    let mut per_version: BTreeMap<u64, usize> = BTreeMap::new();
    for event in view.events(0, usize::MAX, None).expect("a read") {
        *per_version.entry(event.data["version"].as_u64().expect("a version")).or_default() += 1;
    }
    assert!(per_version.values().all(|events| *events == 2), "half a transaction is there");
    let acknowledged = said.iter().filter(|(version, _)| version.is_some()).count();
    assert_eq!(per_version.len(), acknowledged, "each happened once");
}
