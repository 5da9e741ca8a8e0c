//! Leases: taken as they were seen, kept by renewing, and judged inside the commit.

use super::fixture::{Subject, app, commit, get, refused, txn, version, writes};
use crate::assert_shape;
use freehold_model::{CommitError, Fence, Lease, LeaseChange, Txn, Write, txn::Idempotency};
use freehold_reconcile::Keeper;
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// Generous: it is reached only when something hangs.
const DEADLINE: Duration = Duration::from_secs(60);

async fn take(store: &Subject, name: &str, holder: &str, seen: (u64, u64)) {
    let (name, note) = (name.to_owned(), format!("{holder} says"));
    let change = LeaseChange::Take { name, holder: holder.to_owned(), note, seen };
    store.change_lease(change).await.expect("an answer");
}

async fn renew(store: &Subject, holder: &str) {
    store.change_lease(LeaseChange::Renew { holder: holder.to_owned() }).await.expect("an answer");
}

async fn release(store: &Subject, holder: &str) {
    store.change_lease(LeaseChange::Release { holder: holder.to_owned() }).await.expect("an answer");
}

fn keeping(mut keeper: Keeper, stop: &CancellationToken) -> JoinHandle<()> {
    let stop = stop.clone();
    tokio::spawn(async move { keeper.run(stop).await })
}

async fn give_up(store: &Subject, name: &str, holder: &str) {
    let change = LeaseChange::GiveUp { name: name.to_owned(), holder: holder.to_owned() };
    store.change_lease(change).await.expect("an answer");
}

async fn lease(store: &Subject, name: &str) -> Lease {
    let all = store.leases().await.expect("a read");
    all.into_iter().find(|lease| lease.name == name).expect("the lease exists")
}

async fn seen(store: &Subject, name: &str) -> (u64, u64) {
    let lease = lease(store, name).await;
    (lease.version, lease.renewals)
}

fn fenced(txn: Txn, lease: &str, version: u64) -> Txn {
    Txn { fence: Some(Fence { lease: lease.to_owned(), version }), ..txn }
}

/// Every renewal and every change of hands makes an older sight of it worthless.
pub async fn a_lease_is_taken_only_as_it_was_seen(store: Subject) {
    assert_eq!(store.leases().await.expect("a read"), []);
    take(&store, "rollout", "a", (0, 0)).await;
    let first = lease(&store, "rollout").await;
    assert_eq!((&*first.holder, first.version, &*first.note), ("a", 1, "a says"));
    take(&store, "rollout", "b", (0, 0)).await;
    assert_eq!(lease(&store, "rollout").await, first, "it is there by now");
    let before = seen(&store, "rollout").await;
    renew(&store, "a").await;
    take(&store, "rollout", "b", before).await;
    let renewed = lease(&store, "rollout").await;
    assert_eq!((&*renewed.holder, renewed.version, renewed.since), ("a", 1, first.since), "it was renewed");
    assert_eq!(renewed.renewals, before.1 + 1);
    let now = seen(&store, "rollout").await;
    take(&store, "rollout", "b", now).await;
    let taken = lease(&store, "rollout").await;
    assert_eq!((&*taken.holder, taken.version, &*taken.note), ("b", 2, "b says"));
    take(&store, "rollout", "a", now).await;
    assert_eq!(lease(&store, "rollout").await, taken, "it changed hands");
    assert_eq!(version(&store).await, 0, "none of it is an event");
}

/// A holder renews and gives back all of its own and nothing of others.
pub async fn leases_are_renewed_and_released_by_their_holder(store: Subject) {
    for (name, holder) in [("teardown", "a"), ("rollout", "a"), ("place", "b")] {
        take(&store, name, holder, (0, 0)).await;
    }
    let names: Vec<String> =
        store.leases().await.expect("a read").into_iter().map(|lease| lease.name).collect();
    assert_eq!(names, ["place", "rollout", "teardown"]);
    let before = [seen(&store, "teardown").await, seen(&store, "rollout").await, seen(&store, "place").await];
    renew(&store, "a").await;
    renew(&store, "nobody").await;
    assert_eq!(seen(&store, "teardown").await, (1, before[0].1 + 1));
    assert_eq!(seen(&store, "rollout").await, (1, before[1].1 + 1));
    assert_eq!(seen(&store, "place").await, before[2]);
    give_up(&store, "rollout", "b").await;
    assert_eq!(lease(&store, "rollout").await.holder, "a", "it is not b's to give up");
    give_up(&store, "rollout", "a").await;
    for (name, holder, version) in [("teardown", "a", 1), ("rollout", "", 2), ("place", "b", 1)] {
        let lease = lease(&store, name).await;
        assert_eq!((&*lease.holder, lease.version), (holder, version), "{name}");
    }
    release(&store, "a").await;
    for (name, holder, version) in [("teardown", "", 2), ("rollout", "", 2), ("place", "b", 1)] {
        let lease = lease(&store, name).await;
        assert_eq!((&*lease.holder, lease.version), (holder, version), "{name}");
    }
    let free = seen(&store, "rollout").await;
    renew(&store, "a").await;
    assert_eq!(seen(&store, "rollout").await, free, "what was given back is not renewed");
    take(&store, "rollout", "b", free).await;
    assert_eq!(lease(&store, "rollout").await.version, 3);
}

