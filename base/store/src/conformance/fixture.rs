//! What the scenarios share: small resources, short transactions and reads.

use freehold_model::{Actor, AnyId, AnyResource, CommitError, Committed, Event, Kind, Seq, Txn, Write};
use freehold_reconcile::Store;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// A store under test.
pub type Subject = Arc<dyn Store>;

/// An app that is not stored yet.
pub fn app(name: &str, parent: Option<AnyId>) -> AnyResource {
    resource(Kind::App, name, parent)
}

/// A resource that is not stored yet.
pub fn resource(kind: Kind, name: &str, parent: Option<AnyId>) -> AnyResource {
    AnyResource {
        id: next_id(kind),
        kind,
        name: name.to_owned(),
        parent,
        labels: BTreeMap::new(),
        generation: 0,
        version: 0,
        created: "2026-11-21T01:02:03.123456789Z".parse().expect("a time"),
        deleting: None,
        spec: json!({ "size": 1 }),
        status: json!({}),
    }
}

/// A fresh id. Ids of one kind sort in the order in which they were made.
fn next_id(kind: Kind) -> AnyId {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let time = ulid::Ulid::new().timestamp_ms();
    AnyId { kind, ulid: ulid::Ulid::from_parts(time, COUNT.fetch_add(1, Ordering::Relaxed).into()) }
}

/// A transaction that does nothing yet.
pub fn txn() -> Txn {
    Txn::new(Actor::User("ada".into()), "because", "req-1")
}

/// A transaction of these writes.
pub fn writes(writes: impl IntoIterator<Item = Write>) -> Txn {
    Txn { writes: writes.into_iter().collect(), ..txn() }
}

/// Replaces a status whatever is there.
pub fn status(id: AnyId, status: Value) -> Write {
    Write::Status { id, status, version: None }
}

/// Replaces a spec whatever is there.
pub fn spec(id: AnyId, spec: Value) -> Write {
    Write::Spec { id, spec, generation: None }
}

/// Commits, which must work.
pub async fn commit(store: &Subject, txn: Txn) -> Committed {
    store.commit(txn).await.expect("the commit happens")
}

/// Commits, which must be refused.
pub async fn refused(store: &Subject, txn: Txn) -> CommitError {
    store.commit(txn).await.expect_err("the commit is refused")
}

/// Stores `resource` and reads it back.
pub async fn stored(store: &Subject, resource: AnyResource) -> AnyResource {
    let id = resource.id;
    commit(store, writes([Write::Put(resource)])).await;
    existing(store, id).await
}

/// Reads a resource that may not exist.
pub async fn get(store: &Subject, id: AnyId) -> Option<AnyResource> {
    store.view().await.expect("a view").get(id).expect("a read")
}

/// Reads a resource that must exist.
pub async fn existing(store: &Subject, id: AnyId) -> AnyResource {
    get(store, id).await.expect("the resource exists")
}

/// Every event after `after`.
pub async fn events(store: &Subject, after: Seq) -> Vec<Event> {
    store.view().await.expect("a view").events(after, usize::MAX, None).expect("a read")
}

/// The global version that views see.
pub async fn version(store: &Subject) -> Seq {
    store.view().await.expect("a view").version().expect("a read")
}

/// Asserts that a value has a certain shape, and shows the value if not.
#[macro_export]
#[doc(hidden)]
macro_rules! assert_shape {
    ($value:expr, $pattern:pat $(if $guard:expr)?) => {{
        let value = $value;
        assert!(matches!(&value, $pattern $(if $guard)?), "{value:?} is not {}", stringify!($pattern));
    }};
}
