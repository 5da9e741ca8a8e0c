//! Commits whose answer never came: the connection breaks right after COMMIT was sent, or right before.
//!
//! A relay stands between the store and the server, and cuts at exactly that moment, or at the k-th message
//! for every k. Each transaction
//! takes a name, so one that happened twice would be refused, and one that was lost would be missing.

use freehold_model::Write;
use freehold_reconcile::{Store, SystemClock};
use freehold_store::testing::{Database, url};
use freehold_store::{
    PostgresOptions, PostgresStore,
    conformance::fixture::{app, existing, writes},
};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

const COMMIT: &[u8] = b"COMMIT\0";
const DEADLINE: Duration = Duration::from_secs(60);

/// So many of the next connections that commit are cut, and when.
#[derive(Default)]
struct Scissors {
    before: AtomicUsize,
    after: AtomicUsize,
    /// The connection on which the message comes that counts this down to nothing is cut before it.
    message: AtomicUsize,
}

fn take(count: &AtomicUsize) -> bool {
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

/// Takes connections in `dir` and passes them on to the server behind `socket`.
fn relay(dir: &Path, socket: PathBuf) -> Arc<Scissors> {
    let scissors = Arc::new(Scissors::default());
    let listener = UnixListener::bind(dir.join(".s.PGSQL.5432")).expect("a socket");
    let cut = Arc::clone(&scissors);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = UnixStream::connect(socket.join(".s.PGSQL.5432")).await.expect("the server");
            tokio::spawn(pass(client, server, Arc::clone(&cut)));
        }
    });
    scissors
}

/// Passes bytes both ways until one side closes or the scissors close.
async fn pass(client: UnixStream, server: UnixStream, cut: Arc<Scissors>) {
    let ((mut from, to), (answers, mut asks)) = (client.into_split(), server.into_split());
    let (mute, muted) = watch::channel(false);
    let back = tokio::spawn(answer(answers, to, muted));
    let mut bytes = vec![0; 1 << 20];
    while let Ok(read) = from.read(&mut bytes).await {
        let said = &bytes[..read];
        let commits = said.windows(COMMIT.len()).any(|window| window == COMMIT);
        if let Some(whole) = cut_at(said, &cut.message) {
            // What comes before it does reach the server.
            let _ = asks.write_all(&said[..whole]).await;
            break;
        }
        if read == 0 || commits && take(&cut.before) {
            break;
        }
        let last = commits && take(&cut.after);
        mute.send_replace(last);
        if asks.write_all(said).await.is_err() {
            break;
        }
        if last {
            let _ = back.await;
            return;
        }
    }
    back.abort();
}

/// Counts the messages in `said` down; answers where the one begins that came to nothing.
fn cut_at(said: &[u8], left: &AtomicUsize) -> Option<usize> {
    let mut start = 0;
    // A type and a length; the store's messages are small, and a read holds whole ones.
    while let Some(length) = said.get(start + 1..start + 5).filter(|_| left.load(Ordering::Relaxed) > 0) {
        if left.fetch_sub(1, Ordering::Relaxed) == 1 {
            return Some(start);
        }
        start += 1 + u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
    }
    None
}

/// Passes answers on. Once muted it swallows them instead, until COMMIT was answered: a server whose
/// answers nobody takes would give up before it.
async fn answer(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, muted: watch::Receiver<bool>) {
    let mut bytes = vec![0; 1 << 20];
    while let Ok(read) = from.read(&mut bytes).await {
        let said = &bytes[..read];
        if read == 0 {
            return;
        }
        if !*muted.borrow() {
            if to.write_all(said).await.is_err() {
                return;
            }
        } else if said.windows(COMMIT.len()).any(|window| window == COMMIT) {
            return;
        }
    }
}

struct Cut {
    database: Database,
    store: Arc<dyn Store>,
    scissors: Arc<Scissors>,
    _dir: tempfile::TempDir,
}

async fn behind_a_relay() -> Cut {
    let database = Database::new();
    let dir = tempfile::tempdir().expect("a folder");
    let scissors = relay(dir.path(), database.socket().to_owned());
    let url = url(dir.path(), database.name());
    let options = PostgresOptions::parse(&url).expect("a URL");
    let store = PostgresStore::open(options, Arc::new(SystemClock)).await.expect("a store");
    Cut { database, store: Arc::new(store), scissors, _dir: dir }
}

/// Twenty at once, after the scissors were set: all of them happened once.
async fn all_happen_once(subject: &Cut, round: usize) {
    let all = (0..20).map(|n| {
        let (store, new) = (Arc::clone(&subject.store), app(&format!("a{round}-{n}"), None));
        async move {
            let committed = store.commit(writes([Write::Put(new.clone())])).await.expect("it happens");
            assert_eq!(existing(&store, new.id).await.version, committed.version);
        }
    });
    let all = futures::future::join_all(all);
    tokio::time::timeout(DEADLINE, all).await.expect("in time");
    let again = subject.database.open().await.expect("a store");
    assert_eq!(again.verify_chain().await.expect("a chain"), (round as u64 + 1) * 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_was_lost_happened_once() {
    let subject = behind_a_relay().await;
    for round in 0..5 {
        subject.scissors.after.store(2, Ordering::Relaxed);
        all_happen_once(&subject, round).await;
        assert!(subject.scissors.after.swap(0, Ordering::Relaxed) < 2, "nothing was cut");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_was_not_sent_happens_once() {
    let subject = behind_a_relay().await;
    for round in 0..5 {
        subject.scissors.before.store(2, Ordering::Relaxed);
        all_happen_once(&subject, round).await;
        assert!(subject.scissors.before.swap(0, Ordering::Relaxed) < 2, "nothing was cut");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_before_any_message_loses_and_doubles_nothing() {
    let subject = behind_a_relay().await;
    let mut cuts = 0;
    for k in 1.. {
        subject.scissors.message.store(k, Ordering::Relaxed);
        let new = app(&format!("a{k}"), None);
        let commit = subject.store.commit(writes([Write::Put(new.clone())]));
        let committed = tokio::time::timeout(DEADLINE, commit).await.expect("in time").expect("it happens");
        let left = subject.scissors.message.swap(0, Ordering::Relaxed);
        assert_eq!((committed.version, committed.replayed), (k as u64, None), "k = {k}");
        if left > 0 {
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 20, "only {cuts} cuts");
    let again = subject.database.open().await.expect("a store");
    assert_eq!(again.verify_chain().await.expect("a chain"), cuts + 1);
}
