//! Kills a committing process at random moments: what was acknowledged is there, and nothing half done.
//!
//! The process is this test binary again, asked for [`child`] alone; without its environment variable
//! that test does nothing.

use crate::support::open;
use freehold_model::{AnyId, Write};
use freehold_reconcile::Store;
use freehold_store::conformance::fixture::{app, writes};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

const FOLDER: &str = "FREEHOLD_STORE_CRASH_TEST";
const ROUNDS: usize = 12;
const WRITERS: usize = 8;

/// A line of the child: a transaction that was acknowledged, and what it put.
struct Acknowledged {
    version: u64,
    pair: [AnyId; 2],
}

#[test]
fn acknowledged_commits_survive_sigkill() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = vec![];
    for _ in 0..ROUNDS {
        let random = ulid::Ulid::new().random() % 200;
        all.extend(run_and_kill(dir.path(), Duration::from_millis(5 + random as u64)));
        check(dir.path(), &all);
    }
    assert!(all.len() > ROUNDS, "only {} commits were acknowledged in {ROUNDS} rounds", all.len());
}

/// Lets the child commit for a while after its first acknowledgement; answers what it acknowledged.
fn run_and_kill(dir: &Path, after: Duration) -> Vec<Acknowledged> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "crash::child", "--nocapture"]).env(FOLDER, dir).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut killer = None;
    let mut seen = vec![];
    for line in lines {
        // The last line may be cut by the kill; a whole one ends in a full stop.
        let line = line.unwrap();
        let Some(words) = line.strip_prefix("ack ").and_then(|line| line.strip_suffix(" .")) else {
            continue;
        };
        let words: Vec<&str> = words.split(' ').collect();
        let pair = [words[1].parse().unwrap(), words[2].parse().unwrap()];
        seen.push(Acknowledged { version: words[0].parse().unwrap(), pair });
        if killer.is_none() {
            killer = Some(kill_later(child.id(), after));
        }
    }
    killer.expect("the child committed something").join().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{status}");
    seen
}

fn kill_later(pid: u32, after: Duration) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        std::thread::sleep(after);
        let killed = Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
        assert!(killed.success());
    })
}

#[tokio::main]
async fn check(dir: &Path, acknowledged: &[Acknowledged]) {
    let store = open(dir).unwrap();
    let length = store.verify_chain().await.unwrap();
    assert_eq!(*store.head().borrow(), length);
    let view = store.view().await.unwrap();
    for Acknowledged { version, pair } in acknowledged {
        for id in pair {
            let found = view.get(*id).unwrap().expect("what was acknowledged is there");
            assert_eq!(found.version, *version);
        }
    }
    let mut per_version: BTreeMap<u64, usize> = BTreeMap::new();
    for event in view.events(0, usize::MAX, None).unwrap() {
        *per_version.entry(event.data["version"].as_u64().unwrap()).or_default() += 1;
    }
    assert!(per_version.values().all(|events| *events == 2), "half a transaction is there");
}

/// Commits pairs until it is killed, and says so only after the store did.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(dir) = std::env::var_os(FOLDER) else { return };
    let store = Arc::new(open(Path::new(&dir)).unwrap());
    let writers: Vec<_> = (0..WRITERS).map(|_| tokio::spawn(commit_forever(Arc::clone(&store)))).collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

async fn commit_forever(store: Arc<freehold_store::SqliteStore>) {
    loop {
        let pair = [(); 2].map(|()| app(&ulid::Ulid::new().to_string(), None));
        let [a, b] = [pair[0].id, pair[1].id];
        let committed = store.commit(writes(pair.map(Write::Put))).await.unwrap();
        println!("ack {} {a} {b} .", committed.version);
    }
}
