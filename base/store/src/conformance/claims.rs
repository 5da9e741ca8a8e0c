//! Claims: keys that at most one resource holds.

use super::fixture::{Subject, app, commit, refused, stored, txn, writes};
use crate::assert_shape;
use freehold_model::{AnyId, Claim, CommitError, Txn, Write};
use std::{collections::BTreeSet, net::Ipv4Addr, sync::Arc};
use tokio::task::JoinSet;

fn claiming(key: &str, owner: AnyId) -> Txn {
    let mut change = txn();
    change.claim("port", key, owner);
    change
}

async fn holder(store: &Subject, key: &str) -> Option<AnyId> {
    store.view().await.expect("a view").claim("port", key).expect("a read")
}

/// Its owner may claim it again; nobody else may, until it is given back.
pub async fn a_claim_has_one_owner(store: Subject) {
    let (a, b) = (stored(&store, app("a", None)).await.id, stored(&store, app("b", None)).await.id);
    commit(&store, claiming("80", a)).await;
    commit(&store, claiming("80", a)).await;
    let error = refused(&store, claiming("80", b)).await;
    assert_shape!(
        error,
        CommitError::Claimed { scope, key, owner } if scope == "port" && key == "80" && *owner == a
    );
    let mut other_scope = txn();
    other_scope.claim("address", "80", b);
    commit(&store, other_scope).await;
    let mut back = txn();
    back.release("port", 80).release("port", "never claimed");
    commit(&store, back).await;
    assert_eq!(holder(&store, "80").await, None);
    commit(&store, claiming("80", b)).await;
    assert_eq!(holder(&store, "80").await, Some(b));
}

/// Releases come before claims.
pub async fn claims_are_handed_over_in_one_transaction(store: Subject) {
    let (a, b) = (stored(&store, app("a", None)).await.id, stored(&store, app("b", None)).await.id);
    commit(&store, claiming("80", a)).await;
    let mut over = claiming("80", b);
    over.release("port", 80);
    commit(&store, over).await;
    assert_eq!(holder(&store, "80").await, Some(b));
}

/// Deleting the owner gives all of its claims back, and nobody else's.
pub async fn claims_go_with_their_owner(store: Subject) {
    let (a, b) = (stored(&store, app("a", None)).await.id, stored(&store, app("b", None)).await.id);
    let mut all = claiming("80", a);
    all.claim("port", 81, a).claim("address", "10.0.0.1", a).claim("port", 82, b);
    commit(&store, all).await;
    let mut over = claiming("80", b);
    over.writes.push(Write::Delete { id: a });
    commit(&store, over).await;
    for (key, owner) in [("80", Some(b)), ("81", None), ("82", Some(b))] {
        assert_eq!(holder(&store, key).await, owner, "{key}");
    }
    assert_eq!(store.view().await.expect("a view").claims("address").expect("a read"), []);
}

/// A claim whose owner does not exist would never be given back.
pub async fn a_claim_needs_an_owner_that_exists(store: Subject) {
    let new = app("web", None);
    let error = refused(&store, claiming("80", new.id)).await;
    assert_shape!(error, CommitError::Missing { id } if *id == new.id);
    let mut both = claiming("80", new.id);
    both.writes.push(Write::Put(new.clone()));
    commit(&store, both).await;
    let mut gone = claiming("81", new.id);
    gone.writes.push(Write::Delete { id: new.id });
    assert_shape!(refused(&store, gone).await, CommitError::Missing { .. });
}

/// A scope lists its own claims, ordered as bytes.
pub async fn claims_are_listed_in_order_of_keys(store: Subject) {
    let a = stored(&store, app("a", None)).await.id;
    let mut all = writes([]);
    for key in ["b", "a", "ü", "B", "10", "9", ""] {
        all.claim("port", key, a);
    }
    all.claim("por", "x", a).claim("port2", "y", a);
    commit(&store, all).await;
    let claims = store.view().await.expect("a view").claims("port").expect("a read");
    let keys: Vec<&str> = claims.iter().map(|claim| claim.key.as_str()).collect();
    assert_eq!(keys, ["", "10", "9", "B", "a", "b", "ü"]);
    assert!(claims.iter().all(|claim| claim.scope == "port" && claim.owner == a));
}

/// A thousand at once, two for each address: each address has one owner, whoever lost has nothing, and when
/// the owners go so do the claims.
pub async fn a_thousand_claims_of_addresses_at_once_have_one_owner_each(store: Subject) {
    const EACH: u32 = 2;
    let address = |n: u32| Ipv4Addr::from_bits(Ipv4Addr::new(10, 210, 0, 2).to_bits() + n / EACH);
    let mut all = JoinSet::new();
    for n in 0..1000 {
        let store = Arc::clone(&store);
        all.spawn(async move {
            let new = app(&format!("a{n}"), None);
            let id = new.id;
            let mut change = writes([Write::Put(new)]);
            change.claim(Claim::ADDRESS, address(n), id);
            match store.commit(change).await {
                Ok(_) => Some((address(n).to_string(), id)),
                Err(CommitError::Claimed { key, .. }) if key == address(n).to_string() => None,
                Err(other) => panic!("{other}"),
            }
        });
    }
    let won: BTreeSet<(String, AnyId)> = all.join_all().await.into_iter().flatten().collect();
    assert_eq!(won.len(), 500);
    let view = store.view().await.expect("a view");
    let held = view.claims(Claim::ADDRESS).expect("a read");
    assert_eq!(held.into_iter().map(|claim| (claim.key, claim.owner)).collect::<BTreeSet<_>>(), won);
    let query = freehold_model::Query::of(freehold_model::Kind::App);
    let left = view.list(&freehold_model::Query { limit: 1000, ..query }).expect("a list").items;
    assert_eq!(left.iter().map(|app| app.id).collect::<BTreeSet<_>>(), won.iter().map(|one| one.1).collect());
    drop(view);
    let mut gone = JoinSet::new();
    for (_, id) in won {
        let store = Arc::clone(&store);
        gone.spawn(async move { commit(&store, writes([Write::Delete { id }])).await });
    }
    gone.join_all().await;
    assert_eq!(store.view().await.expect("a view").claims(Claim::ADDRESS).expect("a read"), []);
}
