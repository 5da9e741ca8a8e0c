//! Many at once: order, isolation and snapshots.

use super::fixture::{
    Subject, app, commit, events, existing, get, refused, spec, status, stored, txn, version, writes,
};
use crate::assert_shape;
use freehold_model::{AnyId, CommitError, Event, Query, Write};
use serde_json::json;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::task::JoinSet;

const WRITERS: usize = 32;
const EACH: usize = 20;
/// Generous: it is reached only when something hangs.
const DEADLINE: Duration = Duration::from_secs(60);

/// Follows the head while 32 writers commit: no event is skipped, doubled or out of order.
pub async fn watchers_see_every_event_once_in_order(store: Subject) {
    let watcher = tokio::spawn(watch(Arc::clone(&store), (WRITERS * EACH * 2) as u64));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            for n in 0..EACH {
                let new = app(&format!("a{writer}-{n}"), None);
                let id = new.id;
                let before = commit(&store, writes([Write::Put(new)])).await.version;
                let after = commit(&store, writes([status(id, json!({ "n": n }))])).await.version;
                assert!(before < after);
            }
        });
    }
    writers.join_all().await;
    let seen = tokio::time::timeout(DEADLINE, watcher).await.expect("in time").expect("no panic");
    assert_eq!(seen.len(), WRITERS * EACH * 2);
    for (event, seq) in seen.iter().zip(1..) {
        assert_eq!(event.seq, seq);
    }
    let created: BTreeSet<AnyId> =
        seen.iter().filter(|e| e.what == "app.created").map(|e| e.subject).collect();
    assert_eq!(created.len(), WRITERS * EACH);
}

async fn watch(store: Subject, until: u64) -> Vec<Event> {
    let mut head = store.head();
    let mut seen: Vec<Event> = vec![];
    loop {
        let upto = *head.borrow_and_update();
        let after = seen.last().map_or(0, |event| event.seq);
        seen.extend(events(&store, after).await);
        let last = seen.last().map_or(0, |event| event.seq);
        assert!(last >= upto, "the head says {upto}, a view after it sees {last}");
        if last >= until {
            return seen;
        }
        head.changed().await.expect("the store lives");
    }
}

/// Good and bad transactions at once: each gets its own answer, and only the good ones happen.
pub async fn a_refusal_leaves_its_neighbours_alone(store: Subject) {
    stored(&store, app("taken", None)).await;
    let mut all = JoinSet::new();
    for n in 0..300 {
        let store = Arc::clone(&store);
        all.spawn(async move {
            let new = app(&format!("a{n}"), None);
            let id = new.id;
            let mut change = writes([Write::Put(new)]);
            match n % 3 {
                0 => change.writes.push(Write::Put(app("taken", None))),
                1 => change.writes.push(Write::Delete { id: app("ghost", None).id }),
                _ => {}
            }
            (n % 3, id, store.commit(change).await)
        });
    }
    for (case, id, result) in all.join_all().await {
        match case {
            0 => assert_shape!(result, Err(CommitError::NameTaken { .. })),
            1 => assert_shape!(result, Err(CommitError::Missing { .. })),
            _ => assert_eq!(existing(&store, id).await.version, result.expect("a commit").version),
        }
        assert_eq!(get(&store, id).await.is_some(), case == 2);
    }
    assert_eq!(version(&store).await, 101);
}

/// Everybody wants one key at once.
pub async fn a_contended_claim_has_one_winner(store: Subject) {
    let mut all = JoinSet::new();
    for n in 0..64 {
        let store = Arc::clone(&store);
        all.spawn(async move {
            let new = app(&format!("a{n}"), None);
            let mut change = txn();
            change.claim("port", 80, new.id).writes.push(Write::Put(new.clone()));
            (new.id, store.commit(change).await)
        });
    }
    let answers = all.join_all().await;
    let winners: Vec<AnyId> =
        answers.iter().filter(|(_, answer)| answer.is_ok()).map(|(id, _)| *id).collect();
    let holder = store.view().await.expect("a view").claim("port", "80").expect("a read");
    assert_eq!(winners, Vec::from_iter(holder));
    for (_, answer) in answers.into_iter().filter(|(_, answer)| answer.is_err()) {
        assert_shape!(answer, Err(CommitError::Claimed { owner, .. }) if Some(*owner) == holder);
    }
}

/// Read, add one, write if nobody else did, else try again: the sum is right.
pub async fn no_update_is_lost(store: Subject) {
    let mut counter = app("counter", None);
    counter.status = json!(0);
    let id = stored(&store, counter).await.id;
    let mut all = JoinSet::new();
    for _ in 0..8 {
        let store = Arc::clone(&store);
        all.spawn(async move {
            for _ in 0..10 {
                add_one(&store, id).await;
            }
        });
    }
    all.join_all().await;
    assert_eq!(existing(&store, id).await.status, json!(80));
}

async fn add_one(store: &Subject, id: AnyId) {
    loop {
        let read = existing(store, id).await;
        let next = read.status.as_u64().expect("a count") + 1;
        let write = Write::Status { id, status: json!(next), version: Some(read.version) };
        match store.commit(writes([write])).await {
            Ok(_) => return,
            Err(error) => assert_shape!(error, CommitError::Stale { .. }),
        }
    }
}

/// Later commits do not show in a view, whatever it is asked; many views live at once.
pub async fn a_view_sees_one_moment(store: Subject) {
    let old = stored(&store, app("old", None)).await;
    let gone = stored(&store, app("gone", None)).await;
    let view = store.view().await.expect("a view");
    let mut change = writes([
        spec(old.id, json!({ "size": 2 })),
        Write::Delete { id: gone.id },
        Write::Put(app("new", None)),
    ]);
    change.claim("port", 80, old.id);
    commit(&store, change).await;
    assert_eq!(view.version().expect("a read"), gone.version);
    assert_eq!(view.get(old.id).expect("a read"), Some(old.clone()));
    assert_eq!(view.get(gone.id).expect("a read"), Some(gone.clone()));
    let listed = view.list(&Query::of(old.kind)).expect("a read").items;
    assert_eq!(listed.iter().map(|item| item.id).collect::<BTreeSet<_>>(), BTreeSet::from([old.id, gone.id]));
    assert_eq!(view.claim("port", "80").expect("a read"), None);
    assert_eq!(view.events(0, 100, None).expect("a read").len(), 2);
    assert_eq!(view.last_events(1, None).expect("a read")[0].seq, gone.version);

    let mut views = vec![view];
    for n in 0..100 {
        views.push(store.view().await.expect("a view"));
        commit(&store, writes([status(old.id, json!(n))])).await;
    }
    let versions: Vec<u64> = views.iter().map(|view| view.version().expect("a read")).collect();
    assert!(versions.is_sorted());
    assert_eq!((versions[0], versions[100]), (2, 5 + 99));
}

/// Whoever was answered sees what he wrote: in the head, and in a view made then.
pub async fn a_commit_is_seen_once_it_is_answered(store: Subject) {
    let head = store.head();
    let mut all = JoinSet::new();
    for n in 0..WRITERS {
        let (store, head) = (Arc::clone(&store), head.clone());
        all.spawn(async move {
            let new = app(&format!("a{n}"), None);
            let id = new.id;
            let committed = commit(&store, writes([Write::Put(new)])).await;
            assert!(*head.borrow() >= committed.version);
            assert_eq!(existing(&store, id).await.version, committed.version);
        });
    }
    all.join_all().await;
    let again = writes([Write::Delete { id: app("ghost", None).id }]);
    refused(&store, again).await;
    assert_eq!(*head.borrow(), WRITERS as u64);
}
