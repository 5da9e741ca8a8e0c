//! Each kind of write by itself.

use super::fixture::{
    Subject, app, commit, events, existing, get, refused, spec, status, stored, version, writes,
};
use crate::assert_shape;
use freehold_model::{CommitError, Write};
use serde_json::json;

/// What was put reads back, with generation 1 and the version of its commit.
pub async fn creating_stores_what_was_put(store: Subject) {
    let parent = stored(&store, app("parent", None)).await;
    let mut new = app("web", Some(parent.id));
    new.labels.insert("odd \"key\" \\ ü".into(), "va'lue".into());
    new.spec = json!({ "deep": [{ "text": "ü\u{0}\n", "big": u64::MAX, "none": null }] });
    new.status = json!({ "phase": "new" });
    let committed = commit(&store, writes([Write::Put(new.clone())])).await;
    new.generation = 1;
    new.version = committed.version;
    assert_eq!(existing(&store, new.id).await, new);
    assert_eq!(committed.replayed, None);
}

/// An id is created once, even as part of one transaction.
pub async fn creating_twice_is_stale(store: Subject) {
    let new = app("web", None);
    let twice = writes([Write::Put(new.clone()), Write::Put(new.clone())]);
    assert_shape!(refused(&store, twice).await, CommitError::Stale { id, .. } if *id == new.id);
    commit(&store, writes([Write::Put(new.clone())])).await;
    let again = writes([Write::Put(new.clone())]);
    assert_shape!(refused(&store, again).await, CommitError::Stale { id, .. } if *id == new.id);
}

/// A put replaces everything but the time of creation, if it names the version that is stored.
pub async fn replacing_needs_the_stored_version(store: Subject) {
    let old = stored(&store, app("web", None)).await;
    let mut new = old.clone();
    new.name = "site".into();
    new.labels.insert("tier".into(), "front".into());
    new.spec = json!({ "size": 2 });
    new.status = json!({ "phase": "up" });
    new.created = "2001-01-01T00:00:00Z".parse().expect("a time");
    let committed = commit(&store, writes([Write::Put(new.clone())])).await;
    let late = refused(&store, writes([Write::Put(new.clone())])).await;
    assert_shape!(late, CommitError::Stale { id, .. } if *id == old.id);
    new.created = old.created;
    new.generation = 2;
    new.version = committed.version;
    assert_eq!(existing(&store, old.id).await, new);
}

/// Every write but a creation needs something to write to.
pub async fn writing_to_nothing_is_missing(store: Subject) {
    let mut ghost = app("ghost", None);
    ghost.version = 7;
    let id = ghost.id;
    for write in [
        Write::Put(ghost),
        spec(id, json!({})),
        status(id, json!({})),
        Write::Deleting { id },
        Write::Delete { id },
    ] {
        let error = refused(&store, writes([write])).await;
        assert_shape!(error, CommitError::Missing { id: missing } if *missing == id);
    }
    assert_eq!(version(&store).await, 0);
}

/// Neither a status nor a put that leaves the spec alone bumps the generation.
pub async fn the_generation_counts_changes_of_the_spec(store: Subject) {
    let first = stored(&store, app("web", None)).await;
    commit(&store, writes([status(first.id, json!({ "phase": "up" }))])).await;
    assert_eq!(existing(&store, first.id).await.generation, 1);
    commit(&store, writes([spec(first.id, json!({ "size": 2 }))])).await;
    let mut second = existing(&store, first.id).await;
    assert_eq!((second.generation, &second.spec), (2, &json!({ "size": 2 })));
    assert_eq!(second.status, json!({ "phase": "up" }));
    second.name = "site".into();
    second.generation = 99;
    let third = stored(&store, second).await;
    assert_eq!((third.generation, third.name.as_str()), (2, "site"));
}

/// A spec that names a generation is refused when it is another, and only then.
pub async fn a_spec_needs_the_generation_it_was_read_at(store: Subject) {
    let id = stored(&store, app("web", None)).await.id;
    commit(&store, writes([status(id, json!({ "phase": "up" }))])).await;
    let size = |size, generation| Write::Spec { id, spec: json!({ "size": size }), generation };
    commit(&store, writes([size(2, Some(1))])).await;
    assert_shape!(refused(&store, writes([size(3, Some(1))])).await, CommitError::Stale { .. });
    assert_shape!(refused(&store, writes([size(2, Some(1))])).await, CommitError::Stale { .. });
    commit(&store, writes([size(3, None)])).await;
    assert_eq!(existing(&store, id).await.generation, 3);
}

/// A status that names a version is refused when it is another, and only then.
pub async fn a_status_needs_the_version_it_was_read_at(store: Subject) {
    let first = stored(&store, app("web", None)).await;
    let phase = |phase, version| Write::Status { id: first.id, status: json!({ "phase": phase }), version };
    commit(&store, writes([phase("up", Some(first.version))])).await;
    let late = refused(&store, writes([phase("down", Some(first.version))])).await;
    assert_shape!(late, CommitError::Stale { .. });
    let idle = refused(&store, writes([phase("up", Some(first.version))])).await;
    assert_shape!(idle, CommitError::Stale { .. });
    commit(&store, writes([phase("down", None)])).await;
    assert_eq!(existing(&store, first.id).await.status, json!({ "phase": "down" }));
}

/// A write of what is there already keeps the version and causes no event.
pub async fn idle_writes_leave_no_trace(store: Subject) {
    let mut new = app("web", None);
    new.spec = json!({ "a": 1, "b": [true, 0.1] });
    let before = stored(&store, new).await;
    let other = stored(&store, app("other", None)).await;
    let head = version(&store).await;
    let same: serde_json::Value = serde_json::from_str(r#"{ "b": [true, 0.1], "a": 1 }"#).expect("JSON");
    let idle = [spec(before.id, same), status(before.id, json!({})), Write::Put(before.clone())];
    let committed = commit(&store, writes(idle.clone())).await;
    assert_eq!(committed.version, head);
    assert_eq!(events(&store, head).await, []);
    assert_eq!(existing(&store, before.id).await, before);
    // Beside a write that does something they are idle as well.
    let mut mixed = writes(idle);
    mixed.writes.insert(1, status(other.id, json!({ "phase": "up" })));
    let committed = commit(&store, mixed).await;
    assert_eq!(committed.version, head + 1);
    assert_eq!(existing(&store, other.id).await.version, head + 1);
    assert_eq!(existing(&store, before.id).await, before);
}

/// Asking twice for deletion stamps the first time and keeps it.
pub async fn deleting_is_stamped_once(store: Subject) {
    let id = stored(&store, app("web", None)).await.id;
    commit(&store, writes([Write::Deleting { id }])).await;
    let stamped = existing(&store, id).await;
    let head = version(&store).await;
    assert!(stamped.deleting.is_some());
    assert_eq!((stamped.version, stamped.generation), (head, 1));
    let committed = commit(&store, writes([Write::Deleting { id }])).await;
    assert_eq!(committed.version, head);
    assert_eq!(existing(&store, id).await, stamped);
}

/// What was deleted is gone, and deleting it again is a conflict.
pub async fn deleted_is_gone(store: Subject) {
    let id = stored(&store, app("web", None)).await.id;
    commit(&store, writes([Write::Delete { id }])).await;
    assert_eq!(get(&store, id).await, None);
    assert_shape!(refused(&store, writes([Write::Delete { id }])).await, CommitError::Missing { .. });
}
