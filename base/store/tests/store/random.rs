//! Random transactions have the same answers and the same effects on every engine as on the store in
//! memory, down to the hashes of the events: one by one, and many in one group.

use crate::{postgres, support};
use freehold_model::{
    AnyId, AnyResource, CommitError, Committed, Kind, Prune, Query, Txn, Write, txn::Idempotency,
};
use freehold_reconcile::{Clock, MemoryStore, Store, View, ViewExt as _};
use freehold_store::{
    SqliteStore,
    conformance::fixture::{resource, spec, status, txn},
};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

/// Few of each, so that they meet.
const IDS: usize = 5;
const NAMES: [&str; 3] = ["a", "b", "c"];

/// A version or generation to name: right more often than not.
#[derive(Debug, Clone, Copy)]
enum Seen {
    Now,
    Never,
    Other,
}

#[derive(Debug, Clone)]
enum Act {
    Put {
        id: usize,
        name: usize,
        parent: Option<usize>,
        value: u8,
        seen: Seen,
    },
    Spec {
        id: usize,
        value: u8,
        seen: Option<Seen>,
    },
    Status {
        id: usize,
        value: u8,
        seen: Option<Seen>,
    },
    Deleting(usize),
    Delete(usize),
    Expect(usize, Seen),
    Claim(u8, usize),
    Release(u8),
    Event(usize),
    Key(u8),
    /// Up to so many events before the end.
    Prune(u64),
}

fn seen() -> impl Strategy<Value = Seen> {
    prop_oneof![6 => Just(Seen::Now), 2 => Just(Seen::Never), 1 => Just(Seen::Other)]
}

fn act() -> impl Strategy<Value = Act> {
    let id = || 0..IDS;
    prop_oneof![
        6 => (id(), 0..NAMES.len(), prop::option::of(id()), 0..3u8, seen())
            .prop_map(|(id, name, parent, value, seen)| Act::Put { id, name, parent, value, seen }),
        3 => (id(), 0..3u8, prop::option::of(seen())).prop_map(|(id, value, seen)| Act::Spec { id, value, seen }),
        3 => (id(), 0..3u8, prop::option::of(seen()))
            .prop_map(|(id, value, seen)| Act::Status { id, value, seen }),
        1 => id().prop_map(Act::Deleting),
        1 => id().prop_map(Act::Delete),
        1 => (id(), seen()).prop_map(|(id, seen)| Act::Expect(id, seen)),
        2 => (0..3u8, id()).prop_map(|(key, id)| Act::Claim(key, id)),
        1 => (0..3u8).prop_map(Act::Release),
        1 => id().prop_map(Act::Event),
        1 => (0..20u8).prop_map(Act::Key),
        1 => (0..9u64).prop_map(Act::Prune),
    ]
}

/// The ids, the same in both stores; the last is of another kind.
fn universe() -> Vec<AnyResource> {
    let kind = |n| if n + 1 == IDS { Kind::Env } else { Kind::App };
    let mut all: Vec<AnyResource> = (0..IDS).map(|n| resource(kind(n), "", None)).collect();
    for (n, resource) in all.iter_mut().enumerate() {
        resource.id.ulid = ulid::Ulid::from_parts(1, n as u128);
    }
    all
}

impl Seen {
    fn pick(self, now: u64) -> u64 {
        match self {
            Seen::Now => now,
            Seen::Never => 0,
            Seen::Other => now + 1,
        }
    }
}

/// The transaction of these acts by somebody who has read `view`.
fn transaction(acts: &[Act], view: &dyn View) -> Txn {
    let all = universe();
    let mut txn = txn();
    let read = |id: usize| view.get(all[id].id).expect("a read");
    let version = |id, seen: Seen| seen.pick(read(id).map_or(0, |found| found.version));
    let generation = |id, seen: Seen| seen.pick(read(id).map_or(0, |found| found.generation));
    for act in acts {
        match *act {
            Act::Put { id, name, parent, value, seen } => {
                let mut new = all[id].clone();
                new.name = NAMES[name].to_owned();
                new.parent = parent.map(|parent| all[parent].id);
                new.version = version(id, seen);
                new.spec = json!({ "value": value });
                txn.writes.push(Write::Put(new));
            }
            Act::Spec { id, value, seen: None } => {
                txn.writes.push(spec(all[id].id, json!({ "value": value })))
            }
            Act::Spec { id, value, seen: Some(seen) } => {
                let (id, generation) = (all[id].id, Some(generation(id, seen)));
                txn.writes.push(Write::Spec { id, spec: json!({ "value": value }), generation });
            }
            Act::Status { id, value, seen: None } => txn.writes.push(status(all[id].id, json!(value))),
            Act::Status { id, value, seen: Some(seen) } => {
                let (id, version) = (all[id].id, Some(version(id, seen)));
                txn.writes.push(Write::Status { id, status: json!(value), version });
            }
            Act::Deleting(id) => txn.writes.push(Write::Deleting { id: all[id].id }),
            Act::Delete(id) => txn.writes.push(Write::Delete { id: all[id].id }),
            Act::Expect(id, seen) => txn.expect.push((all[id].id, version(id, seen))),
            Act::Claim(key, id) => drop(txn.claim("port", key, all[id].id)),
            Act::Release(key) => drop(txn.release("port", key)),
            Act::Event(id) => drop(txn.event(all[id].id, "app.greeted", json!({ "n": 0.5 }))),
            Act::Key(key) => {
                txn.idempotency = Some(Idempotency { key: key.to_string(), answer: json!({ "key": key }) });
            }
            Act::Prune(back) => {
                let last = view.version().expect("a read").saturating_sub(back);
                txn.prune = Some(Prune { last, subject: all[0].id, policy: "random".into() });
            }
        }
    }
    txn
}

