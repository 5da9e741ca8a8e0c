//! Requests that may be repeated.

use super::fixture::{Subject, app, commit, events, get, refused, stored, version, writes};
use crate::assert_shape;
use freehold_model::{AnyResource, CommitError, Txn, Write, txn::Idempotency};
use serde_json::{Value, json};

fn keyed(key: &str, answer: Value, new: &AnyResource) -> Txn {
    let mut change = writes([Write::Put(new.clone())]);
    change.idempotency = Some(Idempotency { key: key.into(), answer });
    change
}

/// The repeat changes nothing, whatever it asks for, and answers what was stored.
pub async fn a_repeat_answers_as_the_first_did(store: Subject) {
    let (first, second) = (app("first", None), app("second", None));
    let answer = json!({ "id": first.id, "deep": [1, null] });
    assert_eq!(commit(&store, keyed("k", answer.clone(), &first)).await.replayed, None);
    let head = version(&store).await;
    for repeat in [keyed("k", json!(2), &first), keyed("k", json!(3), &second)] {
        let again = commit(&store, repeat).await;
        assert_eq!((again.replayed, again.version), (Some(answer.clone()), head));
    }
    assert_eq!(get(&store, second.id).await, None);
    assert_eq!(events(&store, head).await, []);
    assert_eq!(commit(&store, keyed("other", json!(4), &second)).await.replayed, None);
}

/// Only what was committed is answered again.
pub async fn a_refused_request_may_be_repeated(store: Subject) {
    let holder = stored(&store, app("web", None)).await;
    let new = app("web", None);
    let request = keyed("k", json!(1), &new);
    assert_shape!(refused(&store, request.clone()).await, CommitError::NameTaken { .. });
    commit(&store, writes([Write::Delete { id: holder.id }])).await;
    assert_eq!(commit(&store, request.clone()).await.replayed, None);
    assert_eq!(commit(&store, request).await.replayed, Some(json!(1)));
}

/// An answer is forgotten once it is old enough, a bounded number at a time; then the request counts as new.
pub async fn old_answers_are_forgotten_and_no_others(store: Subject) {
    let apps: Vec<_> = (0..3).map(|n| app(&format!("a{n}"), None)).collect();
    for (n, new) in apps.iter().enumerate() {
        commit(&store, keyed(&format!("k{n}"), json!(n), new)).await;
    }
    let head = version(&store).await;
    let (past, future) =
        (jiff::Timestamp::UNIX_EPOCH, jiff::Timestamp::now() + jiff::SignedDuration::from_hours(999_999));
    assert_eq!(store.forget_answers(past, 100).await.expect("it works"), 0);
    assert_eq!(commit(&store, keyed("k0", json!(9), &apps[0])).await.replayed, Some(json!(0)));
    let mut forgotten = vec![];
    while let gone @ 1.. = store.forget_answers(future, 2).await.expect("it works") {
        forgotten.push(gone);
    }
    assert_eq!(forgotten, [2, 1]);
    assert_eq!((version(&store).await, events(&store, head).await), (head, vec![]));
    assert_shape!(refused(&store, keyed("k0", json!(9), &apps[0])).await, CommitError::Stale { .. });
}
