//! Every engine decides what the simulated worlds ask as the store in memory does: what holds in the
//! simulation holds on SQLite and PostgreSQL.

use crate::{play, populate};
use freehold_model::{Event, Kind, Query};
use freehold_reconcile::{
    Store, View,
    memory::{Done, MemoryStore},
    sim::{SimClock, World},
};
use freehold_store::{PostgresStore, SqliteStore, testing::Database};
use std::sync::Arc;

/// So many worlds, with one to three control planes.
const WORLDS: u64 = 6;

#[tokio::test]
async fn sqlite_decides_as_the_simulation_does() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 0..WORLDS {
        let (clock, world) = (Arc::new(SimClock::new()), played(seed));
        let store = SqliteStore::open(folder.path().join(format!("{seed}.db")), clock.clone()).unwrap();
        compare(seed, &world, &store, &clock).await;
    }
}

#[tokio::test]
async fn postgresql_decides_as_the_simulation_does() {
    for seed in 0..WORLDS {
        let (clock, world, database) = (Arc::new(SimClock::new()), played(seed), Database::new());
        let store = PostgresStore::open(database.options(), clock.clone()).await.unwrap();
        compare(seed, &world, &store, &clock).await;
        store.close().await;
    }
}

/// A world that was played to its end.
fn played(seed: u64) -> Arc<MemoryStore> {
    let mut world = World::new(seed, false);
    world.context.store.record();
    let (mut invariants, asked) = populate(&mut world, true, 1 + (seed % 3) as usize, crate::Room::Ample);
    play(&mut world, &mut invariants, &asked).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
    world.context.store.clone()
}

/// Asks `store` all that `world` was asked: each answer must be the same, and in the end all that is kept.
async fn compare(seed: u64, world: &MemoryStore, store: &dyn Store, clock: &SimClock) {
    let done = world.recorded();
    assert!(done.len() > 20, "seed {seed}: nothing happens in this world");
    for (place, done) in done.into_iter().enumerate() {
        match done {
            Done::Commit { at, txn, outcome } => {
                clock.set(at);
                let answer = store.commit(*txn).await;
                assert_eq!(format!("{answer:?}"), format!("{outcome:?}"), "seed {seed}, commit {place}");
            }
            Done::Lease { at, change } => {
                clock.set(at);
                store.change_lease(change).await.unwrap();
            }
        }
    }
    let (ours, theirs) = (world.view_now(), store.view().await.unwrap());
    let events = |view: &dyn View| -> Vec<Event> { view.events(0, usize::MAX, None).unwrap() };
    assert_eq!(events(&*theirs), events(&ours), "seed {seed}: the logs differ");
    for &kind in Kind::ALL {
        let all = |view: &dyn View| view.list(&Query { limit: Query::MAX_LIMIT, ..Query::of(kind) }).unwrap();
        assert_eq!(all(&*theirs), all(&ours), "seed {seed}: what is kept of kind {kind} differs");
    }
    let lease = |it: &freehold_model::Lease| (it.name.clone(), it.holder.clone(), it.version);
    let ours: Vec<_> = world.leases_now().iter().map(lease).collect();
    assert_eq!(store.leases().await.unwrap().iter().map(lease).collect::<Vec<_>>(), ours, "seed {seed}");
}