/// The answer without the phrases that are for people.
fn gist(answer: Result<Committed, CommitError>) -> String {
    match answer {
        Err(CommitError::Stale { id, .. }) => format!("{id} is stale"),
        other => format!("{other:?}"),
    }
}

/// Everything that a view can tell.
fn everything(view: &dyn View) -> (Vec<AnyResource>, String, u64) {
    let list = |kind: &Kind| view.list(&Query::of(*kind)).expect("a read").items;
    let resources = Kind::ALL.iter().flat_map(list).collect();
    let about = |id: AnyId| view.last_events(3, Some(id)).expect("a read");
    let about: Vec<_> = universe().iter().map(|resource| about(resource.id)).collect();
    let events = view.events(view.beginning().expect("a read"), usize::MAX, None).expect("a read");
    let claims = view.claims("port").expect("a read");
    let stone = |resource: &AnyResource| view.tombstone(resource.id).expect("a read");
    let pruned = (view.anchor().expect("a read"), universe().iter().map(stone).collect::<Vec<_>>());
    (resources, format!("{claims:?} {events:?} {about:?} {pruned:?}"), view.version().expect("a read"))
}

/// Moves on by a nanosecond between transactions, equally for both stores.
struct Steps(AtomicI64);

impl Clock for Steps {
    fn now(&self) -> Timestamp {
        let nanos = self.0.load(Ordering::Relaxed);
        Timestamp::from_nanosecond(1_795_222_923_000_000_000 + i128::from(nanos)).expect("a time")
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sqlite_and_memory_agree(history in prop::collection::vec(prop::collection::vec(act(), 0..5), 1..40)) {
        sqlite_agrees(&history)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn postgres_and_memory_agree(history in prop::collection::vec(prop::collection::vec(act(), 0..5), 1..60)) {
        postgres_agrees(&history)?;
    }

    #[test]
    fn groups_of_postgres_and_memory_agree(
        history in prop::collection::vec(prop::collection::vec(act(), 0..5), 20..120)
    ) {
        groups_agree(&history)?;
    }
}

#[tokio::main(flavor = "current_thread")]
async fn sqlite_agrees(history: &[Vec<Act>]) -> Result<(), TestCaseError> {
    let clock = Arc::new(Steps(AtomicI64::new(0)));
    let dir = tempfile::tempdir().expect("a folder");
    let sqlite = SqliteStore::open(dir.path().join("state.db"), clock.clone()).expect("a store");
    let memory = MemoryStore::new(clock.clone());
    agree(history, &clock, &sqlite, &memory).await?;
    prop_assert_eq!(sqlite.verify_chain().await.expect("a chain"), memory.version());
    drop(sqlite);
    let again = support::open(dir.path()).expect("a store");
    prop_assert_eq!(everything(&*again.view().await.expect("a view")), everything(&memory.view_now()));
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn postgres_agrees(history: &[Vec<Act>]) -> Result<(), TestCaseError> {
    let clock = Arc::new(Steps(AtomicI64::new(0)));
    let database = freehold_store::testing::Database::new();
    let store = postgres::open_with(&database, clock.clone()).await;
    let memory = MemoryStore::new(clock.clone());
    agree(history, &clock, &store, &memory).await?;
    prop_assert_eq!(store.verify_chain().await.expect("a chain"), memory.version());
    Ok(())
}

/// Each transaction by itself, and everything that can be read after each.
async fn agree(
    history: &[Vec<Act>],
    clock: &Steps,
    store: &dyn Store,
    memory: &MemoryStore,
) -> Result<(), TestCaseError> {
    for acts in history {
        clock.0.fetch_add(1, Ordering::Relaxed);
        let txn = transaction(acts, &memory.view_now());
        let (theirs, ours) = (memory.commit(txn.clone()).await, store.commit(txn).await);
        prop_assert_eq!(gist(ours), gist(theirs), "{:?}", acts);
        let ours = everything(&*store.view().await.expect("a view"));
        prop_assert_eq!(ours, everything(&memory.view_now()), "{:?}", acts);
    }
    Ok(())
}

/// All at once, in the order in which memory took them: they become a few groups.
#[tokio::main(flavor = "current_thread")]
async fn groups_agree(history: &[Vec<Act>]) -> Result<(), TestCaseError> {
    let clock = Arc::new(Steps(AtomicI64::new(0)));
    let database = freehold_store::testing::Database::new();
    let store = postgres::open_with(&database, clock.clone()).await;
    let memory = MemoryStore::new(clock.clone());
    let (mut txns, mut theirs) = (vec![], vec![]);
    for acts in history {
        let txn = transaction(acts, &memory.view_now());
        theirs.push(gist(memory.commit(txn.clone()).await));
        txns.push(txn);
    }
    let ours = futures::future::join_all(txns.into_iter().map(|txn| store.commit(txn))).await;
    prop_assert_eq!(ours.into_iter().map(gist).collect::<Vec<_>>(), theirs);
    let ours = everything(&*store.view().await.expect("a view"));
    prop_assert_eq!(ours, everything(&memory.view_now()));
    prop_assert_eq!(store.verify_chain().await.expect("a chain"), memory.version());
    Ok(())
}