/// Nothing that was decided under another version happens, repeated requests included.
pub async fn a_stale_fence_refuses_everything(store: Subject) {
    let (new, late) = (app("new", None), app("late", None));
    let put = |new: &freehold_model::AnyResource| writes([Write::Put(new.clone())]);
    let error = refused(&store, fenced(put(&new), "rollout", 1)).await;
    assert_shape!(error, CommitError::LeaseLost { held: 1, found: 0, .. });
    take(&store, "rollout", "a", (0, 0)).await;
    take(&store, "teardown", "a", (0, 0)).await;
    let once = Idempotency { key: "once".into(), answer: json!("done") };
    commit(&store, fenced(Txn { idempotency: Some(once.clone()), ..put(&new) }, "rollout", 1)).await;
    renew(&store, "a").await;
    commit(&store, fenced(txn(), "rollout", 1)).await;
    let now = seen(&store, "rollout").await;
    take(&store, "rollout", "b", now).await;
    let error = refused(&store, fenced(put(&late), "rollout", 1)).await;
    assert_shape!(
        error,
        CommitError::LeaseLost { lease, held: 1, found: 2 } if lease == "rollout"
    );
    let repeat = fenced(Txn { idempotency: Some(once), ..txn() }, "rollout", 1);
    assert_shape!(refused(&store, repeat).await, CommitError::LeaseLost { .. });
    assert_eq!(get(&store, late.id).await, None);
    commit(&store, fenced(txn(), "teardown", 1)).await;
    release(&store, "b").await;
    let error = refused(&store, fenced(put(&late), "rollout", 2)).await;
    assert_shape!(error, CommitError::LeaseLost { found: 3, .. });
    assert_eq!(version(&store).await, 1);
}

/// Everybody wants one lease at once.
pub async fn a_contended_lease_has_one_holder(store: Subject) {
    let mut sight = (0, 0);
    for round in 1..=3 {
        let mut all = JoinSet::new();
        for n in 0..32 {
            let store = Arc::clone(&store);
            all.spawn(async move { take(&store, "rollout", &format!("h{n}"), sight).await });
        }
        all.join_all().await;
        assert_eq!(lease(&store, "rollout").await.version, round, "exactly one of them got it");
        sight = seen(&store, "rollout").await;
    }
}

/// The lease moves on under a crowd of commits: once that is answered, none of them happens any more.
pub async fn no_commit_follows_a_lease_that_moved_on(store: Subject) {
    take(&store, "rollout", "a", (0, 0)).await;
    let mut all = JoinSet::new();
    for n in 0..8 {
        let store = Arc::clone(&store);
        all.spawn(async move {
            let mut last = 0;
            for m in 0.. {
                let put = writes([Write::Put(app(&format!("a{n}-{m}"), None))]);
                match store.commit(fenced(put, "rollout", 1)).await {
                    Ok(committed) => last = committed.version,
                    Err(error) => {
                        assert_shape!(error, CommitError::LeaseLost { held: 1, found: 2, .. });
                        return last;
                    }
                }
            }
            unreachable!("it is refused some day")
        });
    }
    let mut head = store.head();
    tokio::time::timeout(DEADLINE, head.wait_for(|head| *head >= 40))
        .await
        .expect("in time")
        .expect("a store");
    let now = seen(&store, "rollout").await;
    take(&store, "rollout", "b", now).await;
    let end = version(&store).await;
    let last = tokio::time::timeout(DEADLINE, all.join_all()).await.expect("in time");
    assert!(last.iter().all(|last| *last <= end), "{last:?} beyond {end}");
    assert_eq!(version(&store).await, end);
}

/// Two keepers contend: one leads; when it dies without a word the other does, under a new version; what
/// is given back is taken at once.
pub async fn a_keeper_replaces_one_that_died(store: Subject) {
    let leads = async |seat: &mut freehold_reconcile::Seat| {
        let led = tokio::time::timeout(DEADLINE, seat.led(None)).await.expect("in time");
        led.expect("a keeper").version
    };
    let stop = CancellationToken::new();
    let keeper = |holder: &str| {
        let mut keeper = Keeper::new(Arc::clone(&store), holder, "");
        (keeper.seat("rollout"), keeper)
    };
    let (mut first, one) = keeper("one");
    let one = keeping(one, &stop);
    assert_eq!(leads(&mut first).await, 1);
    let (mut second, two) = keeper("two");
    let watched = two.watched();
    let two = keeping(two, &stop);
    assert_eq!(lease(&store, "rollout").await.holder, "one");
    one.abort();
    assert_eq!(leads(&mut second).await, 2);
    assert_shape!(watched.borrow().clone(), it if it.len() == 1 && it[0].live && it[0].lease.holder == "two");
    let (mut third, three) = keeper("three");
    let end = CancellationToken::new();
    let three = keeping(three, &end);
    stop.cancel();
    two.await.expect("no panic");
    assert_eq!(leads(&mut third).await, 4, "given back, then taken");
    end.cancel();
    three.await.expect("no panic");
    assert_eq!(lease(&store, "rollout").await.holder, "");
}
