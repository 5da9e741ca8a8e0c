//! Many writes as one: all of them or none, and one version for all.

use super::fixture::{
    Subject, app, commit, events, existing, get, refused, spec, status, stored, txn, version, writes,
};
use crate::assert_shape;
use freehold_model::{CommitError, Write, txn::Idempotency};
use serde_json::json;

/// Everything written has the version of the answer, which is the place of the last event.
pub async fn one_transaction_writes_one_version(store: Subject) {
    let old = stored(&store, app("old", None)).await;
    let gone = stored(&store, app("gone", None)).await;
    let (a, b) = (app("a", None), app("b", None));
    let mut change = writes([
        Write::Put(a.clone()),
        status(old.id, json!({ "phase": "up" })),
        Write::Delete { id: gone.id },
        Write::Put(b.clone()),
    ]);
    change.event(a.id, "app.greeted", json!({ "text": "hello" }));
    let committed = commit(&store, change).await;
    assert_eq!(committed.version, version(&store).await);
    for id in [a.id, b.id, old.id] {
        assert_eq!(existing(&store, id).await.version, committed.version);
    }
    let caused = events(&store, 2).await;
    let whats: Vec<&str> = caused.iter().map(|event| event.what.as_str()).collect();
    assert_eq!(whats, ["app.created", "app.observed", "app.deleted", "app.created", "app.greeted"]);
    assert_eq!(caused.last().map(|event| event.seq), Some(committed.version));
    assert!(caused[..4].iter().all(|event| event.data["version"] == committed.version));
}

/// Versions and generations are compared with those from before the transaction.
pub async fn a_resource_read_once_takes_several_writes(store: Subject) {
    let read = stored(&store, app("web", None)).await;
    let (id, version) = (read.id, Some(read.version));
    let size = |size| Write::Spec { id, spec: json!({ "size": size }), generation: Some(1) };
    let phase = |phase| Write::Status { id, status: json!({ "phase": phase }), version };
    commit(&store, writes([size(2), phase("up"), size(3), phase("down"), Write::Deleting { id }])).await;
    let now = existing(&store, id).await;
    assert_eq!((&now.spec, &now.status), (&json!({ "size": 3 }), &json!({ "phase": "down" })));
    assert_eq!(now.generation, 3);

    let new = app("new", None);
    let (id, version, generation) = (new.id, Some(0), Some(0));
    let later = [
        Write::Put(new),
        Write::Status { id, status: json!({ "phase": "up" }), version },
        Write::Spec { id, spec: json!({ "size": 5 }), generation },
    ];
    commit(&store, writes(later)).await;
    assert_eq!(existing(&store, id).await.status, json!({ "phase": "up" }));
}

/// An expected version is one that is stored, or 0 for what must not exist.
pub async fn expectations_must_hold(store: Subject) {
    let seen = stored(&store, app("web", None)).await;
    let ghost = app("ghost", None).id;
    let expecting = |id, version| {
        let mut change = writes([Write::Put(app(&ulid::Ulid::new().to_string(), None))]);
        change.expect(id, version);
        change
    };
    commit(&store, expecting(seen.id, seen.version)).await;
    commit(&store, expecting(ghost, 0)).await;
    for (id, version) in [(seen.id, seen.version + 1), (seen.id, 0), (ghost, 1)] {
        let error = refused(&store, expecting(id, version)).await;
        assert_shape!(error, CommitError::Stale { id: stale, .. } if *stale == id);
    }
}

/// Whatever part is refused, no other part happened.
pub async fn a_refused_transaction_changes_nothing(store: Subject) {
    let old = stored(&store, app("web", None)).await;
    let holder = stored(&store, app("holder", None)).await;
    let mut setup = txn();
    setup.claim("port", 80, holder.id).claim("port", 81, old.id);
    commit(&store, setup).await;
    let head = version(&store).await;
    let new = app("new", None);
    let mut change = writes([
        Write::Put(new.clone()),
        spec(old.id, json!({ "size": 9 })),
        Write::Delete { id: holder.id },
        Write::Put(app("holder", None)),
    ]);
    change.release("port", 81).claim("port", 82, new.id).event(new.id, "app.greeted", json!({}));
    change.idempotency = Some(Idempotency { key: "k".into(), answer: json!(1) });
    let mut last_write = change.clone();
    last_write.writes.push(Write::Delete { id: app("ghost", None).id });
    assert_shape!(refused(&store, last_write).await, CommitError::Missing { .. });
    let mut last_claim = change.clone();
    last_claim.writes.remove(2);
    last_claim.writes.remove(2);
    last_claim.claim("port", 80, new.id);
    assert_shape!(refused(&store, last_claim).await, CommitError::Claimed { .. });

    assert_eq!(version(&store).await, head);
    assert_eq!(events(&store, head).await, []);
    assert_eq!(get(&store, new.id).await, None);
    assert_eq!(existing(&store, old.id).await, old);
    let claims = store.view().await.expect("a view").claims("port").expect("a read");
    let held: Vec<_> = claims.iter().map(|claim| (claim.key.as_str(), claim.owner)).collect();
    assert_eq!(held, [("80", holder.id), ("81", old.id)]);
    assert_eq!(commit(&store, change).await.replayed, None);
}

/// Claims alone, and nothing at all, leave the version where it is.
pub async fn an_empty_transaction_answers_the_head(store: Subject) {
    assert_eq!(commit(&store, txn()).await.version, 0);
    let owner = stored(&store, app("web", None)).await;
    let mut claim = txn();
    claim.claim("port", 80, owner.id);
    assert_eq!(commit(&store, claim).await.version, owner.version);
    let mut event = txn();
    event.event(owner.id, "app.greeted", json!({}));
    assert_eq!(commit(&store, event).await.version, owner.version + 1);
    assert_eq!(existing(&store, owner.id).await, owner);
}
